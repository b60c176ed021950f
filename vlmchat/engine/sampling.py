"""From logits to the next token."""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How the next token is chosen; names and meanings as in the chat-completions API.

    Attributes:
        temperature: 0 takes the likeliest token (greedy), which is what the model cards do.
        top_p: keep the smallest set of tokens whose probabilities add up to this.
        top_k: keep this many tokens; 0 keeps all.
        min_p: drop tokens less likely than this share of the likeliest.
        repetition_penalty: divisor of the logits of tokens seen, prompt included (CTRL,
            arXiv:1909.05858); 1 is off.
        frequency_penalty: subtracted from a token's logit for each time it was generated.
        presence_penalty: subtracted once from the logit of every token that was generated.
        max_tokens: most tokens to generate; ``None`` is what is left of the context.
        seed: of the random numbers; ``None`` draws one.
        stop: texts that end the answer and are not part of it.
        repeat_guard: whether an answer ends that says the same again and again
            (`vlmchat.engine.repeating.runs_in_circles`).
        prompt_lookup: whether tokens are guessed from the text before and checked several at a
            time, which changes the speed and nothing else.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    repeat_guard: bool = False
    prompt_lookup: bool = False


class Sampler:
    """Chooses tokens for one answer.

    Args:
        params: how to choose.
        prompt_ids: the prompt, for the repetition penalty.
        device: where the logits are.
    """

    def __init__(self, params: SamplingParams, prompt_ids: list[int], device: Any) -> None:  # noqa: ANN401
        self._params = params
        self._seen = torch.tensor([prompt_ids], device=device)
        self._generated: list[int] = []
        self.seed = params.seed if params.seed is not None else torch.seed() % 2**31
        self._random = torch.Generator(device=device).manual_seed(self.seed)
        self._processors = LogitsProcessorList()
        self._warpers = LogitsProcessorList()
        if params.repetition_penalty != 1.0:
            self._processors.append(RepetitionPenaltyLogitsProcessor(params.repetition_penalty))
        if params.temperature > 0:
            self._add_warpers(params)

    def _add_warpers(self, params: SamplingParams) -> None:
        if params.temperature != 1.0:
            self._warpers.append(TemperatureLogitsWarper(params.temperature))
        if params.top_k > 0:
            self._warpers.append(TopKLogitsWarper(params.top_k))
        if params.top_p < 1.0:
            self._warpers.append(TopPLogitsWarper(params.top_p))
        if params.min_p > 0:
            self._warpers.append(MinPLogitsWarper(params.min_p))

    def next(self, logits: torch.Tensor) -> int:
        """Return the next token's id for `logits` of shape (vocabulary,), and remember it."""
        scores = logits.float()[None]
        scores = self._processors(self._seen, scores)
        scores = self._without_repeats(scores)
        if self._params.temperature == 0:
            token = int(scores.argmax())
        else:
            weights = self._warpers(self._seen, scores).softmax(-1)
            token = int(torch.multinomial(weights[0], 1, generator=self._random))
        self._generated.append(token)
        if self._params.repetition_penalty != 1.0:
            self._seen = torch.cat([self._seen, self._seen.new_tensor([[token]])], dim=1)
        return token

    def _without_repeats(self, scores: torch.Tensor) -> torch.Tensor:
        """Subtract frequency and presence penalties, as the API reference defines them."""
        frequency, presence = self._params.frequency_penalty, self._params.presence_penalty
        if not self._generated or (frequency == 0 and presence == 0):
            return scores
        ids, counts = torch.unique(
            torch.tensor(self._generated, device=scores.device), return_counts=True
        )
        scores = scores.clone()
        scores[0, ids] -= counts * frequency + presence
        return scores
