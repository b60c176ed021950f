"""How far what runs here agrees with the unquantized model, on fixed texts."""

from dataclasses import dataclass
from typing import Any

import torch

from vlmchat.engine.benching.material import PASSAGES
from vlmchat.engine.loading import LoadedModel

_BEFORE = 8  # tokens of a passage that are only read: behind fewer, anything may follow


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two models over the same tokens.

    Attributes:
        tokens: that were compared.
        top1: share of them for which both find the same token the likeliest.
        kl: mean Kullback-Leibler divergence of ours from the reference, nats a token.
    """

    tokens: int
    top1: float
    kl: float


@torch.inference_mode()
def agreement(
    loaded: LoadedModel,
    reference: Any,  # noqa: ANN401 - two classes without a typed base
    passages: int = len(PASSAGES),
) -> Agreement:
    """Compare what is decoded, token by token, with what the library makes of the whole text.

    Args:
        loaded: what runs here.
        reference: the library's model, unquantized, in bfloat16 or better.
        passages: how many of the texts.
    """
    same, total, divergence = 0, 0, 0.0
    for passage in PASSAGES[:passages]:
        ids = loaded.tokenizer.encode(passage, add_special_tokens=False)
        theirs = _library_logits(reference, ids)[_BEFORE - 1 : -1].float()
        ours = _decoded_logits(loaded, ids)
        same += int((ours.argmax(-1) == theirs.argmax(-1)).sum())
        total += len(ours)
        expected = theirs.log_softmax(-1)
        divergence += float((expected.exp() * (expected - ours.log_softmax(-1))).sum())
    return Agreement(total, same / total, max(0.0, divergence / total))


def _library_logits(model: Any, ids: list[int]) -> torch.Tensor:  # noqa: ANN401
    """Return the logits behind each token, of shape (tokens, vocabulary)."""
    given = torch.tensor([ids], device=model.device)
    logits: torch.Tensor = model(input_ids=given, use_cache=False).logits[0]
    return logits


def _decoded_logits(loaded: LoadedModel, ids: list[int]) -> torch.Tensor:
    """Return the logits before each token from the first compared one on, made one at a time."""
    text = loaded.text
    cache = text.new_cache()
    rows = [text.prefill(text.embed(ids[:_BEFORE]), cache).float().clone()]
    rows += [text.step(token, cache).float().clone() for token in ids[_BEFORE:-1]]
    return torch.stack(rows)
