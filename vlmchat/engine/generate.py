"""Prefill and decode: one answer at a time, stoppable between any two tokens."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Any, Literal

import torch

from vlmchat.engine.cancelled import CancelledError
from vlmchat.engine.prompt import Prompt
from vlmchat.engine.sampling import Sampler, SamplingParams
from vlmchat.engine.stopping import AnswerText
from vlmchat.engine.vision import encode_tiles
from vlmchat.errors import ContextOverflowError

if TYPE_CHECKING:
    from vlmchat.engine.loading import LoadedModel


@dataclass(frozen=True, slots=True)
class Timings:
    """Wall-clock times of one answer, milliseconds, measured around the work itself.

    Attributes:
        vision_ms: decoding and cutting the pictures and running the vision tower.
        prompt_ms: all of the above and the prefill, up to the first token.
        predicted_ms: from the first token to the last.
    """

    vision_ms: float
    prompt_ms: float
    predicted_ms: float
    prompt_n: int
    predicted_n: int
    vision_tiles: int

    def as_dict(self) -> dict[str, float]:
        """Return the object that llama-server calls ``timings``, with our two additions."""
        after_first = max(self.predicted_n - 1, 0)
        return {
            "prompt_n": self.prompt_n,
            "prompt_ms": round(self.prompt_ms, 3),
            "prompt_per_second": _rate(self.prompt_n, self.prompt_ms),
            "predicted_n": self.predicted_n,
            "predicted_ms": round(self.predicted_ms, 3),
            "predicted_per_second": _rate(after_first, self.predicted_ms),
            "vision_ms": round(self.vision_ms, 3),
            "vision_tiles": self.vision_tiles,
        }


def _rate(count: int, milliseconds: float) -> float:
    return round(count / milliseconds * 1000, 3) if milliseconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known when an answer has ended."""

    finish_reason: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int
    seed: int
    timings: Timings


def check_fits(prompt: Prompt, context: int) -> None:
    """Refuse a prompt that leaves no room for an answer, before anything is computed.

    Raises:
        ContextOverflowError: names both numbers and what to remove.
    """
    size = len(prompt.ids)
    if size < context:
        return
    count, tokens = len(prompt.images), prompt.image_tokens
    advice = "remove older turns or shorten the text"
    if count:
        pictures = "the picture takes" if count == 1 else f"the {count} pictures take"
        advice = (
            f"{pictures} {tokens} of them: remove pictures, look at them with detail “low”, "
            "or remove older turns"
        )
    raise ContextOverflowError(
        f"The conversation has {size} tokens and the model holds {context} with the answer; "
        f"{advice}."
    )


@torch.inference_mode()
def generate(
    loaded: "LoadedModel",
    prompt: Prompt,
    params: SamplingParams,
    cancel: Event,
    emit: Callable[[str], None],
) -> Answer:
    """Answer `prompt`.

    Args:
        loaded: the model and its tokenizer.
        prompt: as `PromptBuilder.build` made it, already checked by `check_fits`.
        params: how tokens are chosen.
        cancel: set from another thread to stop; looked at before each step.
        emit: called with each piece of text.

    Raises:
        CancelledError: `cancel` was set.
        MediaError: a picture cannot be decoded.
    """

    def check() -> None:
        if cancel.is_set():
            raise CancelledError

    began = time.perf_counter()
    features = _image_features(loaded, prompt, check)
    encoded = _now(loaded.model)
    sampler = Sampler(params, prompt.ids[prompt.virtual :], loaded.model.device)
    text = AnswerText(loaded.tokenizer.backend_tokenizer, params.stop)
    cache = loaded.text.new_cache()
    token = sampler.next(loaded.text.prefill(_embedded(loaded, prompt, features), cache))
    first = _now(loaded.model)
    room = loaded.context - len(prompt.ids)
    limit = room if params.max_tokens is None else min(params.max_tokens, room)
    count = 1
    while token not in loaded.end_ids:
        check()
        emit(text.add(token))
        if text.stopped or count >= limit:
            break
        token = sampler.next(loaded.text.step(token, cache))
        count += 1
    ended = text.stopped or token in loaded.end_ids
    if not text.stopped:
        emit(text.rest())
    timings = Timings(
        vision_ms=(encoded - began) * 1000,
        prompt_ms=(first - began) * 1000,
        predicted_ms=(time.perf_counter() - first) * 1000,
        prompt_n=len(prompt.ids),
        predicted_n=count,
        vision_tiles=sum(image.plan.tiles for image in prompt.images),
    )
    reason: Literal["stop", "length"] = "stop" if ended else "length"
    return Answer(reason, len(prompt.ids), count, sampler.seed, timings)


def _now(model: Any) -> float:  # noqa: ANN401
    """Return the clock's time once all that the GPU was given is done; it works behind our back."""
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
    return time.perf_counter()


def _image_features(
    loaded: "LoadedModel", prompt: Prompt, check: Callable[[], None]
) -> torch.Tensor | None:
    """Return what the pictures are to the text model, of shape (image tokens, hidden)."""
    check()
    if not prompt.images:
        return None
    pixels = [loaded.tile_maker.tiles(image) for image in prompt.images]
    features: torch.Tensor = encode_tiles(loaded.model, pixels, check).pooler_output
    return features


def _embedded(loaded: "LoadedModel", prompt: Prompt, features: torch.Tensor | None) -> torch.Tensor:
    """Return the prompt's embeddings, pictures in their places, of shape (tokens, hidden)."""
    embedded = loaded.text.embed(prompt.ids)
    if features is not None:
        ids = torch.tensor(prompt.ids, device=embedded.device)
        embedded[ids == loaded.model.config.image_token_id] = features.to(embedded)
    return embedded
