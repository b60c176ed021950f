"""Reading folders: what is not there, and in which order the rest comes."""

from pathlib import Path

import pytest

from vlmchat.errors import UsageError
from vlmchat.talk.desktop.folder import Entry, in_order, natural, scan


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        scan(tmp_path / "none", frozenset({".png"}), lambda _: None)


def test_names_sort_as_people_do() -> None:
    names = ["b10", "B2", "a", "10", "9", "x" + "1" * 400, ""]
    assert sorted(names, key=natural)[:5] == ["", "9", "10", "a", "B2"]
    older = Entry(Path("a"), "a", False, changed=1.0, key=natural("a"))
    newer = Entry(Path("b"), "b", False, changed=2.0, key=natural("b"))
    inside = Entry(Path("z"), "z", True, key=natural("z"))
    assert in_order([older, newer, inside], "newest") == [inside, newer, older]
    assert in_order([newer, inside, older], "name") == [inside, older, newer]
