"""Compare the frozen text model compiled and as it is.

    python -m tests.demo.compiled_text FOLDER

A program of its own, as what other tests import decides whether PyTorch's compiler can start.
"""

import sys
from pathlib import Path

import torch

from vlmchat.demo.training.frozen import FrozenText, Row
from vlmchat.demo.training.words import Words


def main(folder: Path) -> None:
    """Assert that hidden states and gradients agree, over rows of different lengths."""
    words, before = Words(folder), [1, 2, 3]
    for lengths in ((5, 9), (7,), (4, 6, 11)):
        outcomes = []
        for compiled in (False, True):
            text = FrozenText(words, before, torch.device("cpu"), torch.float32, compiled=compiled)
            rows = [
                Row(
                    torch.arange(count) + len(before),
                    torch.ones(count, len(before) + count).tril(len(before)).bool(),
                )
                for count in lengths
            ]
            torch.manual_seed(sum(lengths))
            inputs = torch.randn(sum(lengths), words.embedding.shape[1], requires_grad=True)
            hidden = text(inputs, rows)
            torch.autograd.backward(hidden.square().mean())
            outcomes.append((hidden.detach(), inputs.grad))
        (plain, plain_grad), (fast, fast_grad) = outcomes
        torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-4)
        assert plain_grad is not None
        torch.testing.assert_close(fast_grad, plain_grad, rtol=1e-3, atol=1e-5)
    print("equal")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
