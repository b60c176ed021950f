"""What the arguments of commands are completed with: paths, names, models."""

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from vlmchat.talk.commands import completing
from vlmchat.talk.desktop.pasted import last_word, parse_paths, split_urls, split_words


def _found(argument: str) -> list[str]:
    items = completing.find_paths(argument, lambda path: path.suffix in (".png", ".jpg"))
    return [item.text for item in items]


NAMES = (
    "boat.png",
    "Boat two.png",
    "it's.jpg",
    'say "hi".png',
    "back\\slash.png",
    "narrow\u202fspace.png",
    "~tilde.png",
    "file:x.png",
    "(1) $HOME & co; #!.png",
    "umlaut ü 你好.png",
)


def test_every_path_is_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (*NAMES, "notes.txt", ".hidden.png", "new\nline.png"):
        (tmp_path / name).write_bytes(b"x")
    for given in ("", f"{tmp_path}/", "'" + f"{tmp_path}/", "./"):
        offered = _found(given)
        assert len(offered) == len(NAMES), offered
        names = []
        for text in offered:
            (path,) = parse_paths(text)
            assert path.is_file(), text
            (second,) = split_words(text)
            assert Path(second).name == path.name
            names.append(path.name)
        assert sorted(names) == sorted(NAMES)
    # Behind another path, every word still stands for itself.
    for text in _found("boat.png "):
        assert len(parse_paths(text)) == 2 and parse_paths(text)[0] == Path("boat.png")


def test_which_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("boat.png", "Boat two.png", "boat.txt", ".hidden.png", "p10.png", "p9.png"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "bog").mkdir()
    assert _found("bo") == ["bog/", "boat.png", "Boat\\ two.png"]
    assert _found("Bo") == ["Boat\\ two.png", "bog/", "boat.png"]
    assert _found("Boat tw") == ["Boat\\ two.png"]
    assert _found("Boat\\ tw") == ["Boat\\ two.png"]
    assert _found("'Boat tw") == ["Boat\\ two.png"]
    assert _found("p") == ["p9.png", "p10.png"]
    assert _found("x.png bo") == ["x.png bog/", "x.png boat.png", "x.png Boat\\ two.png"]
    assert _found(".h") == [".hidden.png"]
    assert _found("~") == ["~/"]
    assert _found("~/bo")[0] == "~/bog/"
    assert _found("no/such/") == _found("boat.png/") == _found("https://x") == []
    assert completing.find_paths("a\0b", lambda _: True) == []


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", (0, "")),
        ("a b", (2, "b")),
        ("a b ", (4, "")),
        (r"a\ b", (0, "a b")),
        ("x 'a b", (2, "a b")),
        ('x "a \\"b', (2, 'a "b')),
        ("'a b' c", (6, "c")),
        ("it's a", (5, "a")),
        ("a\\", (0, "a")),
    ],
)
def test_the_last_word(text: str, word: tuple[int, str]) -> None:
    assert last_word(text) == word


def test_addresses_among_paths() -> None:
    assert split_urls("a.png https://x.org/b%20c.png") == (
        ["https://x.org/b%20c.png"],
        [Path("a.png")],
    )
    assert split_urls("a b") == ([], [Path("a"), Path("b")])


def test_fuzzy() -> None:
    def best(typed: str, *names: str) -> Sequence[str]:
        return [item.text for item in completing.words(typed, names)]

    assert best("s", "reset", "set", "stop") == ["set", "stop", "reset"]
    assert best("pi", "paste-image", "pick", "spin") == ["pick", "spin", "paste-image"]
    assert best("im", "paste-image", "dim") == ["paste-image", "dim"]
    assert best("xyz", "set") == []
    assert best("", "b", "a") == ["b", "a"]
    began = time.perf_counter()
    completing.fuzzy("a" * 30 + "b", "a" * 3000)
    assert time.perf_counter() - began < 0.05


async def test_other_arguments(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    models = await completing.models("smolvlm2-5")
    assert models[0].text == "smolvlm2-500m"
    assert [item.label for item in await completing.models(f"{tmp_path}/")] == ["model/"]
    shelf = {"birds": "made yesterday"}
    assert [item.text for item in await completing.adapters("", lambda: shelf)] == ["birds", "off"]
