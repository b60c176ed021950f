"""Choosing tokens, on logits whose outcome is known."""

from typing import Any

import pytest
import torch

from vlmchat.engine.sampling import Sampler, SamplingParams

LOGITS = torch.tensor([0.0, 4.0, 3.0, -2.0, 3.9])


def drawn(count: int = 400, **params: Any) -> set[int]:
    sampler = Sampler(SamplingParams(**{"seed": 5, **params}), [0], "cpu")
    return {sampler.next(LOGITS) for _ in range(count)}


def test_greedy_takes_the_likeliest() -> None:
    assert drawn(3) == {1}


def test_temperature_alone_reaches_all_tokens() -> None:
    assert drawn(2000, temperature=2.0) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"top_k": 1}, {1}),
        ({"top_k": 2}, {1, 4}),
        ({"top_p": 0.3}, {1}),
        ({"top_p": 0.8}, {1, 4}),
        ({"min_p": 0.5}, {1, 4}),
        ({"min_p": 0.1}, {1, 2, 4}),
    ],
)
def test_truncations(params: dict[str, Any], expected: set[int]) -> None:
    assert drawn(temperature=1.0, **params) == expected


def test_repetition_penalty_counts_the_prompt() -> None:
    sampler = Sampler(SamplingParams(repetition_penalty=2.0), [1, 4], "cpu")
    assert [sampler.next(LOGITS) for _ in range(2)] == [2, 1]


def test_frequency_and_presence_penalties_count_the_answer_only() -> None:
    frequent = Sampler(SamplingParams(frequency_penalty=0.5), [1], "cpu")
    assert [frequent.next(LOGITS) for _ in range(4)] == [1, 4, 1, 4]
    present = Sampler(SamplingParams(presence_penalty=1.0), [1], "cpu")
    assert [present.next(LOGITS) for _ in range(4)] == [1, 4, 1, 1]


def test_a_seed_is_drawn_when_none_is_given() -> None:
    first, second = (Sampler(SamplingParams(temperature=1.0), [0], "cpu") for _ in range(2))
    assert first.seed != second.seed
    again = Sampler(SamplingParams(temperature=1.0, seed=first.seed), [0], "cpu")
    assert [first.next(LOGITS) for _ in range(9)] == [again.next(LOGITS) for _ in range(9)]
