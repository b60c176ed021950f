"""Keys as the person wants them: checked, applied, shown, written."""

from pathlib import Path

import pytest

from tests.fake_engine import Script
from tests.tui.driving import Chat, chatting, scripted, shown
from vlmchat import paths
from vlmchat.settings import load_settings
from vlmchat.talk.commands.registry import COMMANDS
from vlmchat.tui.key_names import key_title
from vlmchat.tui.keys import Bindable, check, keymap, normal
from vlmchat.tui.screens.keys import KeyCapture, KeysScreen
from vlmchat.tui.screens.pager import HelpPager, LogPager
from vlmchat.tui.screens.picker import Picker
from vlmchat.tui.widgets.queue import QueueRow

THINGS = (
    Bindable("command.attach", ("ctrl+o",), "Attach"),
    Bindable("command.log", ("f2",), "Log"),
    Bindable("command.help", ("f1",), "Help"),
    Bindable("command.new", (), "New"),
    Bindable("queue.edit", ("e",), "Edit", "QueueRow", False, frozenset({"f8"})),
    Bindable("settings.reset", ("ctrl+r",), "Default", "SettingsScreen"),
)
COMPOSER = {"ctrl+k": "Delete to line end"}


def _config(text: str) -> None:
    path = paths.config_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def _check(**wanted: str) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    checked = check({name.replace("__", "."): keys for name, keys in wanted.items()}, THINGS,
                    COMPOSER)  # fmt: skip
    return checked.keys, {problem.name: problem.reason for problem in checked.problems}


def test_keys_move_swap_and_go() -> None:
    keys, problems = _check(attach="f5, ctrl+T", log="", new="ctrl+o", queue__edit="x")
    assert not problems
    assert keys["attach"] == ("f5", "ctrl+t")
    assert keys["log"] == ()
    assert keys["new"] == ("ctrl+o",)
    assert keys["queue.edit"] == ("x",)
    keys, problems = _check(log="f1", help="f2")
    assert not problems
    assert (keys["log"], keys["help"]) == (("f1",), ("f2",))
    assert keymap(check({"log": "", "new": "f12"}, THINGS, {}), THINGS) == {
        "command.log": "no-key-log",
        "command.new": "f12",
    }


@pytest.mark.parametrize(
    ("name", "key", "said"),
    [
        ("attach", "x", "needed for writing"),
        ("attach", "shift+x", "needed for writing"),
        ("attach", "?", "needed for writing"),
        ("attach", "space", "needed for writing"),
        ("attach", "enter", "composer needs"),
        ("attach", "Ctrl+J", "composer needs"),
        ("attach", "ctrl+k", "Delete to line end"),
        ("attach", "ctrl+i", "same"),
        ("attach", "ctrl+c", "copies"),
        ("attach", "ctl+x", "no key"),
        ("attach", "f5+ctrl", "no key"),
        ("attach", "nokey", "no key"),
        ("queue.edit", "f8", "cannot be moved"),
        ("settings.reset", "r", "needed for writing"),
        ("attach", "f1", "the key of “help”"),
        ("atach", "f5", "did you mean “attach”?"),
        ("[/x]", "f5", "no command"),
    ],
)
def test_what_cannot_be_is_said_and_ignored(name: str, key: str, said: str) -> None:
    checked = check({name: key}, THINGS, COMPOSER)
    assert said in checked.problems[0].reason
    assert checked.keys == {item.name: item.keys for item in THINGS}


def test_a_remap_that_is_dropped_gives_its_key_back() -> None:
    # The log cannot leave F2, so help cannot have it.
    keys, problems = _check(log="enter", help="f2")
    assert set(problems) == {"log", "help"}
    assert keys["help"] == ("f1",)
    # Of two that want the same key, the first one gets it.
    keys, problems = _check(log="f12", new="f12")
    assert set(problems) == {"new"}
    assert keys["log"] == ("f12",)
    keys, problems = _check(log="f12", new="f12", attach="f2", help="ctrl+o")
    assert set(problems) == {"new"}
    assert keys["help"] == ("ctrl+o",)


def test_names_of_keys() -> None:
    assert normal(" Shift+CTRL+A ") == "ctrl+shift+a"
    assert normal("?") == "question_mark"
    assert normal("Esc") == "escape"
    assert [key_title(key) for key in ("ctrl+o", "f5", "escape", "question_mark", "alt+up")] == [
        "Ctrl+O", "F5", "Esc", "?", "Alt+Up",
    ]  # fmt: skip


async def test_the_configuration_moves_keys(tmp_path: Path) -> None:
    _config('[keys]\nattach = "f12,ctrl+t"\nlog = ""\nnew = "ctrl+n"\nhelp = "f2"\n')
    async with chatting(scripted(Script(), tmp_path)) as chat:
        await chat.ready()
        await chat.until(lambda: "f12 Attach" in chat.text())
        assert chat.errors() == []
        footer = chat.text().splitlines()[-1]
        assert "Log" not in footer
        assert "no-key" not in footer
        assert "f2 Help" in footer
        for key in ("f12", "ctrl+t"):
            await chat.pilot.press(key)
            await chat.until(lambda: isinstance(chat.app.screen, Picker))
            await chat.pilot.press("escape")
        await chat.pilot.press("ctrl+o", "f1")
        assert chat.app.screen is chat.screen
        await chat.ask("Hi")
        await chat.answered()
        await chat.pilot.press("ctrl+n")
        await chat.until(lambda: not chat.session.path)
        await chat.pilot.press("f2")
        await chat.until(lambda: isinstance(chat.app.screen, HelpPager))
        said = shown(chat.app.screen)
        assert "(F12, Ctrl+T)" in said
        assert "(Ctrl+N)" in said
        assert "(F2)" in said
        await chat.pilot.press("escape")
        await chat.ask("/log")
        await chat.until(lambda: isinstance(chat.app.screen, LogPager))


async def test_the_palette_and_quit_move_too(tmp_path: Path) -> None:
    _config('[keys]\npalette = "f12"\nquit = "f10"\n')
    async with chatting(scripted(Script(), tmp_path)) as chat:
        await chat.ready()
        await chat.until(lambda: "f12 palette" in chat.text())
        assert "f10 Quit" in chat.text()
        await chat.pilot.press("ctrl+p", "ctrl+q")
        assert chat.app.screen is chat.screen
        assert chat.app.return_code is None
        await chat.pilot.press("f12")
        await chat.until(lambda: chat.app.screen is not chat.screen)
        await chat.pilot.press("escape")
        await chat.pilot.press("f10")
        await chat.until(lambda: chat.app.return_code == 0)


async def test_each_bad_remap_is_one_error_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _config('# mine\n[keys]\nattach = "f1"\n"compose[/x]" = "f5"\nnew = "enter"\nset = "f12"\n')
    monkeypatch.setenv("VLMCHAT_KEYS__LOG", "tab")
    async with chatting(scripted(Script(), tmp_path)) as chat:
        await chat.ready()
        await chat.until(lambda: len(chat.errors()) == 4)
        file = str(paths.config_file())
        said = {name: next(e for e in chat.errors() if f"“{name}” stay" in _joined(e))
                for name in ("attach", "compose[/x]", "new", "log")}  # fmt: skip
        assert f"{file}, line 3" in _joined(said["attach"])
        assert f"{file}, line 4" in _joined(said["compose[/x]"])
        assert f"{file}, line 5" in _joined(said["new"])
        assert "Environment variable VLMCHAT_KEYS__LOG" in said["log"]
        assert chat.screen.keys["attach"] == ("ctrl+o",)
        assert chat.screen.keys["set"] == ("f12",)


def _joined(text: str) -> str:
    return text.replace("\n", " ")


async def _keys(chat: Chat) -> KeysScreen:
    await chat.ready()
    await chat.ask("/keys")
    await chat.until(lambda: isinstance(chat.app.screen, KeysScreen))
    screen = chat.app.screen
    assert isinstance(screen, KeysScreen)
    await chat.until(lambda: "attach" in chat.text())
    return screen


async def test_a_key_is_pressed_and_kept(tmp_path: Path) -> None:
    _config("# mine\n[ui]\ntheme = 'paper' # light\n")
    async with chatting(scripted(Script(), tmp_path)) as chat:
        await _keys(chat)
        assert "default" in chat.text()

        async def press(key: str) -> None:
            await chat.pilot.press("enter")
            await chat.until(lambda: isinstance(chat.app.screen, KeyCapture))
            await chat.pilot.press(key)
            await chat.until(lambda: isinstance(chat.app.screen, KeysScreen))

        # Keys that do something everywhere are only taken note of.
        await press("ctrl+q")
        await chat.until(lambda: "Ctrl+Q is the key of “quit”" in chat.text())
        assert chat.app.return_code is None
        await press("a")
        await chat.until(lambda: "needed for writing" in chat.text())
        await press("escape")
        assert load_settings().keys == {}
        await press("f12")
        await chat.until(lambda: load_settings().keys == {"attach": "f12"})
        await chat.until(lambda: "config.toml line 6" in chat.text())
        assert paths.config_file().read_text("utf-8") == (
            "# mine\n[ui]\ntheme = 'paper' # light\n\n[keys]\nattach = \"f12\"\n"
        )
        await chat.until(lambda: chat.screen.keys["attach"] == ("f12",))
        await chat.pilot.press("delete")
        await chat.until(lambda: load_settings().keys == {"attach": ""})
        await chat.until(lambda: chat.screen.keys["attach"] == ())
        await chat.pilot.press("ctrl+r")
        await chat.until(lambda: load_settings().keys == {})
        await chat.until(lambda: chat.screen.keys["attach"] == ("ctrl+o",))
        await chat.pilot.press("escape", "ctrl+o")
        await chat.until(lambda: isinstance(chat.app.screen, Picker))


async def test_keys_of_widgets_and_screens_move_too(tmp_path: Path) -> None:
    _config('[keys]\nqueue.remove = "x"\n"settings.reset" = "f12"\n')
    go = tmp_path / "go"
    script = Script(loading=[{"stage": "loading", "text": "Loading"}], hold_loading=str(go))
    async with chatting(scripted(script, tmp_path)) as chat:
        await chat.until(lambda: chat.session.engine.status.stage == "loading")
        await chat.until(lambda: chat.screen.keys.get("queue.remove") == ("x",))
        assert chat.errors() == []
        await chat.ask("Waits")
        await chat.until(lambda: len(chat.screen.query(QueueRow)) == 1)
        chat.screen.query(QueueRow).first().focus()
        await chat.pilot.press("delete")
        assert len(chat.session.queue) == 1
        await chat.pilot.press("x")
        await chat.until(lambda: not chat.session.queue)
        assert chat.screen.keys["settings.reset"] == ("f12",)


async def test_the_list_is_filtered(tmp_path: Path) -> None:
    async with chatting(scripted(Script(), tmp_path)) as chat:
        await _keys(chat)
        await chat.pilot.press("shift+tab", *"palette")
        await chat.until(lambda: "attach" not in chat.text())
        assert "Ctrl+P" in chat.text()


def test_no_two_commands_share_a_key() -> None:
    for keys in (
        [command.key for command in COMMANDS if command.key],
        [command.turn_key for command in COMMANDS if command.turn_key],
    ):
        assert len(keys) == len(set(keys))
