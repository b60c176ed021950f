"""What goes wrong: servers that fail, engines that die, commands that are none."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from textual.command import CommandList

from tests.fake_engine import FakeEngine, Reply, Script, running
from tests.pictures import saved
from tests.tui.driving import Chat, chatting, remote, scripted, shown
from vlmchat import paths
from vlmchat.cli.chat import run_chat
from vlmchat.tui.app import ChatApp
from vlmchat.tui.screens.pager import LogPager, Pager
from vlmchat.tui.widgets.queue import QueueRow
from vlmchat.tui.widgets.status import StatusBar

OVERFLOW = '{"error": {"message": "9000 tokens do not fit into 8192: remove a picture."}}'


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(status=401, body="{}"), "refused the key (HTTP 401)"),
        (Reply(status=404, body="not here"), "no chat-completions API (HTTP 404)"),
        (Reply(status=500, body="oops"), "failed (HTTP 500)"),
        (Reply(status=400, body=OVERFLOW), "9000 tokens do not fit into 8192"),
        (Reply(status=200, body="<html>[/red]</html>"), "does not speak the chat-completions API"),
    ],
    ids=["401", "404", "500", "400", "garbage"],
)
async def test_refused_questions_come_back(tmp_path: Path, reply: Reply, said: str) -> None:
    photo = saved(tmp_path / "photo.png")
    with running(FakeEngine(Script(replies=[reply, Reply(["Fine."])]))) as engine:
        async with chatting(overrides=remote(engine.url), attach=[photo]) as chat:
            await chat.until(lambda: chat.screen.attachments.media)
            await chat.ask("What is it?")
            await chat.until(chat.errors)
            assert said in chat.errors()[0]
            await chat.until(lambda: not chat.session.answering)
            # The question and its picture are the person's again, and sent once more.
            assert chat.composer.text == "What is it?"
            assert len(chat.screen.attachments.media) == 1
            await chat.pilot.press("enter")
            await chat.until(lambda: chat.replies and _text(chat) == "Fine.")
            await chat.answered()
    assert len(engine.requests[1]["messages"]) == 1


async def test_a_refused_question_is_kept_when_the_composer_is_taken(tmp_path: Path) -> None:
    replies = [Reply(status=500, body="oops"), Reply(["Fine."])]
    go = tmp_path / "go"
    script = Script(replies, [{"stage": "loading", "text": "Loading"}], hold_loading=str(go))
    async with chatting(scripted(script, tmp_path)) as chat:
        await chat.ask("First")
        await chat.type("half a thou")
        await chat.until(lambda: chat.session.engine.status.stage == "loading")
        go.touch()
        await chat.until(lambda: any(item.held for item in chat.session.queue))
        await chat.until(lambda: len(chat.screen.query(QueueRow)) == 1)
        assert "not sent" in shown(chat.screen.query_one(QueueRow))
        await chat.pilot.press("enter")
        await chat.until(lambda: chat.replies and _text(chat) == "Fine.")
        assert [item.text for item in chat.session.queue] == ["First"]


async def test_an_answer_that_breaks_off_stays(tmp_path: Path) -> None:
    replies = [Reply(["One ", "two ", "three"], break_after=2), Reply(["Fine."])]
    with running(FakeEngine(Script(replies=replies))) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.ask("Count")
            await chat.until(chat.errors)
            assert "One two" in chat.answers()[0]
            assert "broken off" in chat.answers()[0]
            await chat.until(lambda: not chat.session.answering)
            await chat.ask("On")
            await chat.answered(2)
    assert engine.requests[1]["messages"][1] == {"role": "assistant", "content": "One two "}


async def test_no_server_then_a_server(tmp_path: Path) -> None:
    engine = FakeEngine()
    with running(engine):
        url = engine.url
    async with chatting(overrides=remote(url)) as chat:
        await chat.until(chat.errors)
        assert "does not answer" in chat.errors()[0]
        assert "✗ failed" in str(chat.screen.query_one(StatusBar).render())
        await chat.ask("Anyone?")
        await chat.until(lambda: len(chat.errors()) == 2)
        assert [item.text for item in chat.session.queue] == ["Anyone?"]


@pytest.mark.parametrize(
    ("token", "model", "said"),
    [("right", None, "refused the key"), (None, "other", "does not serve “other”")],
)
async def test_servers_that_do_not_fit(
    tmp_path: Path, token: str | None, model: str | None, said: str
) -> None:
    with running(FakeEngine(token=token)) as engine:
        overrides = remote(engine.url, **({"model": model} if model else {}))
        async with chatting(overrides=overrides) as chat:
            await chat.until(chat.errors)
            assert said in chat.errors()[0]


async def _killed(chat: Chat) -> None:
    pid = chat.local.engine.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


async def test_the_engine_dies_in_mid_answer_and_the_talk_goes_on(tmp_path: Path) -> None:
    replies = [Reply(["Once ", "upon "], delay=0.05, forever=True), Reply(["Here again."])]
    async with chatting(scripted(Script(replies=replies), tmp_path)) as chat:
        await chat.ask("Tell a story")
        await chat.until(lambda: chat.replies and "upon" in _text(chat))
        await chat.type("my draft")
        await _killed(chat)
        await chat.until(chat.errors)
        await chat.until(lambda: not chat.session.answering)
        await chat.ready()
        assert len(chat.errors()) == 1
        assert "was killed" in chat.errors()[0]
        assert "F2" in chat.errors()[0]
        assert "broken off" in chat.answers()[0]
        assert chat.composer.text == "my draft"
        await chat.pilot.press("f2")
        assert isinstance(chat.app.screen, LogPager)
        assert "fake engine starting" in shown(chat.app.screen)
        await chat.pilot.press("escape")
        chat.composer.clear_draft()
        await chat.ask("Are you there?")
        await chat.answered(2)
        assert _text(chat) == "Here again."


def _text(chat: Chat) -> str:
    return chat.replies[-1].text


async def test_an_engine_that_dies_again_is_restarted_on_demand_only(tmp_path: Path) -> None:
    now = [0.0]
    make = scripted(Script(), tmp_path, lambda: now[0])
    async with chatting(make) as chat:
        await chat.ready()
        await _killed(chat)
        await chat.until(lambda: chat.session.engine.deaths == 1)
        await chat.ready()
        now[0] = 30
        await _killed(chat)
        await chat.until(lambda: chat.session.engine.deaths == 2)
        assert chat.session.engine.status.stage == "failed"
        assert "/restart" in chat.errors()[-1]
        await chat.ask("Waits")
        await chat.until(lambda: chat.session.queue)
        await chat.ask("/restart")
        await chat.answered()
        assert _text(chat) == "Hello there."
        # Long after, it is restarted by itself again.
        now[0] = 500
        await _killed(chat)
        await chat.until(lambda: chat.session.engine.deaths == 3)
        await chat.ready()


async def test_a_question_that_kills_the_engine_is_not_sent_again(tmp_path: Path) -> None:
    replies = [Reply(["x"], die_after=0), Reply(["Fine."])]
    async with chatting(scripted(Script(replies=replies), tmp_path)) as chat:
        await chat.ask("Poison")
        await chat.until(lambda: chat.session.engine.deaths == 1)
        await chat.ready()
        await chat.until(lambda: not chat.session.answering)
        assert chat.composer.text == "Poison"
        assert len(chat.errors()) == 1
        chat.composer.clear_draft()
        await chat.ask("Harmless")
        await chat.answered()
        assert _text(chat) == "Fine."


async def test_a_failed_load_is_said_and_can_be_tried_again(tmp_path: Path) -> None:
    script = Script(failed="“x/y” is not a model: check the name.")
    async with chatting(scripted(script, tmp_path)) as chat:
        await chat.ask("Waits")
        await chat.until(chat.errors)
        assert "“x/y” is not a model: check the name." in chat.errors()[0]
        assert [item.text for item in chat.session.queue] == ["Waits"]
        (tmp_path / "script.json").write_text(Script().to_json())
        await chat.ask("/restart")
        await chat.answered()
        assert _text(chat) == "Hello there."


async def test_an_engine_that_does_not_come_up(tmp_path: Path) -> None:
    async with chatting(scripted(Script(die_at_start=True), tmp_path)) as chat:
        await chat.until(chat.errors)
        assert "did not start" in chat.errors()[0]
        await chat.ask("/log")
        assert "cannot start" in shown(chat.app.screen)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("/atach x.png", "did you mean /attach?"),
        ("/zzzz", "/help lists"),
        ("/set temprature 1", "no parameter “temprature”"),
        ("/set temperature hot", "no value for temperature"),
        ("/detach", "Nothing is attached"),
        ("/stop", "Nothing is being answered"),
        ("/theme none", "no theme “none”"),
        ("/log", "runs elsewhere"),
    ],
)
async def test_commands_that_cannot_be_done(tmp_path: Path, typed: str, said: str) -> None:
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.ready()
            await chat.ask(typed)
            assert said in chat.errors()[-1]
    assert engine.requests == []


async def test_commands_that_can(tmp_path: Path) -> None:
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.ready()
            await chat.ask("/set temperature 0.2")
            await chat.ask("/set top-k=7")
            await chat.ask("/set")
            assert "temperature: 0.2" in chat.notices()[-1]
            await chat.ask("/system Speak like a pirate.")
            await chat.ask(" /not a command")
            await chat.answered()
            await chat.ask("/new")
            assert chat.session.path == []
            assert chat.answers() == []
            await chat.ask("/system none")
            await chat.ask("Hi")
            await chat.answered()
            await chat.ask("/theme paper")
            assert chat.app.theme == "paper"
            await chat.pilot.press("f1")
            assert isinstance(chat.app.screen, Pager)
            assert "/attach [PATH…], /a, /image" in shown(chat.app.screen)
    first, second = engine.requests
    assert first["messages"][0] == {"role": "system", "content": "Speak like a pirate."}
    assert first["messages"][1]["content"] == " /not a command"
    assert (first["temperature"], first["top_k"]) == (0.2, 7)
    assert second["messages"] == [{"role": "user", "content": "Hi"}]


async def test_the_palette_runs_commands(tmp_path: Path) -> None:
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.ready()
            await chat.pilot.press("ctrl+p", *"system")
            found = chat.app.screen.query_one(CommandList)
            await chat.until(
                lambda: found.option_count and "system" in str(found.get_option_at_index(0).prompt)
            )
            await chat.pilot.press("enter")
            await chat.until(lambda: chat.composer.text == "/system ")


async def test_a_new_conversation_in_mid_answer(tmp_path: Path) -> None:
    replies = [Reply(["On "], delay=0.04, forever=True), Reply(["Fine."])]
    with running(FakeEngine(Script(replies=replies))) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.ask("Go")
            await chat.until(lambda: chat.replies and _text(chat))
            await chat.ask("/new")
            await chat.until(lambda: not chat.session.answering)
            await chat.ask("Hi")
            await chat.until(lambda: chat.replies and _text(chat) == "Fine.")
            await chat.answered()
    assert engine.requests[1]["messages"] == [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize("text", ["[engine]\nquant = '3bit'\n", "[engine]\nurl = 'no address'\n"])
async def test_bad_settings_end_the_program_with_a_sentence(tmp_path: Path, text: str) -> None:
    paths.config_dir().mkdir(parents=True)
    paths.config_file().write_text(text)
    app = ChatApp()
    async with app.run_test():
        for _ in range(2000):
            if app.return_value:
                break
            await asyncio.sleep(0.01)  # an app that ends answers no pilot
    assert app.return_code == 2
    assert app.return_value
    assert app.return_value.endswith(".")


async def test_a_bad_theme_is_said_and_the_chat_goes_on(tmp_path: Path) -> None:
    with running(FakeEngine()) as engine:
        overrides = {**remote(engine.url), "ui": {"theme": "nowhere"}}
        async with chatting(overrides=overrides) as chat:
            await chat.until(chat.errors)
            assert "no theme “nowhere”" in chat.errors()[0]
            await chat.ready()


def test_a_broken_config_file_is_said_before_anything_is_painted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    paths.config_dir().mkdir(parents=True)
    paths.config_file().write_text("[ui\n")
    assert run_chat() == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("vlmchat: ")
    assert said.err.count("\n") == 1
    assert "line 1" in said.err


def test_nothing_heavy_is_imported_before_the_first_paint() -> None:
    heavy = {"torch", "transformers", "PIL", "numpy", "httpx2", "pydantic", "markdown_it"}
    code = (
        "import sys; import vlmchat.cli.chat; from vlmchat.tui.app import ChatApp; "
        "from vlmchat.tui.screens.chat import ChatScreen; ChatApp(); ChatScreen(); "
        f"print(sorted({heavy!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
