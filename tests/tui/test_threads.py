"""The list of conversations: what it shows, what its keys do, and what it leaves alone."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from textual.widgets import Input, OptionList, Static

from tests.chat.conversations import example
from tests.fake_engine import FakeEngine, Reply, Script, running
from tests.tui.driving import Chat, chatting, remote
from vlmchat import paths
from vlmchat.chat.conversation import Conversation, Entry
from vlmchat.chat.messages import Message, TextPart
from vlmchat.store.store import Store
from vlmchat.tui.tiny import COLUMNS
from vlmchat.tui.widgets.sidebar import Sidebar, when

DAY = 86_400.0
NOON = 1_700_000_000.0


def _saved(
    title: str, days: float, *, pinned: bool = False, archived: bool = False
) -> Conversation:
    uid = title.replace(" ", "-")
    message = Message("user", (TextPart(f"{title}?"),))
    entry = Entry(f"{uid}-1", None, message, "person", "complete", NOON - days * DAY)
    then = NOON - days * DAY
    return Conversation(uid, title, "", then, then, pinned, archived, entry.uid, (entry,))


def _fill(*more: Conversation) -> None:
    """Save five conversations: one pinned, one archived, one with a picture."""
    with Store(paths.data_dir()) as store:
        store.restore(
            *(_saved("Boats", 1), _saved("Birds [b]", 2), _saved("Old", 900, pinned=True)),
            *(_saved("Away", 3, archived=True), _saved("Bread", 4), *more),
        )


@asynccontextmanager
async def listed(
    script: Script | None = None, size: tuple[int, int] = (120, 40)
) -> AsyncIterator[tuple[Chat, Sidebar]]:
    """Run a chat with the list open."""
    with running(FakeEngine(script)) as fake:
        async with chatting(overrides=remote(fake.url), size=size) as chat:
            await chat.ready()
            yield chat, await _open(chat)


async def _open(chat: Chat) -> Sidebar:
    await chat.pilot.press("ctrl+b")
    await chat.until(lambda: chat.screen.query(Sidebar))
    sidebar = chat.screen.query_one(Sidebar)
    await chat.until(lambda: _titles(sidebar))
    return sidebar


def _lines(sidebar: Sidebar) -> list[str]:
    return [str(option.prompt) for option in sidebar.query_one(OptionList).options]


def _titles(sidebar: Sidebar) -> list[str]:
    return [line.partition("\n")[0][COLUMNS + 2 :] for line in _lines(sidebar)]


def _open_one(sidebar: Sidebar) -> str:
    """Return the title that is marked as the open one."""
    return next(x for x, line in zip(_titles(sidebar), _lines(sidebar), strict=True) if "▸" in line)


def _first(chat: Chat) -> str:
    return chat.session.path[0].text if chat.session.path else ""


async def _move_to(chat: Chat, sidebar: Sidebar, title: str) -> None:
    sidebar.focus_list()
    sidebar.query_one(OptionList).highlighted = _titles(sidebar).index(title)
    await chat.pilot.pause()


async def test_the_pinned_one_is_first_and_the_open_one_marked() -> None:
    _fill(example())
    async with listed() as (chat, sidebar):
        assert _titles(sidebar)[0] == "Old"
        assert _titles(sidebar).index("Boats") < _titles(sidebar).index("Birds [b]")
        assert "pinned" in _lines(sidebar)[0] and "pinned" not in _lines(sidebar)[1]
        assert "Away" not in _titles(sidebar)
        await chat.until(lambda: any("▀" in line for line in _lines(sidebar)))
        await _move_to(chat, sidebar, "Boats")
        await chat.pilot.press("enter")
        await chat.until(lambda: _first(chat) == "Boats?")
        await chat.until(lambda: any("▸" in line for line in _lines(sidebar)))
        assert _open_one(sidebar) == "Boats"
        await chat.pilot.press("p")
        await chat.until(lambda: _titles(sidebar)[:2] == ["Boats", "Old"])
        await chat.pilot.press("p")
        await chat.until(lambda: _titles(sidebar)[0] == "Old")
        assert sidebar.query_one(OptionList).highlighted == _titles(sidebar).index("Boats")


async def test_deleting_and_bringing_back() -> None:
    _fill()
    async with listed() as (chat, sidebar):
        await _move_to(chat, sidebar, "Boats")
        await chat.pilot.press("enter")
        await chat.until(lambda: _first(chat) == "Boats?")
        await _move_to(chat, sidebar, "Birds [b]")
        await chat.pilot.press("d")
        await chat.until(lambda: "Birds [b]" not in _titles(sidebar))
        # The next one has the highlight, and the open one stays open.
        assert sidebar.query_one(OptionList).highlighted == _titles(sidebar).index("Bread")
        assert _first(chat) == "Boats?"
        assert "“Birds [b]” is deleted" in "".join(chat.notices())
        await _move_to(chat, sidebar, "Boats")
        await chat.pilot.press("delete")
        await chat.until(lambda: _titles(sidebar) == ["Old", "Bread"])
        await chat.until(lambda: chat.session.path == [])
        await chat.pilot.press("u")
        await chat.until(lambda: "Boats" in _titles(sidebar))
        await chat.pilot.press("u")
        await chat.until(lambda: _titles(sidebar) == ["Old", "Boats", "Birds [b]", "Bread"])
        await chat.pilot.press("u")
        await chat.until(lambda: "Nothing was deleted" in "".join(chat.errors()))


async def test_archived_ones_have_a_list_of_their_own() -> None:
    _fill()
    async with listed() as (chat, sidebar):
        heading = sidebar.query_one(".sidebar-title", Static)
        await _move_to(chat, sidebar, "Bread")
        await chat.pilot.press("a")
        await chat.until(lambda: _titles(sidebar) == ["Old", "Boats", "Birds [b]"])
        await chat.pilot.press("v")
        await chat.until(lambda: _titles(sidebar) == ["Away", "Bread"])
        assert str(heading.render()) == "Archived (2)"
        await _move_to(chat, sidebar, "Away")
        await chat.pilot.press("a")
        await chat.until(lambda: _titles(sidebar) == ["Bread"])
        await chat.pilot.press("a")
        await chat.until(lambda: _titles(sidebar) == [])
        await chat.until(lambda: "Nothing is archived yet." in chat.text())
        await chat.pilot.press("d", "enter", "p", "r", "v")  # nothing to do it with
        await chat.until(lambda: _titles(sidebar) == ["Old", "Boats", "Birds [b]", "Away", "Bread"])
        assert str(heading.render()) == "Conversations (5)"
        assert chat.errors() == []


async def test_renaming_and_beginning_anew() -> None:
    _fill()
    async with listed() as (chat, sidebar):
        await _move_to(chat, sidebar, "Boats")
        await chat.pilot.press("r")
        await chat.until(lambda: chat.composer.text == "/rename Boats")
        assert chat.composer.has_focus and _first(chat) == "Boats?"
        await chat.pilot.press("!", "enter")
        await chat.until(lambda: "Boats!" in _titles(sidebar))
        sidebar.focus_list()
        await chat.pilot.press("n")
        await chat.until(lambda: chat.session.path == [] and chat.composer.has_focus)
        await chat.ask("Fresh?")
        await chat.answered()
        await chat.until(lambda: "Fresh?" in _titles(sidebar))


async def test_the_filter_and_leaving() -> None:
    _fill()
    async with listed() as (chat, sidebar):
        await chat.pilot.press("slash", *"B")
        await chat.until(lambda: _titles(sidebar) == ["Boats", "Birds [b]", "Bread"])
        await chat.pilot.press(*"IRDS")
        await chat.until(lambda: _titles(sidebar) == ["Birds [b]"])
        await chat.pilot.press("enter", "enter")
        await chat.until(lambda: _first(chat) == "Birds [b]?")
        sidebar.query_one(Input).value = "zzz"
        await chat.until(lambda: "No title is like that." in chat.text())
        sidebar.focus_list()
        await chat.pilot.press("escape")
        await chat.until(lambda: not chat.screen.query(Sidebar) and chat.composer.has_focus)


async def test_where_it_is_narrow_opening_closes_the_list() -> None:
    _fill()
    async with listed(size=(80, 24)) as (chat, sidebar):
        await _move_to(chat, sidebar, "Bread")
        await chat.pilot.press("enter")
        await chat.until(lambda: _first(chat) == "Bread?")
        await chat.until(lambda: not chat.screen.query(Sidebar) and chat.composer.has_focus)


async def test_the_footer_is_the_lists_while_it_has_the_focus() -> None:
    _fill()
    async with listed(size=(80, 24)) as (chat, _):
        await chat.until(lambda: "u Undo" in chat.text())
        footer = chat.text().splitlines()[-1]
        assert "Attach" not in footer and footer.rstrip().endswith("^p palette")
        assert "Esc closes" in chat.text()


async def test_opening_another_one_stops_the_answer_and_keeps_it(tmp_path: Path) -> None:
    _fill()
    script = Script(replies=[Reply(["word "], delay=0.02, forever=True)])
    async with listed(script) as (chat, sidebar):
        chat.composer.focus()
        await chat.ask("Talk")
        await chat.until(lambda: chat.replies and len(chat.replies[0].text) > 20)
        await chat.until(lambda: "Talk" in _titles(sidebar))
        await _move_to(chat, sidebar, "Boats")
        await chat.pilot.press("enter")
        await chat.until(lambda: _first(chat) == "Boats?" and not chat.session.answering)
        await _move_to(chat, sidebar, "Talk")
        await chat.pilot.press("enter")
        await chat.until(lambda: _first(chat) == "Talk")
        (reply,) = chat.replies
        assert reply.state == "stopped" and len(reply.text) > 20
        assert "stopped" in chat.answers()[0]


def test_times_are_as_short_as_they_can_be_told_apart() -> None:
    now = datetime(2025, 3, 14, 12, 0, tzinfo=UTC).astimezone()

    def told(ago: timedelta) -> str:
        return when((now - ago).timestamp(), now)

    assert told(timedelta(minutes=5)) == f"{now - timedelta(minutes=5):%H:%M}"
    assert told(timedelta(days=2)) == f"{now - timedelta(days=2):%a}"
    assert told(timedelta(days=20)) == "22 Feb"
    assert told(timedelta(days=400)) == "2024-02"
