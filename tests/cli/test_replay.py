"""``vlmchat replay``: answers that the chat saved, made once more by the real command."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_ask import refused, run
from tests.engine_process import TOKEN, EngineProcess
from tests.fake_engine import FakeEngine, Reply, Script, running
from tests.pictures import saved
from tests.tiny import build_tiny
from tests.tui.driving import Chat, chatting, remote
from vlmchat import paths
from vlmchat.chat.conversation import Entry, Provenance
from vlmchat.store.store import Store

pytestmark = pytest.mark.slow


def entries() -> list[Entry]:
    """Return all messages of the only conversation, in the order they were said."""
    with Store(paths.data_dir()) as store:
        (thread,) = store.threads()
        return list(store.conversation(thread.id).entries)


def made(entry: Entry) -> Provenance:
    assert entry.provenance is not None
    return entry.provenance


async def say(chat: Chat, *lines: str) -> None:
    """Type lines that are no questions."""
    for line in lines:
        await chat.ask(line)


def verdict(*arguments: object, code: int = 0) -> dict[str, Any]:
    done = run("replay", "--json", *arguments)
    assert done.returncode == code, (done.stdout, done.stderr)
    row: dict[str, Any] = json.loads(done.stdout)
    assert row["identical"] is (code == 0)
    return row


async def test_the_local_engine_says_it_again(tiny_model: Path, tmp_path: Path) -> None:
    photo = saved(tmp_path / "photo.png")
    overrides: dict[str, dict[str, Any]] = {"engine": {"model": str(tiny_model)}}
    async with chatting(None, overrides, attach=[photo]) as chat:
        await chat.ready()
        await chat.until(lambda: chat.screen.attachments.media)
        await say(chat, "/system Be brief.", "/set max_tokens 12", "/set temperature 1")
        await chat.ask("What is in the picture?")
        await chat.answered()
        await say(chat, "/set temperature none", "/system Be long.", "/continue")
        await chat.until(lambda: len(chat.session.tree.siblings(chat.replies[0])) == 2)
        await chat.answered()
    _, sampled, continued = entries()
    assert made(sampled).engine["seed"] >= 0 and made(continued).engine["continued_from"] > 0

    done = run("replay", sampled.uid[:8])
    assert done.returncode == 0, done.stderr
    assert done.stdout == sampled.message.text + "\n"
    assert done.stderr == "Identical to the saved answer.\n"

    row = verdict(sampled.uid, "--seed", made(sampled).engine["seed"] + 1, code=1)
    assert row["unmet"] == [
        f"The seed was {made(sampled).engine['seed']}, it is {made(sampled).engine['seed'] + 1}."
    ]
    place = row["differs_at"]
    assert row["text"][:place] == row["saved"][:place] and row["text"] != row["saved"]

    row = verdict(continued.uid)
    assert row["text"].startswith(sampled.message.text) and row["unmet"] == []


async def test_other_conditions_are_told(
    slow_model: Path, slow_engine: EngineProcess, tmp_path: Path
) -> None:
    engine, other = slow_engine, tmp_path / "the same weights by another name"
    build_tiny(other, "idefics3", layers=24, intermediate=8192)
    overrides = remote(engine.url, api_key=TOKEN)
    async with chatting(None, overrides) as chat:
        await chat.ready()
        await say(chat, "/set max_tokens 900", "/set temperature 0")
        # Whatever waits until the screen is still comes too late on a fast machine.
        chat.session.submit("Tell me a story.")
        await chat.until(lambda: chat.replies and len(chat.replies[0].text) > 20, still=False)
        chat.session.stop()
        await chat.answered()
    _, stopped = entries()
    assert stopped.state == "stopped" and made(stopped).engine["url"] == engine.url
    # An answer that never came to its end is to be said again, too.
    assert made(stopped).engine["way"] == "native 8-bit" and made(stopped).engine["seed"] >= 0

    # Nothing that is saved or imported may name an address to send a conversation to.
    assert f"--engine-url {engine.url}" in refused(2, "replay", stopped.uid)
    at = ["--engine-url", engine.url, "--api-key", TOKEN]
    row = verdict(stopped.uid, *at)
    assert row["text"].startswith(row["saved"]) and row["unmet"] == []
    done = run("replay", stopped.uid, *at)
    assert done.stderr == "Identical to the saved answer, as far as that came.\n"
    assert len(done.stdout) < len(stopped.message.text) + 200

    row = verdict(stopped.uid, "--model", other)
    assert row["unmet"] == [f"The model was “{slow_model}”, it is “{other}”."]
    gone = ["--engine-url", "http://127.0.0.1:9", "--api-key", TOKEN]
    assert "does not answer" in refused(3, "replay", stopped.uid, *gone)


async def test_a_foreign_engine(tmp_path: Path) -> None:
    replies = [Reply(["The sky ", "is blue."]), Reply(["The sky ", "was grey."])]
    model = {"id": "foreign-1"}
    with running(FakeEngine(Script(replies=replies, model=model))) as fake:
        async with chatting(None, remote(fake.url)) as chat:
            await chat.ready()
            await say(chat, "/set temperature 0.7", "/set stop END")
            await chat.ask("What colour?")
            # What is changed while it answers does not count for that answer.
            await chat.answered()
            await say(chat, "/set temperature 0.1")
        _, reply = entries()
        done = run("replay", reply.uid, "--engine-url", fake.url + "/v1")
        assert done.returncode == 1 and done.stdout == "The sky was grey.\n"
        first, *unmet = done.stderr.splitlines()
        assert first == (
            "Differs from the saved answer from character 9 on: it was “is blue.”, "
            "it is “was grey.”."
        )
        assert unmet == [
            "What it was made with is not known wholly: no revision, no quantization, "
            "no adapter, no device, no number format, no seed."
        ]
        asked, again = fake.requests
        assert asked == again
        assert asked["temperature"] == 0.7 and asked["stop"] == ["END"]


async def test_what_changes_while_it_answers_is_not_what_it_was_made_with(tmp_path: Path) -> None:
    replies = [Reply(["On "], delay=0.03, forever=True)]
    with running(FakeEngine(Script(replies=replies))) as fake:
        async with chatting(None, remote(fake.url)) as chat:
            await chat.ready()
            await say(chat, "/set temperature 0.7", "/system One.")
            await chat.ask("Go")
            await chat.until(lambda: chat.replies and chat.replies[0].text)
            await say(chat, "/set temperature 0.1", "/system Two.")
            await chat.pilot.press("escape")
            await chat.answered()
    _, reply = entries()
    assert made(reply).sampling["temperature"] == 0.7 and made(reply).system == "One."


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"author": "person"}, "written by you"),
        ({"provenance": None}, "not known"),
        ({"uid": "abcd1111"}, ""),
    ],
)
def test_what_cannot_be_made_again(change: Mapping[str, Any], sentence: str) -> None:
    from vlmchat.chat.conversation import Conversation
    from vlmchat.chat.messages import Message, TextPart

    question = Entry("q" * 8, None, Message("user", (TextPart("Why?"),)), "person")
    reply = Entry(
        "abcd2222", "q" * 8, Message("assistant", (TextPart("So."),)), "model",
        provenance=Provenance({"title": "M"}),
    )  # fmt: skip
    changed = replace(reply, **change)
    several = (question, changed) if sentence else (question, reply, changed)
    with Store(paths.data_dir()) as store:
        store.restore(Conversation("c" * 8, entries=several, tip="q" * 8))
    if sentence:
        assert sentence in refused(2, "replay", changed.uid)
        assert "is a question" in refused(2, "replay", question.uid[:4])
        assert "too short" in refused(2, "replay", "abc")
        assert "no message" in refused(2, "replay", "%%%%")
    else:
        assert "several" in refused(2, "replay", "abcd")


async def test_the_nearest_engine_is_taken_where_the_same_cannot_be_had(
    tiny_model: Path, tmp_path: Path
) -> None:
    from vlmchat.chat.conversation import Conversation
    from vlmchat.chat.messages import Message, TextPart

    question = Entry("q" * 8, None, Message("user", (TextPart("Why?"),)), "person")
    engine = {"model": str(tiny_model), "device": "cuda", "quantization": "none", "seed": 1}
    engine |= {"adapter": "gone@123", "adapter_path": str(tmp_path / "gone"), "revision": ""}
    reply = Entry(
        "abcd2222", "q" * 8, Message("assistant", (TextPart("So."),)), "model",
        provenance=Provenance(engine, {"max_tokens": 3, "temperature": 0.0}),
    )  # fmt: skip
    with Store(paths.data_dir()) as store:
        store.restore(Conversation("c" * 8, entries=(question, reply), tip="q" * 8))
    unmet = verdict("abcd", code=1)["unmet"]
    assert "The adapter was “gone@123”, it is none." in unmet
    assert "The device was “cuda”, it is “cpu”." in unmet


async def test_an_adapter_is_found_by_its_hash(tiny_model: Path, tmp_path: Path) -> None:
    from tests.adapters import save_adapter
    from vlmchat.finetune import shelf

    save_adapter(tiny_model, shelf.adapters_dir() / "birds")
    overrides: dict[str, dict[str, Any]] = {"engine": {"model": str(tiny_model)}}
    async with chatting(None, overrides) as chat:
        await chat.ready()
        await say(chat, "/set max_tokens 12", "/adapter birds")
        await chat.until(lambda: "adapter birds@" in chat.text())
        await chat.ask("What?")
        await chat.answered()
        await say(chat, "/adapter off")
        await chat.until(lambda: "adapter birds@" not in chat.text())
        await chat.ask("What?")
        await chat.answered(2)
    _, tuned, _, plain = entries()
    assert made(tuned).engine["adapter"].startswith("birds@") and not made(plain).engine["adapter"]
    assert tuned.message.text != plain.message.text
    assert verdict(tuned.uid)["unmet"] == verdict(plain.uid)["unmet"] == []
    shelf.rename("birds", "finches")
    save_adapter(tiny_model, shelf.adapters_dir() / "birds", seed=5)
    assert verdict(tuned.uid)["unmet"] == []
    shelf.delete("finches")
    unmet = verdict(tuned.uid, code=1)["unmet"]
    assert len(unmet) == 1 and "The adapter was “birds@" in unmet[0]
