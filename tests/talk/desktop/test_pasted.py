"""Paths as people, shells and terminals write them."""

from pathlib import Path

import pytest

from vlmchat.talk.desktop.pasted import expand, parse_paths, pasted_files, split_paths, split_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a b", ["a", "b"]),
        ("'a b' c", ["a b", "c"]),
        ('"a b" c', ["a b", "c"]),
        (r"a\ b c", ["a b", "c"]),
        (r'"a \"b\"" c', ['a "b"', "c"]),
        (r"C:\new\file.png", [r"C:\new\file.png"]),
        ("it's", ["it's"]),
        ("''", [""]),
        ("pre'fix ed'post", ["prefix edpost"]),
        (r"\(1\).png", ["(1).png"]),
        ("", []),
        ("  \n ", []),
        ("a\nb\tc", ["a", "b", "c"]),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert split_words(text) == words


def test_expand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert expand("~/x.png") == Path("/home/ada/x.png")
    assert expand("file:///tmp/a%20b%C3%A9.png") == Path("/tmp/a bé.png")
    assert expand("file://localhost/tmp/a.png") == Path("/tmp/a.png")
    assert expand("100%25.png") == Path("100%25.png")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    one, two = tmp_path / "one two (3).png", tmp_path / "b's.jpg"
    one.write_bytes(b"x")
    two.write_bytes(b"x")
    return one, two


def _escaped(path: Path) -> str:
    return "".join("\\" + char if char in " ()'" else char for char in str(path))


def test_drops_of_every_kind(files: tuple[Path, Path]) -> None:
    one, two = files
    forms = [
        f"{one}",
        f"'{one}'",
        f'"{one}" ',
        _escaped(one),
        one.as_uri(),
        f"{one}\n",
    ]
    for form in forms:
        assert pasted_files(form, lambda _: True) == [one], form
    both = [f"'{one}' {_escaped(two)}", f"{one}\n{two}", f"{one.as_uri()}\r\n{two.as_uri()}\r\n"]
    for form in both:
        assert pasted_files(form, lambda _: True) == [one, two], form


def test_other_pastes_are_text(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    one, _ = files
    monkeypatch.chdir(one.parent)
    for text in (
        "what is this?",
        f"look at '{one}'",
        f"{one}.missing",
        one.name,
        str(one.parent),
        "",
        "  ",
        "a\0b",
        "/" * 5000,
        "x" * 40_000,
    ):
        assert pasted_files(text, lambda _: True) == [], text
    assert pasted_files(str(one), lambda path: path.suffix == ".jpg") == []


def test_command_arguments(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = files
    monkeypatch.chdir(one.parent)
    assert parse_paths(one.name) == [Path(one.name)]
    assert parse_paths(f"'{one}' \"{two}\"") == [one, two]
    assert parse_paths("no.png nor.png") == [Path("no.png"), Path("nor.png")]
    assert parse_paths("  ") == []


def test_questions_that_begin_with_a_file(files: tuple[Path, Path]) -> None:
    one, two = files
    assert split_paths(f"'{one}' what is it?") == ([one], "what is it?")
    assert split_paths(f"{_escaped(one)} {two.as_uri()}  [/red]  two?") == (
        [one, two],
        "[/red]  two?",
    )
    assert split_paths(str(one)) == ([one], "")
    for text in ("/help", " hello  there ", "/no/such/file what?", "~", "'quoted' text"):
        assert split_paths(text) == ([], text)
