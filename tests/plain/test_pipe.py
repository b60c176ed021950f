"""Plain mode through pipes: the real program, an engine that speaks real HTTP."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fake_engine import FakeEngine, Reply, Script, running
from tests.fresh_process import modules_after_importing
from tests.pictures import saved
from tests.plain.piping import piped
from vlmchat import paths
from vlmchat.store.store import Store


@pytest.fixture
def fake() -> Iterator[FakeEngine]:
    with running(FakeEngine()) as engine:
        yield engine


def plain(fake: FakeEngine, text: str, *arguments: object) -> str:
    done = piped(text, "--plain", "--engine-url", fake.url, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_conversation_is_answered_in_order_and_saved(fake: FakeEngine) -> None:
    out = plain(fake, "Hello\nAnd you?\n/quit\nnever\n")
    lines = out.splitlines()
    assert lines[0].startswith("vlmchat ") and "plain mode" in lines[0]
    assert "Ready. Type a question, /help for commands." in lines
    said = [line for line in lines if line.startswith(("You: ", "Fake VLM: "))]
    answer = "Fake VLM: Hello there."
    assert said == ["You: Hello", answer, "You: And you?", answer, "You: /quit"]
    with Store(paths.data_dir()) as store:
        (thread,) = store.threads()
        assert thread.title == "Hello"
    resumed = plain(fake, "/find you\n1\n", "--resume")
    assert "Note: Conversation “Hello”, 4 turns:" in resumed
    assert "1. You: And you?" in resumed


def test_the_end_of_the_input_waits_for_the_answer(fake: FakeEngine) -> None:
    assert "You: Hello\n" in (out := plain(fake, "Hello")) and out.endswith("Hello there.\n")


def test_where_no_screen_can_be_drawn_it_is_plain_by_itself(fake: FakeEngine) -> None:
    done = piped("Hello\n", "--engine-url", fake.url)
    assert "plain mode (standard input is no terminal)" in done.stdout
    assert "Fake VLM: Hello there." in done.stdout


def test_nothing_a_model_says_reaches_the_terminal_as_a_command() -> None:
    reply = Reply(["Red \x1b[31m", "and\r", "\nblue\u202e. **Bold**"])
    with running(FakeEngine(Script(replies=[reply]))) as fake:
        out = plain(fake, "a\x1b[2Jb\n")
    assert "You: a␛[2Jb\n" in out
    assert "Fake VLM: Red ␛[31mand\nblue⟨U+202E⟩. **Bold**\n" in out


@pytest.mark.parametrize("flush", ["word", "line", "sentence", "whole"])
def test_every_way_of_flushing_says_the_same(flush: str) -> None:
    reply = Reply(["One. Tw", "o!\n", "1. a", "\n\n2. b", " e.g. "])
    with running(FakeEngine(Script(replies=[reply]))) as fake:
        done = piped("Hi\n", "--plain", "--engine-url", fake.url, VLMCHAT_UI__PLAIN_FLUSH=flush)
    assert "Fake VLM: One. Two!\n1. a\n\n2. b e.g. \n" in done.stdout


def test_several_lines_make_one_question(fake: FakeEngine) -> None:
    plain(fake, 'one\\\ntwo\n"""three\n/four\nfive"""\n')
    asked = [request["messages"][-1]["content"] for request in fake.requests]
    assert [str(text).count("\\n") or str(text).count("\n") for text in asked] == [1, 2]
    assert "/four" in str(asked[1])


def test_figures_only_when_asked_for(fake: FakeEngine) -> None:
    assert "tokens/s" not in plain(fake, "Hello\n")
    assert "tokens/s" in plain(fake, "Hello\n", "--verbose")
    assert "tokens/s" in plain(fake, "/settings ui.plain_figures true\nHello\n")


def test_pictures_and_their_description(fake: FakeEngine, tmp_path: Path) -> None:
    photo = saved(tmp_path / "my photo.jpg")
    out = plain(fake, "/describe\n/describe the sign\n/view\n", "-a", photo)
    assert "Note: With the next question goes: my photo.jpg, JPEG," in out
    assert "Picture 1 of 1: my photo.jpg, JPEG" in out
    first, second = (request["messages"] for request in fake.requests)
    assert [part["type"] for part in first[-1]["content"]] == ["image_url", "text"]
    assert "cannot see it" in str(first[-1]) and "the sign" in str(second[-1])
    assert "There is no picture to describe" in plain(fake, "/d\n")
    out = plain(fake, "/gallery\n1\n/d\n")
    assert "1. my photo.jpg" in out and "With the next question goes" in out


def test_what_is_no_number_is_the_next_line(fake: FakeEngine) -> None:
    out = plain(fake, "Hello\n/search hello\nWhat else?\n/search hello\n7\n")
    assert "1. In “Hello”" in out
    assert len(fake.requests) == 2 and "What else?" in str(fake.requests[1]["messages"][-1])
    assert "Error: There is no number 7." in out


def test_an_answer_is_edited_and_versions_are_compared(fake: FakeEngine) -> None:
    commands = ["Hello", "/edit", "Hello you", "/regenerate", "/find Hello there", "1", "/edit"]
    commands += ["Hello here.", "/compare 1", "/previous", "/tree", "2", "/good", "/better"]
    out = plain(fake, "\n".join(commands))
    assert len(fake.requests) == 3
    assert "The question is: Hello\n" in out and "The answer is: Hello there." in out
    assert "Only in version 1: “there”.\n" in out and "Only in version 3: “here”.\n" in out
    assert "is marked: good." in out


def test_no_engine_is_an_error_and_a_code(tmp_path: Path) -> None:
    done = piped("Hello\nAgain\n", "--plain", "--engine-url", "http://127.0.0.1:9")
    assert done.returncode == 3
    assert done.stdout.count("Error: The question is not answered") == 2
    done = piped("Hello\n", "--plain", VLMCHAT_UI__ENTER="x")
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1


def test_an_answer_that_breaks_off_is_kept_and_told() -> None:
    replies = [Reply(["One", " two"], break_after=1), Reply()]
    with running(FakeEngine(Script(replies=replies))) as fake:
        done = piped("Hello\nOnce more\n", "--plain", "--engine-url", fake.url)
    assert done.returncode == 3
    assert "Fake VLM: One\nError: " in done.stdout
    assert done.stdout.endswith("Fake VLM: Hello there.\n")


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    reply = Reply(["word "], delay=0.01, forever=True)
    with running(FakeEngine(Script(replies=[reply]))) as fake:
        command = [sys.executable, "-m", "vlmchat.cli.main", "--plain", "--engine-url", fake.url]
        environment = {**os.environ, "VLMCHAT_UI__PLAIN_FLUSH": "word"}
        pipe = subprocess.PIPE
        with subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment
        ) as process:
            assert process.stdin and process.stdout and process.stderr
            process.stdin.write(b"Hello\n")
            process.stdin.flush()
            seen = b""
            while b"word" not in seen:
                seen += os.read(process.stdout.fileno(), 1000)
            process.stdout.close()
            assert process.wait(20) == 141
            assert process.stderr.read() == b""


def test_an_interrupt_stops_the_answer_only() -> None:
    replies = [Reply(["word "], delay=0.01, forever=True), Reply()]
    with running(FakeEngine(Script(replies=replies))) as fake:
        command = [sys.executable, "-m", "vlmchat.cli.main", "--plain", "--engine-url", fake.url]
        environment = {**os.environ, "VLMCHAT_UI__PLAIN_FLUSH": "word"}
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment) as process:
            assert process.stdin and process.stdout
            process.stdin.write(b"Hello\nNext\n")
            process.stdin.flush()
            seen = b""
            while b"word" not in seen:
                seen += os.read(process.stdout.fileno(), 1000)
            process.send_signal(signal.SIGINT)
            rest, _ = process.communicate(timeout=20)
            assert process.returncode == 0
    assert b"Note: Stopped." in rest and rest.endswith(b"You: Next\nFake VLM: Hello there.\n")


def test_neither_textual_nor_torch_is_imported() -> None:
    rooms = ("plain", "talk", "evaluate", "client", "store", "media", "chat")
    imported = modules_after_importing(*(f"vlmchat.{room}" for room in rooms))
    assert {"vlmchat.plain.run", "vlmchat.talk.session"} <= imported
    assert not imported & {"textual", "textual_image", "rich", "torch", "transformers"}
    assert not {name for name in imported if name.startswith("vlmchat.tui")}
