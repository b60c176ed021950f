"""/eval: a set put to the model that answers, while the chat goes on."""

import json
from pathlib import Path

from tests.cli.test_eval import questions
from tests.fake_engine import FakeEngine, Reply, Script, running
from tests.tui.driving import Chat, chatting, remote
from vlmchat import paths
from vlmchat.tui.screens.standing import Standing


async def noted(chat: Chat, words: str) -> None:
    await chat.until(lambda: any(words in " ".join(note.split()) for note in chat.notices()))


async def test_a_set_is_evaluated_while_the_chat_goes_on(tmp_path: Path) -> None:
    path = questions(tmp_path)
    with running(FakeEngine(Script([Reply(["[b]red"], delay=0.05)]))) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            await chat.ask(f"/eval {path} contains")
            await chat.until(lambda: isinstance(chat.app.screen, Standing))
            await chat.pilot.press("escape")
            await chat.until(lambda: chat.app.screen is chat.screen)
            await chat.ask("Hello?")
            await chat.answered()
            await noted(chat, "50.0, 95 % interval")
            assert not chat.screen.beside.evaluating.active
            await chat.ask("/eval")
            await chat.until(lambda: "Not right (2 of 2)" in chat.text())
            assert "“[b]red”, right is “blue”" in chat.text()
            [folder] = (paths.data_dir() / "evaluations").iterdir()
            report = json.loads((folder / "report.json").read_text("utf-8"))
            assert report["results"][0]["score"] == 0.5
            assert {file.name for file in folder.iterdir()} == {
                *("answers.jsonl", "report.json", "report.html")
            }


async def test_it_can_be_stopped_and_what_was_answered_is_reported(tmp_path: Path) -> None:
    path = questions(tmp_path, 40)
    with running(FakeEngine(Script([Reply(["red"], delay=0.05)]))) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            await chat.ask(f"/eval {tmp_path}/gone.jsonl")
            await noted(chat, "There is no file")
            await chat.ask(f"/eval {path}")
            await chat.until(lambda: chat.screen.beside.evaluating.done >= 2)
            await chat.pilot.press("x", "escape")
            await noted(chat, "It was stopped")
            assert 2 <= chat.screen.beside.evaluating.done < 40
            await chat.ask("/eval stop")
            await noted(chat, "Nothing is being evaluated.")
