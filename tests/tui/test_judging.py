"""/judge: two answers side by side, and what a person says of them."""

from pathlib import Path

from textual.widgets import Static

from tests.fake_engine import FakeEngine, Reply, Script, running
from tests.finetune.judged import QUESTIONS, on_the_shelf
from tests.finetune.logs import asked, read, write_log
from tests.tui.driving import Chat, chatting, remote
from tests.tui.test_engine_change import by_model
from vlmchat.finetune import shelf
from vlmchat.finetune.compare import Contest, held_out
from vlmchat.tui.screens.judging import Judging
from vlmchat.tui.widgets.picture import Picture

BASE, TUNED = "A [b]dog.", "A \x1b[31mbird."


def script() -> Script:
    """Answer first as the base does, then as with the adapter, for each question."""
    return Script([Reply([BASE]), Reply([TUNED])] * 10, adapters=True)


def top(chat: Chat) -> Judging:
    assert isinstance(chat.app.screen, Judging)
    return chat.app.screen


def side(chat: Chat, which: str) -> str:
    return str(top(chat).query_one(f"#side-{which} .side-text", Static).render())


def question(chat: Chat) -> str:
    return str(top(chat).query_one("#judging-question", Static).render())


async def begun(chat: Chat, line: str = "/judge birds") -> None:
    await chat.ready()
    await chat.ask(line)
    await chat.until(lambda: isinstance(chat.app.screen, Judging))
    await shown(chat)


async def shown(chat: Chat) -> None:
    await chat.until(lambda: {side(chat, "left"), side(chat, "right")} == {BASE, "A ␛[31mbird."})


async def asks(chat: Chat, text: str) -> None:
    await chat.until(lambda: question(chat) == text)


async def failed(chat: Chat, times: int) -> None:
    await chat.until(lambda: len(chat.errors()) == times)


async def noted(chat: Chat, words: str) -> None:
    await chat.until(lambda: any(words in " ".join(note.split()) for note in chat.notices()))


async def test_judged_side_by_side(tmp_path: Path) -> None:
    adapter = on_the_shelf(tmp_path)
    contest = Contest(adapter, held_out(adapter))
    async with chatting(by_model(tmp_path, auto=script())) as chat:
        await begun(chat)
        assert question(chat) == QUESTIONS[0] and len(top(chat).query(Picture)) == 1
        assert "Question 1 of 3 · 0 judged." in chat.text()
        assert ": with birds" not in chat.text()  # blind
        for prompt, text in zip(contest.prompts, QUESTIONS, strict=True):
            await asks(chat, text)
            await shown(chat)
            tuned_left = contest.left(prompt) == "adapter"
            assert side(chat, "left") == ("A ␛[31mbird." if tuned_left else BASE)
            await chat.pilot.press("left" if tuned_left else "right")
        await noted(chat, "The adapter was better 3 times, the model without it 0")
        assert not isinstance(chat.app.screen, Judging)
        assert shelf.open_adapter("birds").card.evaluation["wins"] == 3
        await chat.ask("/judge birds")
        await noted(chat, "All is judged.")
    examples, dropped = read(contest.preferences)
    assert not dropped and [one.chosen[0].text for one in examples] == [TUNED] * 3


async def test_left_and_gone_on_with(tmp_path: Path) -> None:
    on_the_shelf(tmp_path)
    async with chatting(by_model(tmp_path, auto=script()), size=(80, 24)) as chat:
        await begun(chat, "/judge")  # the newest
        await chat.pilot.press("s")
        await chat.until(lambda: question(chat) == QUESTIONS[1])
        await shown(chat)
        await chat.pilot.press("v")
        await chat.until(lambda: ": with birds" in chat.text() and ": without it" in chat.text())
        await chat.pilot.press("v", "x")
        await chat.until(lambda: question(chat) == QUESTIONS[2])
        await shown(chat)
        await chat.pilot.press("equals_sign")
        await chat.until(lambda: question(chat) == QUESTIONS[0])
        await chat.pilot.press("escape")
        await noted(chat, "1 as good, 1 both bad")
        await noted(chat, "1 wait: /judge birds goes on.")
        await chat.ask("/judge birds")
        await chat.until(lambda: isinstance(chat.app.screen, Judging))
        await chat.until(lambda: "Question 3 of 3 · 2 judged." in chat.text())
    assert shelf.open_adapter("birds").card.evaluation["judged"] == 2


async def test_questions_of_a_file_and_what_is_wrong(tmp_path: Path) -> None:
    on_the_shelf(tmp_path)
    write_log(tmp_path / "q.jsonl", [asked("How many?", "Two.")])
    on_the_shelf(tmp_path, "misfit")
    async with chatting(by_model(tmp_path, auto=script())) as chat:
        await chat.ready()
        for number, (line, words) in enumerate(
            [
                ("/judge nobody", "There is no adapter “nobody”"),
                ("/judge misfit", "It does not fit [x]."),
                (f"/judge birds {tmp_path / 'none.jsonl'}", "There is no question in"),
            ],
            1,
        ):
            await chat.ask(line)
            await failed(chat, number)
            assert words in " ".join(chat.errors()[-1].split())
        await begun(chat, f"/judge birds {tmp_path / 'q.jsonl'}")
        assert question(chat) == "How many?" and "Question 1 of 1" in chat.text()


async def test_an_engine_that_fails_is_asked_again(tmp_path: Path) -> None:
    on_the_shelf(tmp_path)
    replies = [Reply(status=500, body='{"error": {"message": "Out of [luck]."}}')]
    async with chatting(
        by_model(tmp_path, auto=Script([*replies, *script().replies], adapters=True))
    ) as chat:
        await chat.ready()
        await chat.ask("/judge birds")
        await chat.until(lambda: isinstance(chat.app.screen, Judging))
        await chat.until(lambda: "r asks again" in side(chat, "left"))
        await chat.pilot.press("left")  # there is nothing to choose from
        await chat.pilot.press("r")
        await shown(chat)
        assert question(chat) == QUESTIONS[0]


async def test_an_engine_that_dies_gets_the_adapter_again(tmp_path: Path) -> None:
    on_the_shelf(tmp_path)
    replies = [Reply([BASE]), Reply(["A"], die_after=1), *script().replies]
    async with chatting(by_model(tmp_path, auto=Script(replies, adapters=True))) as chat:
        await chat.ready()
        pid = chat.local.pid
        await chat.ask("/judge birds")
        await chat.until(lambda: isinstance(chat.app.screen, Judging))
        await chat.until(lambda: "r asks again" in side(chat, "left"))
        await chat.until(lambda: chat.local.pid not in (None, pid))
        await chat.ready()
        await chat.pilot.press("r")
        await shown(chat)
        served = await chat.local.client.models()
        assert [row.id for row in served if row.parent] == ["birds"]
        await chat.pilot.press("escape")
        await noted(chat, "Nothing was judged yet.")
        served = await chat.local.client.models()
        assert not [row.id for row in served if row.parent]


async def test_a_server_has_its_own() -> None:
    with running(FakeEngine()) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.ready()
            await chat.ask("/judge")
            await chat.until(lambda: chat.errors() or chat.notices())
            said = " ".join([*chat.errors(), *chat.notices()])
            assert "The adapter cannot be changed from here" in " ".join(said.split())
