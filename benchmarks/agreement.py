"""How often weights of fewer bits say the same next token, on real text.

Every way to run the text model reads the text token by token, as it writes answers, and its logits
are compared with those of the same weights in float32: the share of tokens whose likeliest
follower is the same, and the mean Kullback-Leibler divergence of what is likely, in nats.

The demo model's text weights were 4 bits once (Q4_1: a scale and a minimum for each 32 weights), so
that packing them to 4 bits again costs nothing. What 4 bits cost weights that never were is seen
behind --noise: there, noise of a share of a 4-bit step is added to all matrices first, and
these weights in float32 are what is compared with.

    python benchmarks/agreement.py
    python benchmarks/agreement.py --tokens 1024 --noise 0.5 --bits 4 --text ~/a-book.txt
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from vlmchat.engine.hardware import cpu_dtype
from vlmchat.engine.loading import LoadOptions, load_model
from vlmchat.engine.native.building import Build
from vlmchat.engine.native.text import NativeText
from vlmchat.engine.text import dense
from vlmchat.engine.text.kv import KVCache
from vlmchat.engine.text.model import TextModel
from vlmchat.engine.text.portable import PortableText
from vlmchat.engine.text.weights import LayerWeights, ModelWeights, TextWeights
from vlmchat.models import demo_model
from vlmchat.models.progress import ignore_progress

BARS = {8: 0.97, 4: 0.93}
_GROUP = 32


class Noisy:
    """Weights with noise in their matrices, the same at every reading.

    Args:
        weights: as they are.
        share: of the noise: its standard deviation in steps of 4 bits.
        dtype: that the weights are rounded to after it, as a model's file would hold them.
    """

    def __init__(self, weights: TextWeights, share: float, dtype: torch.dtype) -> None:
        self._weights, self._share, self._dtype = weights, share, dtype
        self.shape, self.cos, self.sin = weights.shape, weights.cos, weights.sin
        self.final_norm = weights.final_norm.to(dtype)
        self.head = self._moved(weights.head, 0)

    def embed(self, ids: Sequence[int]) -> torch.Tensor:
        """Return the embeddings of tokens, which have no noise."""
        return self._weights.embed(ids).to(self._dtype)

    def layer(self, index: int) -> LayerWeights:
        """Return one decoder layer."""
        layer, seed = self._weights.layer(index), 10 * (index + 1)
        return replace(
            layer,
            input_norm=layer.input_norm.to(self._dtype),
            ffn_norm=layer.ffn_norm.to(self._dtype),
            qkv=self._moved(layer.qkv, seed + 1),
            output=self._moved(layer.output, seed + 2),
            gate_up=self._moved(layer.gate_up, seed + 3),
            down=self._moved(layer.down, seed + 4),
        )

    def _moved(self, weight: torch.Tensor, seed: int) -> torch.Tensor:
        groups = weight.float().view(len(weight), -1, _GROUP)
        step = (groups.amax(-1, keepdim=True) - groups.amin(-1, keepdim=True)) / 15
        noise = torch.randn(groups.shape, generator=torch.Generator().manual_seed(seed))
        moved = (groups + self._share * step * noise).view_as(weight)
        return moved.to(torch.bfloat16).to(self._dtype)


def ways(weights: TextWeights, sizes: list[int]) -> Iterator[TextModel[Any]]:
    """Yield every way of so many bits on this machine, one after the other."""
    found = Build().make()
    for bits in sizes:
        yield PortableText(weights, bits)
        if found.library is not None:
            yield NativeText(weights, found.library, bits, torch.get_num_threads())
    if found.library is None:
        print(found.reason)


@torch.inference_mode()
def stepped(text: TextModel[Any], ids: list[int]) -> torch.Tensor:
    """Return the logits behind each token, read one at a time: (tokens, vocab), float32."""
    cache = text.new_cache()
    return torch.stack([text.step(token, cache).float().clone() for token in ids])


def compared(found: torch.Tensor, wanted: torch.Tensor) -> tuple[float, float]:
    """Return the share of equal likeliest tokens, and the mean divergence in nats."""
    same = (found.argmax(-1) == wanted.argmax(-1)).float().mean()
    expected = torch.log_softmax(wanted, -1)
    divergence = (expected.exp() * (expected - torch.log_softmax(found, -1))).sum(-1).mean()
    return float(same), float(divergence)


def main() -> int:
    """Print a row for each way and kind of weights; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tokens", type=int, default=400)
    parser.add_argument("--noise", type=float, default=[0, 0.25], nargs="+", help="in 4-bit steps")
    parser.add_argument("--bits", type=int, default=[16, 8, 4], nargs="+", choices=[16, 8, 4])
    parser.add_argument("--text", type=Path, default=Path(__file__).parents[1] / "README.md")
    parser.add_argument("--model", help="default: the demo model")
    options = parser.parse_args()
    spec = options.model or str(demo_model.ensure(ignore_progress))
    wanted = LoadOptions(spec, "none", "cpu", dtype="float32", library=True)
    loaded = load_model(wanted, ignore_progress)
    ids = loaded.tokenizer.encode(options.text.read_text("utf-8"))[: options.tokens]
    whole = ModelWeights(loaded.model)
    missed = False
    for share in options.noise:
        print(f"noise of {share:g} of a step of 4 bits, {len(ids)} tokens")
        exact = Noisy(whole, share, torch.float32)
        cache = KVCache(whole.shape, torch.float32)
        reference = dense.score(exact, exact.embed(ids), cache)
        for text in ways(Noisy(whole, share, cpu_dtype()), options.bits):
            same, divergence = compared(stepped(text, ids), reference)
            bar = next((BARS[bits] for bits in BARS if f"{bits}-bit" in text.way), 0.0)
            missed |= same < bar
            verdict = f"  MISSED ({bar:.0%})" if same < bar else ""
            print(f"  {text.way:<20} top-1 {same:6.1%}  KL {divergence:.4f}{verdict}", flush=True)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
