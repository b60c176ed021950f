"""Writing single settings: everything else in the file stays as it was."""

import os
import random
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from vlmchat import paths
from vlmchat.config_file import set_value, unset
from vlmchat.errors import UsageError, VlmchatError
from vlmchat.settings import load_settings


def _config(text: str) -> Path:
    path = paths.config_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def _text() -> str:
    return paths.config_file().read_bytes().decode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('[ui]\n# why\ntheme = "a" # é\n', '[ui]\n# why\ntheme = "paper" # é\n'),
        ('ui.theme = "a"   # c\n# end\n', 'ui.theme = "paper"   # c\n# end\n'),
        ('ui = { theme = "a" } # c\n', 'ui = { theme = "paper" } # c\n'),
        ('[ui]\r\ntheme = "a" # c\r\n# e\r\n', '[ui]\r\ntheme = "paper" # c\r\n# e\r\n'),
        ('["ui"]\n"theme" = \'a\'', '["ui"]\n"theme" = "paper"'),
        ('[ui]\nenter = "send"', '[ui]\nenter = "send"\ntheme = "paper"\n'),
        (
            '[ui]\nenter="send" # x\n\n\n# about the engine\n[engine]\nmodel="x"\n',
            '[ui]\nenter="send" # x\ntheme = "paper"\n\n\n# about the engine\n[engine]\n'
            'model="x"\n',
        ),
        ("# only this", '# only this\n\n[ui]\ntheme = "paper"\n'),
        (
            "# ñ\r\n[engine]\r\nquant = 'none'\r\n",
            "# ñ\r\n[engine]\r\nquant = 'none'\r\n\r\n[ui]\r\ntheme = \"paper\"\r\n",
        ),
        (
            "[ui]\n# only this\n\n# later\n[chat]\n",
            '[ui]\n# only this\ntheme = "paper"\n\n# later\n[chat]\n',
        ),
    ],
    ids=[
        "table",
        "dotted",
        "inline",
        "crlf",
        "quoted",
        "no-end",
        "next",
        "comment",
        "new",
        "empty",
    ],
)
def test_only_the_value_changes(before: str, after: str) -> None:
    _config(before)
    set_value("ui.theme", "paper")
    assert _text() == after
    assert load_settings().ui.theme == "paper"


def test_any_layout_keeps_every_other_line() -> None:
    """Random files made of valid pieces: all lines but the changed key's are there, in order."""
    dice = random.Random(3)
    pieces = {
        "engine": ['model = "m" # the model', "quant='8bit'", 'url = """http://x\n"""'],
        "sampling": ["temperature = 0.5  # °", 'stop = [\n  "a", # one\n  "b",\n]', "seed=1"],
        "chat": ["save = true", "system = 'líne # no comment'"],
        "ui": ['theme = "harbour" # c', "enter = 'send'"],
        "keys": ["attach = 'f5'", '"composer.history" = "f6" # own', "log = ''"],
    }
    values: dict[str, str | int | tuple[str, ...] | None] = {
        "engine.quant": "4bit", "engine.adapter": "/a", "sampling.seed": 7,
        "sampling.stop": ("x", "]\n"), "sampling.temperature": None, "ui.theme": "päper",
        "ui.enter": "newline", "keys.attach": "f7,f8", "keys.composer.history": None,
        "chat.system": "two\nlines\t\"quoted\" \\", "media.detail": "low",
    }  # fmt: skip
    for _ in range(150):
        lines: list[str] = [f"# start {dice.random()}"] * dice.randrange(2)
        for group in dice.sample(sorted(pieces), dice.randrange(6)):
            lines += ["", f"# about {group}"][dice.randrange(2) :]
            lines.append(f"[{group}]  # header")
            for piece in dice.sample(pieces[group], dice.randrange(len(pieces[group]) + 1)):
                lines += [f"# before {piece.split('=')[0]}"] * dice.randrange(2)
                lines.append(piece)
        ending = dice.choice(["\n", "\r\n"])
        text = "\n".join(lines).replace("\n", ending) + ending * dice.randrange(2)
        _config(text)
        key = dice.choice(sorted(values))
        value = values[key]
        set_value(key, value)
        group, _, name = key.partition(".")
        old, new = tomllib.loads(text), tomllib.loads(_text())
        expected = list(value) if isinstance(value, tuple) else value
        assert new.get(group, {}).pop(name, None) == expected
        old.get(group, {}).pop(name, None)
        new = {key: table for key, table in new.items() if table or key in old}
        assert new == old
        if ending == "\r\n" and ending in text:
            assert _text().replace("\r\n", "").count("\n") == 0
        comments = [line for line in text.splitlines() if line.startswith(("#", "["))]
        kept = iter(_text().splitlines())
        assert all(comment in kept for comment in comments)


def test_a_new_file_has_a_header_and_is_private() -> None:
    set_value("sampling.stop", ("END", "###"))
    assert _text().startswith("# The settings of vlmchat.")
    assert load_settings().sampling.stop == ("END", "###")
    assert stat.S_IMODE(paths.config_file().stat().st_mode) == 0o600
    unset("sampling.stop")
    assert load_settings().sampling.stop == ()
    assert "[sampling]" in _text()


def test_unset_keeps_the_comments_around() -> None:
    _config('[ui]\n# a\ntheme = "x" # b\n# c\nenter = "send"\n')
    unset("ui.theme")
    assert _text() == '[ui]\n# a\n# c\nenter = "send"\n'
    before = paths.config_file().stat().st_ino
    unset("ui.theme")
    unset("chat.save")
    assert paths.config_file().stat().st_ino == before


def test_names_with_dots_are_found_wherever_they_stand() -> None:
    _config('[keys.composer]\nhistory = "f6" # mine\n')
    set_value("keys.composer.history", "f7")
    assert _text() == '[keys.composer]\nhistory = "f7" # mine\n'
    assert load_settings().keys == {"composer.history": "f7"}
    set_value("keys.attach", "")
    assert load_settings().keys == {"attach": "", "composer.history": "f7"}


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("sampling.top_p", 2, "less than or equal to 1"),
        ("engine.quant", "3bit", "'none'"),
        ("engine.quantt", "8bit", "no setting “engine.quantt”"),
        ("colours.x", "8bit", "no setting “colours"),
        ("ui.theme", "", "at least 1 character"),
        ("keys.attach", 3, "valid string"),
    ],
)
def test_a_bad_value_never_reaches_the_file(key: str, value: str | int, said: str) -> None:
    _config("# mine\n")
    with pytest.raises(UsageError) as caught:
        set_value(key, value)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert _text() == "# mine\n"


def test_a_secret_is_not_repeated() -> None:
    with pytest.raises(UsageError) as caught:
        set_value("engine.api_key", 12345)
    assert "12345" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[ui]\ntheme = \n", "line 2"),
        ("# é\n[ui\n", "line 2"),
        ("ui = 3\n", "must be a table"),
        ("[engine]\nquant = '3bit'\n", "line 2"),
    ],
)
def test_a_bad_file_is_refused_and_never_overwritten(text: str, said: str) -> None:
    path = _config(text)
    with pytest.raises(UsageError) as caught:
        set_value("ui.theme", "paper")
    assert str(path) in str(caught.value)
    assert said in str(caught.value)
    assert _text() == text


def test_a_file_that_is_not_text_is_refused() -> None:
    path = paths.config_file()
    path.parent.mkdir(parents=True)
    path.write_bytes(b"# \xff\n")
    with pytest.raises(UsageError, match="not valid TOML"):
        set_value("ui.theme", "paper")
    assert path.read_bytes() == b"# \xff\n"


def test_what_is_wrong_can_be_unset() -> None:
    _config("[engine]\nquant = '3bit' # bad\n")
    unset("engine.quant")
    assert load_settings().engine.quant == "auto"


def test_the_environment_does_not_hide_a_bad_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLMCHAT_SAMPLING__TOP_K", "-1")
    set_value("ui.theme", "paper")
    monkeypatch.setenv("VLMCHAT_ENGINE__QUANT", "8bit")
    with pytest.raises(UsageError):
        set_value("engine.quant", "3bit")


def test_links_are_followed_and_permissions_kept(tmp_path: Path) -> None:
    dotfiles = tmp_path / "dotfiles"
    dotfiles.mkdir()
    real = dotfiles / "vlmchat.toml"
    real.write_text("[ui]\ntheme = 'a'\n")
    real.chmod(0o640)
    link = paths.config_file()
    link.parent.mkdir(parents=True)
    link.symlink_to(real)
    set_value("ui.theme", "paper")
    assert link.is_symlink()
    assert real.read_text() == '[ui]\ntheme = "paper"\n'
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert list(dotfiles.iterdir()) == [real]


def test_a_failed_write_leaves_the_file_and_no_litter(monkeypatch: pytest.MonkeyPatch) -> None:
    path = _config("[ui]\ntheme = 'a'\n")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(VlmchatError, match="No space left"):
        set_value("ui.theme", "paper")
    assert path.read_text() == "[ui]\ntheme = 'a'\n"
    assert list(path.parent.iterdir()) == [path]


def test_writers_at_the_same_time_lose_nothing() -> None:
    code = (
        "import sys; from vlmchat.config_file import set_value\n"
        "for i in range(10): set_value(f'keys.x{sys.argv[1]}y{i}', 'f5')"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(i)]) for i in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert len(load_settings().keys) == 30


def test_it_is_light_to_import() -> None:
    code = (
        "import sys, vlmchat.config_file;"
        "print([m for m in ('tomlkit', 'pydantic', 'filelock') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
