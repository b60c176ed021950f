"""/adapter: what is laid over the model, and what is refused before anything is restarted."""

import json
from pathlib import Path

import pytest

from tests.fake_engine import MODEL, FakeEngine, Reply, Script, running
from tests.tui.driving import chatting, remote
from tests.tui.test_engine_change import by_model
from vlmchat.errors import ModelError, UsageError
from vlmchat.models.adapter import check_adapter


def adapter_in(folder: Path) -> Path:
    """Write the smallest thing that is an adapter's folder."""
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    weights = len(header).to_bytes(8, "little") + header + bytes(4)
    (folder / "adapter_model.safetensors").write_bytes(weights)
    return folder


def test_what_is_no_adapter(tmp_path: Path) -> None:
    check_adapter(adapter_in(tmp_path / "good"))
    with pytest.raises(ModelError, match="does not exist"):
        check_adapter(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ModelError, match="is a file"):
        check_adapter(tmp_path / "file")
    with pytest.raises(ModelError, match=r"must hold adapter_config\.json"):
        check_adapter(tmp_path)
    bad = adapter_in(tmp_path / "bad")
    for text, what in (("{", "not valid JSON"), ("{}", "peft_type"), ("[]", "peft_type")):
        (bad / "adapter_config.json").write_text(text)
        with pytest.raises(ModelError, match=what):
            check_adapter(bad)
    cut = adapter_in(tmp_path / "cut")
    (cut / "adapter_model.safetensors").write_bytes(b"\0" * 20)
    with pytest.raises(ModelError, match=r"adapter_model\.safetensors"):
        check_adapter(cut)


async def test_on_and_off_and_what_is_wrong(tmp_path: Path) -> None:
    folder = adapter_in(tmp_path / "my birds")
    scripts = {"auto": Script([Reply(["Yes."])])}
    async with chatting(by_model(tmp_path, **scripts)) as chat:
        await chat.ready()
        first = chat.local
        await chat.ask(f"/adapter {tmp_path / 'nowhere'}")
        await chat.until(chat.errors)
        assert "does not exist" in chat.errors()[0] and chat.local is first
        await chat.ask("/adapter one two")
        await chat.until(lambda: len(chat.errors()) == 2)
        assert "Name one folder" in chat.errors()[1]
        for written in (f"/adapter '{folder}'", f"/adapter {folder}"):
            await chat.ask(written)
            await chat.until(lambda: chat.local.engine.options.adapter == str(folder))
        await chat.ready()
        await chat.ask("/adapter off")
        await chat.until(lambda: chat.local.engine.options.adapter is None)
        await chat.ask("Still there?")
        await chat.answered()
        assert len(chat.errors()) == 2


async def test_the_models_own_goes_off_and_on(tmp_path: Path) -> None:
    folder = adapter_in(tmp_path / "birds")
    own = {"id": "seer", "meta": {**MODEL["meta"], "title": "The seer", "own_adapter": "reading"}}
    scripts = {"auto": Script([Reply(["Yes."])], model=own)}
    async with chatting(by_model(tmp_path, **scripts)) as chat:

        async def becomes(line: str, adapter: str | None) -> None:
            await chat.ask(line)
            await chat.until(lambda: chat.local.engine.options.adapter == adapter)
            await chat.ready()

        await chat.ready()
        await becomes(f"/adapter {folder}", str(folder))
        # The engine of these scripts does not tell what it has laid over the model.
        await becomes("/adapter reading", None)
        await becomes("/adapter off", "off")
        assert any("/adapter reading" in note.replace("\n", " ") for note in chat.notices())
        await chat.ask("/adapter off")
        await chat.until(lambda: any("runs with already" in note for note in chat.notices()))
        await becomes("/adapter reading", None)
        assert chat.errors() == []


async def test_an_adapter_that_does_not_fit_says_the_way_back(tmp_path: Path) -> None:
    folder = adapter_in(tmp_path / "birds")
    scripts = {"auto": Script(), "plain": Script()}
    make = by_model(tmp_path, **scripts)
    async with chatting(make) as chat:
        await chat.ready()
        (tmp_path / "auto.json").write_text(Script(failed="It does not fit.").to_json())
        await chat.ask(f"/adapter {folder}")
        await chat.until(lambda: any("/adapter off" in note for note in chat.notices()))


async def test_a_server_has_its_own() -> None:
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.ready()
            await chat.ask("/adapter /tmp")
            await chat.until(chat.errors)
            assert "The adapter cannot be changed from here" in chat.errors()[0]
            with pytest.raises(UsageError, match="adapter"):
                chat.screen.change_engine(adapter="")
