"""Theme files: read, refused, and readable, with colours and without."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.color import Color
from textual.command import CommandPalette
from textual.geometry import Region

from tests.fake_engine import FakeEngine, Reply, Script, running
from tests.pictures import saved
from tests.terminal import Terminal
from tests.tui.driving import Chat, chatting, remote
from tests.tui.painted import painted, rows, style_at
from vlmchat import paths
from vlmchat.errors import UsageError
from vlmchat.talk.theme_files import theme_files
from vlmchat.tui.app import ChatApp
from vlmchat.tui.colours import contrast
from vlmchat.tui.themes import FileTheme, first_theme, load_theme
from vlmchat.tui.widgets.queue import QueueRow
from vlmchat.tui.widgets.transcript import Transcript
from vlmchat.tui.widgets.turns import TurnView

pytestmark = pytest.mark.slow

SHIPPED = {path.stem: load_theme(path) for path in paths.shipped_themes_dir().glob("*.toml")}
# The terminal decides what its sixteen colours look like: no file can promise a contrast.
WITH_COLOURS = sorted(name for name, theme in SHIPPED.items() if not theme.ansi)
DOCUMENT = """# One
#### Four
###### Six
A *para* with **bold**, `code` and a [link](https://example.org).

> A quote

- bullet
  1. numbered

```python
# comment
@decorator
class Boat(Hull):
    '''Doc.'''
    def sail(self, n: int = 3) -> str:
        raise Exception(f"{n} knots" if n else None)
```

| a | b |
|---|---|
| 1 | 2 |
"""


def test_there_is_one_for_everybody() -> None:
    assert len(SHIPPED) >= 8
    assert {"harbour", "paper", "contrast-dark", "contrast-light", "ansi"} <= SHIPPED.keys()
    kinds = [SHIPPED[name].dark for name in WITH_COLOURS]
    assert kinds.count(True) >= 3
    assert kinds.count(False) >= 3
    assert all(theme.description for theme in SHIPPED.values())


def _least(name: str) -> float:
    return 7.0 if name.startswith("contrast-") else 4.5


@pytest.mark.parametrize("name", WITH_COLOURS)
def test_contrast_meets_aa(name: str) -> None:
    theme = SHIPPED[name]
    variables = theme.to_color_system().generate() | theme.variables

    def ratio(ink: str, ground: str) -> float:
        return contrast(Color.parse(variables[ink]), Color.parse(variables[ground]))

    inks = ("foreground", "primary", "secondary", "accent", "error", "warning", "success", "muted")
    pairs = [(ink, ground) for ink in inks for ground in ("background", "surface", "panel")]
    pairs += [
        (f"{thing}-foreground", f"{thing}-background")
        for thing in ("footer-key", "footer-description", "block-cursor", "block-cursor-blurred")
    ]
    pairs += [
        ("input-selection-foreground", "input-selection-background"),
        ("screen-selection-foreground", "screen-selection-background"),
        ("input-cursor-foreground", "input-cursor-background"),
        ("link-color-hover", "link-background-hover"),
        ("link-color", "background"),
    ]
    low = {pair: ratio(*pair) for pair in pairs if ratio(*pair) < _least(name)}
    assert not low
    # What frames the focus, a question, an error and a dialog (WCAG 2.2, section 1.4.11).
    for line in ("border", "primary", "error", "secondary"):
        assert ratio(line, "background") >= 3
        assert ratio(line, "surface") >= 3


@asynccontextmanager
async def _full_chat(folder: Path, theme: str) -> AsyncIterator[Chat]:
    """Run a chat with one of everything on the screen."""
    replies = [Reply([DOCUMENT]), Reply(["Once "], delay=0.5, forever=True)]
    with running(FakeEngine(Script(replies=replies))) as engine:
        settings = remote(engine.url) | {"ui": {"theme": theme}, "chat": {"system": "Be brief."}}
        async with chatting(overrides=settings, size=(100, 60)) as chat:
            await chat.ask("A question")
            await chat.answered()
            chat.screen.notice("A note.")
            chat.screen.notice("A mistake.", "error")
            await chat.ask("Another")
            await chat.until(lambda: chat.session.answering)
            await chat.ask("A third")
            chat.screen.attach([saved(folder / "photo.png")])
            await chat.until(lambda: chat.screen.attachments)
            await chat.until(lambda: len(chat.screen.query(QueueRow)) == 1)
            chat.composer.cursor_blink = False
            try:
                yield chat
            finally:
                for question in list(chat.session.queue):
                    chat.session.withdraw(question.number)
                chat.session.stop()
                await chat.until(lambda: not chat.session.answering)


async def _put_on(chat: Chat, name: str) -> None:
    chat.app.theme = name
    await chat.pilot.pause()
    await chat.pilot.pause()


def _check(chat: Chat, name: str, region: Region) -> None:
    """Hold everything that can be read in a part of the screen to AA."""
    seen = [item for item in painted(chat.app, region) if item.is_text]
    assert seen
    low = {(item.text.strip(), round(item.contrast, 2)) for item in seen if item.contrast < 4.5}
    assert not low, f"{name}: {low}"


async def test_everything_on_the_screen_meets_aa(tmp_path: Path) -> None:
    async with _full_chat(tmp_path, "harbour") as chat:
        chat.composer.insert("a draft")
        await chat.until(lambda: set(WITH_COLOURS) <= chat.app.available_themes.keys())
        for name in WITH_COLOURS:
            chat.composer.focus()
            chat.composer.move_cursor((0, 0))
            await _put_on(chat, name)
            _check(chat, name, chat.screen.region)
            chat.screen.text_select_all()
            chat.composer.select_all()
            chat.screen.query_one(QueueRow).focus()
            await chat.pilot.pause()
            _check(chat, name, chat.screen.region)
            chat.screen.clear_selection()
            for turn in list(chat.screen.query(TurnView))[:2]:
                turn.focus()
                await chat.pilot.pause()
                _check(chat, name, turn.region)
            for open_screen in ("open_help", "open_picker", "open_themes"):
                getattr(chat.screen, open_screen)()
                await chat.until(lambda: len(chat.app.screen_stack) == 2)
                await chat.pilot.pause()
                _check(chat, name, chat.app.screen.query_one(".dialog").region)
                await chat.pilot.press("escape")
                await chat.until(lambda: len(chat.app.screen_stack) == 1)
            await chat.pilot.press("ctrl+p")
            await chat.until(lambda: isinstance(chat.app.screen, CommandPalette))
            await chat.until(lambda: "Start a new conversation" in chat.text())
            _check(chat, name, chat.app.screen.query_one("CommandList").region)
            await chat.pilot.press("escape")
            await chat.until(lambda: len(chat.app.screen_stack) == 1)


def _grey(chat: Chat) -> bool:
    colours = {color for item in painted(chat.app) for color in (item.ink, item.ground) if color}
    triplets = [color.triplet for color in colours]
    return all(item is None or item.red == item.green == item.blue for item in triplets) and all(
        color.is_default or color.triplet for color in colours
    )


@pytest.mark.parametrize("theme", ["harbour", "paper", "ansi"])
async def test_nothing_rests_on_colour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, theme: str
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with _full_chat(tmp_path, theme) as chat:
        app = chat.app
        await chat.until(lambda: "Another" in chat.text())
        assert _grey(chat)
        if theme == "ansi":
            assert all(not item.ink or item.ink.is_default for item in painted(app))

        # Who speaks: a word, in bold, behind a line of its own kind.
        starts = {}
        for row in rows(app):
            line = "".join(item.text for item in row)
            for label in ("You", "Fake VLM", "Note", "Error"):
                if line.strip(" ▌▐█▏│┃║▎▍").startswith(label):
                    starts[label] = line[: line.index(label)].strip()
                    assert style_at(app, label, 0).bold
        assert starts.keys() == {"You", "Fake VLM", "Note", "Error"}
        assert len(set(starts.values())) == 4

        # Where the focus is.
        assert chat.composer.has_focus
        assert "┏" in chat.text()
        waiting = chat.screen.query_one(QueueRow)
        assert not style_at(app, "A third").bold
        waiting.focus()
        await chat.pilot.pause()
        assert style_at(app, "A third").bold
        assert "┏" not in chat.text()
        before = [line[:1] for line in chat.text().splitlines()]
        chat.screen.query_one(Transcript).focus()
        await chat.pilot.pause()
        assert [line[:1] for line in chat.text().splitlines()] != before

        # What is selected.
        assert not style_at(app, "A mistake").reverse
        chat.screen.text_select_all()
        await chat.pilot.pause()
        assert style_at(app, "A mistake").reverse
        chat.screen.clear_selection()
        chat.composer.insert("a draft")
        chat.composer.select_all()
        await chat.pilot.pause()
        assert style_at(app, "a draft").reverse

        # What the cursor is on.
        chat.screen.open_themes()
        await chat.until(lambda: len(app.screen_stack) == 2)
        await chat.pilot.pause()
        worn = style_at(app, f"● {theme}")
        assert worn.underline and worn.bold
        assert not style_at(app, "blossom").underline
        await chat.pilot.press(*"zqz", "shift+home")
        await chat.pilot.pause()
        assert style_at(app, "qz").reverse
        assert _grey(chat)


async def test_no_color_without_a_chosen_theme_leaves_the_terminal_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NO_COLOR", "")  # set but empty does not count
    assert first_theme({}) == "harbour"
    async with chatting(overrides=remote("http://127.0.0.1:9")) as chat:
        await chat.until(lambda: "Ctrl+P" in chat.text())
        assert not _grey(chat)
        assert not chat.app.no_color
    monkeypatch.setenv("NO_COLOR", "1")
    assert first_theme({}) == "ansi"
    assert first_theme({"ui": {"theme": "paper"}}) == "paper"


def test_a_real_terminal_gets_no_colour_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("VLMCHAT_ENGINE__URL", "http://127.0.0.1:9")
    with Terminal(home=tmp_path / "home") as terminal:
        terminal.wait("Ask something")
        terminal.wait("Ctrl+P finds")
        cells = [cell for row in terminal._screen.buffer.values() for cell in row.values()]
        assert {(cell.fg, cell.bg) for cell in cells} == {("default", "default")}
        assert any(cell.bold for cell in cells)
        terminal.press("ctrl+q")
        assert terminal.wait_exit() == 0


async def test_turns_differ_in_the_terminals_own_colours(tmp_path: Path) -> None:
    async with _full_chat(tmp_path, "ansi") as chat:
        text = chat.text()
        assert "You" in text and "Fake VLM" in text and "Error" in text
        # Nothing is drawn in a colour of ours.
        ours = {
            item
            for item in painted(chat.app)
            if item.text.strip()
            and any(color and color.triplet for color in (item.ink, item.ground))
        }
        assert not ours
        chat.screen.open_help()
        await chat.until(lambda: len(chat.app.screen_stack) == 2)
        await chat.pilot.pause()
        # The dialog covers what is under it.
        assert "A mistake" not in chat.text()


def test_textuals_own_themes_get_a_muted_colour_too() -> None:
    app = ChatApp()
    for name in app.available_themes:
        app.theme = name
        assert Color.parse(app.get_theme_variable_defaults()["muted"])


@pytest.mark.parametrize("style", ["", "not", "none bold", "bold not", "not not bold", "d", " b"])
def test_text_styles_that_textual_would_stumble_over_are_refused(
    tmp_path: Path, style: str
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'primary = "#123456"\n[variables]\nlink-style = "{style}"')
    with pytest.raises(UsageError, match="line 3: “link-style” is no text style"):
        load_theme(path)


async def test_odd_but_valid_values_can_be_worn() -> None:
    folder = paths.config_dir() / "themes"
    folder.mkdir(parents=True)
    (folder / "mine.toml").write_text("""primary = "hsl(120, 50%, 50%)"
[variables]
muted = "transparent"
border = "red 50%"
link-color = "rgba(1, 2, 3, 0.5)"
block-cursor-background = "#abcd"
link-style = "not underline b uu"
link-style-hover = "none"
markdown-h1-text-style = "strike reverse dim blink"
""")
    settings = remote("http://127.0.0.1:9") | {"ui": {"theme": "mine"}}
    async with chatting(overrides=settings) as chat:
        chat.screen.notice("A [link](https://example.org).")
        await chat.until(lambda: "paper" in chat.app.available_themes)
        assert chat.app.theme == "mine"
        await chat.pilot.press("ctrl+p")
        await chat.until(lambda: isinstance(chat.app.screen, CommandPalette))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("primary = blue\n", "line 1"),
        ('primary = "#123456"\ndark = [', "line 2"),
        ('primary = "#123456"\ncolour = "#ffffff"', "line 2: there is no key “colour”"),
        ('primary = "#123456"\n\nacent = "#ffffff"', "line 3: there is no key “acent”: did you"),
        ('dark = true\nprimary = "no colour"', "line 2: “primary” is no colour"),
        ("primary = 3", "line 1: “primary”"),
        ('primary = "#12345680"', "translucent"),
        ('primary = "ansi_red"', "ansi = true"),
        ('background = "#123456"', "lacks the colour “primary”"),
        ('primary = "#123456"\ndark = "yes"', "line 2: “dark”"),
        ('primary = "#123456"\ndescription = 1', "line 2: “description”"),
        ('variables = 3\nprimary = "#123456"', "line 1: “variables”"),
        ('primary = "#123456"\n[variables]\nmuted = 3', "line 3: “muted”"),
        ('primary = "#123456"\n[variables]\nmuted = "#12"', "line 3: “muted” is no colour"),
        ('primary = "#123456"\nvariables.mutet = "#121212"', "line 2: there is no variable"),
        (
            'primary = "#123456"\n[variables] # mine\nblock-cursor-text-style = "fat"',
            "line 3: “block-cursor-text-style” is no text style",
        ),
    ],
)
def test_bad_files_are_refused_in_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        load_theme(path)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        'primary = "#884400"',
        'primary = "#884400"\ndark = false\nbackground = "#777777"\nforeground = "#888888"',
        'primary = "rgb(0, 10, 200)"\n[variables]\nmuted = "#808080"\nborder = "red 50%"',
    ],
)
def test_what_a_file_leaves_out_is_readable(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    theme = load_theme(path)
    variables = theme.to_color_system().generate() | theme.variables
    for ink, ground in (
        ("text-primary", "background"),
        ("text-error", "surface"),
        ("block-cursor-foreground", "block-cursor-background"),
        ("footer-key-foreground", "footer-background"),
    ):
        assert contrast(Color.parse(variables[ink]), Color.parse(variables[ground])) >= 4.5


async def test_a_theme_that_cannot_be_read_leaves_the_default_one() -> None:
    folder = paths.config_dir() / "themes"
    folder.mkdir(parents=True)
    (folder / "mine.toml").write_text("primary = blue")
    settings = remote("http://127.0.0.1:9") | {"ui": {"theme": "mine"}}
    async with chatting(overrides=settings) as chat:
        assert chat.app.theme == "harbour"
        await chat.until(lambda: [said for said in chat.errors() if "mine.toml, line 1" in said])
        assert len([said for said in chat.errors() if "mine.toml" in said]) == 1


def test_the_persons_own_themes_win() -> None:
    folder = paths.config_dir() / "themes"
    folder.mkdir(parents=True)
    (folder / "harbour.toml").write_text('primary = "#ff0000"')
    (folder / "nord.toml").write_text('primary = "#ff0000"')
    assert load_theme(theme_files()["harbour"]).primary == "#ff0000"
    assert load_theme(theme_files()["harbour"]).own
    assert "paper" in theme_files()
    assert isinstance(ChatApp({"ui": {"theme": "nord"}}).current_theme, FileTheme)


def test_which_theme_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    assert first_theme({}) == "harbour"
    paths.config_dir().mkdir(parents=True)
    paths.config_file().write_text('[ui]\ntheme = "paper"\n')
    assert first_theme({}) == "paper"
    monkeypatch.setenv("VLMCHAT_UI__THEME", "nord")
    assert first_theme({}) == "nord"
    assert first_theme({"ui": {"theme": "gruvbox"}}) == "gruvbox"
    assert ChatApp().theme == "nord"
