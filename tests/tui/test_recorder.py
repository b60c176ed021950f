"""Conversations are saved as they happen, and brought back."""

import sqlite3
from pathlib import Path

from tests.fake_engine import FakeEngine, Reply, Script, running
from tests.pictures import saved
from tests.tui.driving import Chat, chatting, remote
from vlmchat import paths
from vlmchat.store.store import Store
from vlmchat.tui.widgets.status import StandingWarning


def standing(chat: Chat) -> str:
    """Return the warning that stays in sight."""
    warning = chat.screen.query_one(StandingWarning)
    return str(warning.render()) if warning.display else ""


async def test_what_was_said_is_saved_and_brought_back(tmp_path: Path) -> None:
    photo = saved(tmp_path / "photo.png")
    with running(FakeEngine(Script(replies=[Reply(pieces=["A **red**", " circle."])]))) as fake:
        overrides = remote(fake.url)
        overrides["chat"] = {"system": "Be brief."}
        async with chatting(None, overrides, attach=[photo]) as chat:
            await chat.ready()
            await chat.ask("/set temperature 0.5")
            await chat.until(lambda: chat.screen.attachments.media)
            await chat.ask("What is this? [/red]")
            await chat.answered()
        with Store(paths.data_dir()) as store:
            (thread,) = store.threads()
            assert thread.title == "What is this? [/red]" and thread.system == "Be brief."
            question, reply = store.path(thread.id)
            assert question.message.media[0].data == photo.read_bytes()
            assert reply.state == "complete" and reply.message.text == "A **red** circle."
            made = store.provenance(reply.id)
            assert made is not None and made.sampling["temperature"] == 0.5
            assert made.system == "Be brief." and made.prompt_tokens == 100
        async with chatting(None, remote(fake.url), resume=True) as chat:
            await chat.ready()
            await chat.until(chat.answers)
            assert "What is this? [/red]" in chat.questions()[0]
            assert "31.2 tokens/s" in chat.answers()[0]
            await chat.until(lambda: "A red circle." in chat.text())
            await chat.ask("And now?")
            await chat.answered(2)
        sent = fake.requests[-1]["messages"]
        assert [row["role"] for row in sent] == ["system", "user", "assistant", "user"]
        assert sent[1]["content"][0]["type"] == "image_url"
    with Store(paths.data_dir()) as store:
        (thread,) = store.threads()
        assert len(store.path(thread.id)) == 4


async def test_stopped_and_refused_answers(tmp_path: Path) -> None:
    replies = [
        Reply(pieces=["one ", "two "], delay=0.05, forever=True),
        Reply(status=500, body="{}"),
        Reply(pieces=["Fine."]),
    ]
    with running(FakeEngine(Script(replies=replies))) as fake:
        async with chatting(None, remote(fake.url)) as chat:
            await chat.ready()
            await chat.ask("Count.")
            await chat.until(lambda: "two" in "".join(chat.answers()))
            await chat.pilot.press("escape")
            await chat.answered()
            await chat.ask("Refused.")
            await chat.until(chat.errors)
            chat.composer.clear()
            await chat.ask("Again.")
            await chat.answered(2)
    with Store(paths.data_dir()) as store:
        (thread,) = store.threads()
        path = store.path(thread.id)
        assert [node.message.text for node in path[::2]] == ["Count.", "Again."]
        assert [node.state for node in path[1::2]] == ["stopped", "complete"]
        # The refused question is still there, beside the one that took its place.
        assert len(path[2].siblings) == 2


async def test_a_new_conversation_is_another_thread(tmp_path: Path) -> None:
    with running(FakeEngine()) as fake:
        async with chatting(None, remote(fake.url)) as chat:
            await chat.ready()
            await chat.ask("One.")
            await chat.answered()
            await chat.ask("/new")
            await chat.until(lambda: not chat.session.path)
            await chat.ask("Two.")
            await chat.answered()
    with Store(paths.data_dir()) as store:
        assert [thread.title for thread in store.threads()] == ["Two.", "One."]


async def test_nothing_is_saved_when_that_is_switched_off(tmp_path: Path) -> None:
    with running(FakeEngine()) as fake:
        overrides = {**remote(fake.url), "chat": {"save": False}}
        async with chatting(None, overrides) as chat:
            await chat.ready()
            await chat.ask("Secret.")
            await chat.answered()
    assert not (paths.data_dir() / "chats.sqlite3").exists()


async def test_a_database_that_cannot_be_used_is_said_and_the_chat_goes_on(tmp_path: Path) -> None:
    file = paths.data_dir() / "chats.sqlite3"
    with sqlite3.connect(file) as raw:
        raw.execute("PRAGMA user_version = 99")
    raw.close()
    with running(FakeEngine()) as fake:
        async with chatting(None, remote(fake.url)) as chat:
            await chat.ready()
            await chat.ask("Hello?")
            await chat.answered()
            (error,) = chat.errors()
            assert "newer vlmchat" in error
            assert "goes on in memory" in standing(chat)
            assert "Hello there." in chat.replies[0].text


async def test_a_disk_that_breaks_is_said_once_and_the_chat_goes_on(tmp_path: Path) -> None:
    with running(FakeEngine()) as fake:
        async with chatting(None, remote(fake.url)) as chat:
            await chat.ready()
            await chat.ask("One.")
            await chat.answered()
            with sqlite3.connect(paths.data_dir() / "chats.sqlite3") as raw:
                raw.execute("DROP TABLE provenance")
            raw.close()
            await chat.ask("Two.")
            await chat.answered(2)
            await chat.ask("Three.")
            await chat.answered(3)
            (error,) = chat.errors()
            assert "could not be saved" in error
            assert "not saved any more" in standing(chat)
