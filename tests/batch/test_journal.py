"""The file of answers: exactly once, in order, and nothing that is not ours is touched."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from vlmchat.batch.journal import Journal, JournalError, digest
from vlmchat.batch.rows import Row, read_rows
from vlmchat.errors import UsageError

ROWS = [Row(f"{number}\udcff.png", (Path(f"{number}.png"),), "What?") for number in range(5)]


def answered(number: int, **fields: Any) -> dict[str, Any]:
    row = {"source": ROWS[number].source, "prompt": "What?", "answer": "yes", "error": None}
    return row | {"run": "r1"} | fields


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_goes_on_behind_a_line_that_was_cut_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with Journal(path, ROWS) as journal:
        for number in range(3):
            journal.append(answered(number, error="broken" if number == 1 else None))
    whole = path.read_bytes()
    ends = [at + 1 for at, byte in enumerate(whole) if byte == 10]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut] + (b"\0" * 7 if cut not in (0, *ends) else b""))
        with Journal(path, ROWS) as journal:
            assert journal.done == sum(end <= cut for end in ends)
            assert journal.errors == (journal.done > 1)
            while journal.done < 5:
                journal.append(answered(journal.done))
        assert [row["index"] for row in lines(path)] == [0, 1, 2, 3, 4]
    assert [entry.name for entry in tmp_path.iterdir() if entry.name != "home"] == ["out.jsonl"]


@pytest.mark.parametrize(
    "content",
    [
        b"a diary\n",
        b"a diary",
        b'{"index": 0}\n',
        b'{"source": "0.png"}\n',
        b'{"index": 1, "source": "1.png", "prompt": "What?", "run": "r1"}\n',
        b"[1]\n",
        b"\xff\xd8\xff\xe0" + b"x" * 4000,
        b"\n",
    ],
)
def test_what_is_not_ours_stays_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="not a file of answers"):
        Journal(path, ROWS)
    assert path.read_bytes() == content


def test_another_batch_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with Journal(path, ROWS) as journal:
        journal.append(answered(0))
        journal.append(answered(1))
        with pytest.raises(UsageError, match="Another batch is writing"):
            Journal(path, ROWS)
    before = path.read_bytes()
    other = [Row(row.source, row.media, "Why?") for row in ROWS]
    for rows, said in ((other, "another prompt"), (ROWS[1:], "as number 1"), (ROWS[:1], "more")):
        with pytest.raises(UsageError, match=said):
            Journal(path, rows)
    assert path.read_bytes() == before
    with Journal(path, ROWS) as journal:
        journal.append(answered(2, run="r2"))
    with pytest.raises(UsageError, match="other settings"):
        Journal(path, ROWS)
    assert digest({"a": 1, "b": None}) == digest({"b": None, "a": 1}) != digest({"a": 2})


def test_a_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, write = tmp_path / "out.jsonl", os.write

    def some(file: int, data: bytes) -> int:
        if len(data) < 20:
            raise OSError(28, "No space left on device")
        return write(file, data[: len(data) - 10])

    with Journal(path, ROWS) as journal:
        journal.append(answered(0))
        monkeypatch.setattr(os, "write", some)
        with pytest.raises(JournalError, match="No space left on device"):
            journal.append(answered(1))
        monkeypatch.undo()
    with Journal(path, ROWS) as journal:
        assert journal.done == 1
        journal.append(answered(1))
    assert [row["index"] for row in lines(path)] == [0, 1]
    with pytest.raises(JournalError, match="cannot be written"):
        Journal(tmp_path, ROWS)


def test_what_arguments_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("pics/b.PNG", "pics/a.jpg", "pics/sub/c.webp", "pics/.d.png", "pics/note.txt"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    mine = [
        {"id": 7, "images": ["a.jpg", "sub/c.webp"], "prompt": "Which?", "system": "Be brief."},
        {"image": "b.PNG", "label": "unknown fields are left alone\u2028"},
        {"prompt": "Without a picture?"},
    ]
    Path("pics/rows.jsonl").write_text(
        "\n".join(json.dumps(row, ensure_ascii=False) for row in mine) + "\n\n", "utf-8"
    )
    found = read_rows(["pics", "pics/*.jpg", "-", "gone.png"], "What?", ["x.png\r", "", "y z.png"])
    assert [row.source for row in found] == [
        *("pics/a.jpg", "pics/b.PNG", "pics/sub/c.webp", "pics/a.jpg", "x.png", "y z.png"),
        "gone.png",
    ]
    own = read_rows(["pics/rows.jsonl"], "What?")
    assert [row.source for row in own] == ["7", "pics/rows.jsonl:2", "pics/rows.jsonl:3"]
    assert own[0].media == (Path("pics/a.jpg"), Path("pics/sub/c.webp"))
    assert [row.prompt for row in own] == ["Which?", "What?", "Without a picture?"]
    assert own[0].system == "Be brief."
    Path("bad.jsonl").write_text('{"prompt": "x"}\n{"image": 3, "prompt": "x"}\n')
    refused = {
        ("*.gif",): "names no file",
        ("nothing",): "names no file",
        ("bad.jsonl",): "line 2: “image” must be a path",
        ("gone.jsonl",): "cannot be read",
        (): "nothing to ask",
    }
    for arguments, said in refused.items():
        with pytest.raises(UsageError, match=said):
            read_rows(arguments, "What?")
    for name in ("pics/a.jpg", "pics/rows.jsonl"):
        with pytest.raises(UsageError, match="--prompt"):
            read_rows([name], None)
