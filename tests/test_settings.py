"""Settings: where they come from, and how a bad one is said."""

from typing import get_args

import pytest
from pydantic import BaseModel

from vlmchat import paths
from vlmchat.client.protocol import Sampling
from vlmchat.errors import UsageError
from vlmchat.settings import Applies, Settings, load_settings, parse_sampling


def _config(text: str) -> None:
    paths.config_dir().mkdir(parents=True, exist_ok=True)
    paths.config_file().write_text(text)


def test_defaults() -> None:
    settings = load_settings()
    assert settings.engine.model is None
    assert settings.sampling.as_sampling() == Sampling(max_tokens=512)
    assert settings.ui.enter == "send"


def test_every_field_is_documented() -> None:
    for name, group in Settings.model_fields.items():
        kind = group.annotation
        if name == "keys":
            assert group.description
            continue
        assert isinstance(kind, type)
        assert issubclass(kind, BaseModel)
        for field, info in kind.model_fields.items():
            assert info.description, f"{name}.{field}"
            assert isinstance(info.json_schema_extra, dict), f"{name}.{field}"
            assert info.json_schema_extra["applies"] in get_args(Applies), f"{name}.{field}"


def test_the_order_of_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    _config('[engine]\nmodel = "file"\nquant = "8bit"\ndevice = "cpu"\n[sampling]\nstop = ["a"]\n')
    monkeypatch.setenv("VLMCHAT_ENGINE__MODEL", "env")
    monkeypatch.setenv("VLMCHAT_ENGINE__QUANT", "4bit")
    monkeypatch.setenv("VLMCHAT_SAMPLING__TEMPERATURE", "0.25")
    settings = load_settings({"engine": {"model": "flag"}})
    assert settings.engine.model == "flag"
    assert settings.engine.quant == "4bit"
    assert settings.engine.device == "cpu"
    assert settings.sampling.temperature == 0.25
    assert settings.sampling.stop == ("a",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[engine\n", ["line 1"]),
        ('[engine]\nquant = "3bit"\n', ["line 2", "engine.quant", "3bit"]),
        ("# hi\n[sampling]\ntop_p = 2\n", ["line 3", "sampling.top_p", "less than or equal to 1"]),
        ('[engine]\nquantt = "8bit"\n', ["line 2", "engine.quantt", "no setting"]),
        ("[colours]\nx = 1\n", ["line 1", "colours", "no setting"]),
        ("engine = 3\n", ["line 1", "engine"]),
    ],
)
def test_a_bad_file_is_one_sentence(text: str, said: list[str]) -> None:
    _config(text)
    with pytest.raises(UsageError) as caught:
        load_settings()
    sentence = str(caught.value)
    assert "\n" not in sentence
    for part in (str(paths.config_file()), *said):
        assert part in sentence


def test_a_bad_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLMCHAT_SAMPLING__TOP_K", "-1")
    with pytest.raises(UsageError, match="VLMCHAT_SAMPLING__TOP_K"):
        load_settings()
    monkeypatch.delenv("VLMCHAT_SAMPLING__TOP_K")
    monkeypatch.setenv("VLMCHAT_SAMPLING__STOP", "not json")
    with pytest.raises(UsageError, match=r"(?i)stop|sampling"):
        load_settings()


def test_a_bad_flag_is_named() -> None:
    with pytest.raises(UsageError, match="Command line"):
        load_settings({"engine": {"device": "gpu"}})


def test_a_key_is_never_repeated() -> None:
    _config("[engine]\napi_key = 12345\n")
    with pytest.raises(UsageError) as caught:
        load_settings()
    assert "12345" not in str(caught.value)
    assert "hunter2" not in repr(load_settings_with_key())


def load_settings_with_key() -> Settings:
    _config("")
    return load_settings({"engine": {"api_key": "hunter2"}})


def test_parameters_as_typed() -> None:
    sampling = parse_sampling(Sampling(max_tokens=512), "temperature", "0.2")
    assert sampling.temperature == 0.2
    assert parse_sampling(sampling, "top-k", "40").top_k == 40
    assert parse_sampling(sampling, "stop", " END").stop == (" END",)
    assert parse_sampling(sampling, "temperature", "default").temperature is None
    assert parse_sampling(Sampling(max_tokens=3), "max_tokens", "default").max_tokens == 512
    for name, value in (("temperature", "hot"), ("top_p", "2"), ("beam", "3"), ("seed", "-1")):
        with pytest.raises(UsageError, match=r"\.$"):
            parse_sampling(sampling, name, value)
