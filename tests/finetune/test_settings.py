"""Settings of a run: what is refused is refused in a sentence."""

import tomllib
from typing import Any

import pytest
import tomlkit

from vlmchat.errors import UsageError
from vlmchat.finetune.settings import PRESETS, RunSettings, from_table, make, preset, to_table


def test_defaults_train_the_text_model_only() -> None:
    settings = RunSettings()
    assert (settings.method, settings.adapter) == ("sft", "lora")
    assert settings.text and not settings.vision and not settings.connector
    assert settings.frozen_sight


@pytest.mark.parametrize(
    ("values", "rate"),
    [
        ({}, 1e-4),
        ({"method": "dpo"}, 5e-6),
        ({"method": "kto"}, 5e-6),
        ({"method": "mpo"}, 5e-6),
        ({"adapter": "prompt"}, 3e-2),
        ({"learning_rate": 1e-3}, 1e-3),
    ],
)
def test_learning_rates(values: dict[str, Any], rate: float) -> None:
    assert make(values).rate == rate


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_valid_and_survive_toml(name: str) -> None:
    settings = preset(name, seed=3)
    assert settings.seed == 3
    assert from_table(tomllib.loads(tomlkit.dumps(to_table(settings)))) == settings
    without = preset(name, patience=None)
    assert from_table(to_table(without)).patience is None


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"rank": 0}, "The rank cannot be 0: it should be greater than or equal to 1."),
        ({"method": "orpo"}, "The method cannot be 'orpo': it should be 'sft', 'dpo', 'kto' or"),
        ({"text": False}, "Nothing would be trained"),
        ({"adapter": "prompt", "vision": True}, "Prompt tuning learns a prompt"),
        ({"max_length": 1024}, "There is no setting “max length”"),
        ({"dropout": 1.0}, "The dropout cannot be 1.0"),
    ],
)
def test_what_is_refused_is_a_sentence(values: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        make(values)
    assert str(caught.value).startswith(says)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_4bit_is_for_cuda() -> None:
    settings = make({"quantization": "4bit"})
    settings.check_device("cuda:0")
    with pytest.raises(UsageError, match="CUDA only"):
        settings.check_device("cpu")


def test_no_such_preset() -> None:
    with pytest.raises(UsageError, match="quick, careful, preference"):
        preset("slow")


@pytest.mark.parametrize(
    ("rows", "values", "steps"),
    [
        (60, {"batch": 1, "accumulation": 8, "epochs": 3}, 24),
        (1, {"epochs": 1}, 1),
        (60, {"max_steps": 5}, 5),
        (0, {}, 0),
    ],
)
def test_steps(rows: int, values: dict[str, Any], steps: int) -> None:
    assert make(values).steps(rows) == steps


def test_every_field_is_described() -> None:
    assert all(field.description for field in RunSettings.model_fields.values())
