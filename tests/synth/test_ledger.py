"""The files of a set: whole rows, each once, whenever its making is broken off."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from vlmchat.errors import UsageError
from vlmchat.synth.ledger import Ledger, dropped_file, journal_file

PIECES = [f"piece-{number}" for number in range(12)]


def rows(ledger: Ledger, piece: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return two rows that are kept, or one, and one that is not."""
    made = {"made": {"run": ledger.run}, "piece": piece, "text": "ü" * 40}
    kept = [{**made, "n": n} for n in range(1 + len(piece) % 2)]
    return kept, [{**made, "why": "empty"}]


def make(out: Path, count: int = len(PIECES), *, close: bool = True) -> Ledger:
    ledger = Ledger(out, {"seed": 1})
    for piece in PIECES[:count]:
        if piece not in ledger.done:
            ledger.add(piece, *rows(ledger, piece))
            ledger.sync()
    if close:
        ledger.__exit__()
    return ledger


def contents(out: Path) -> dict[str, bytes]:
    """Return the files of a set; its journal line by line, as a broken one grows another way."""
    return {path.name: path.read_bytes() for path in (out, dropped_file(out), journal_file(out))}


def test_broken_off_anywhere_each_row_is_there_once(tmp_path: Path) -> None:
    whole = tmp_path / "whole" / "data.jsonl"
    assert make(whole).kept == sum(1 + len(piece) % 2 for piece in PIECES)
    chance = random.Random(5)
    for number in range(12):
        out = tmp_path / str(number) / "data.jsonl"
        make(out, chance.randrange(len(PIECES)))
        # What a crash leaves: rows without a line that speaks of them, cut at any byte.
        for path, full in zip(
            (out, dropped_file(out), journal_file(out)),
            (whole, dropped_file(whole), journal_file(whole)),
            strict=True,
        ):
            have, more = path.stat().st_size, full.read_bytes()
            most = min(len(more), have + (300 if path != journal_file(out) else 60))
            path.write_bytes(more[: chance.randint(have, most)])
        ledger = make(out)
        assert contents(out) == contents(whole)
        assert ledger.done == set(PIECES) and ledger.dropped == {"empty": len(PIECES)}
    assert {path.name for path in whole.parent.iterdir()} == {
        "data.jsonl", "data.dropped.jsonl", "data.journal.jsonl"
    }  # fmt: skip


def test_nothing_of_the_persons_is_lost(tmp_path: Path) -> None:
    out = tmp_path / "data.jsonl"
    out.write_text("mine\n")
    with pytest.raises(UsageError, match="is there already"):
        make(out)
    assert out.read_text() == "mine\n" and not journal_file(out).exists()
    out.unlink()
    make(out, 3)
    before = contents(out)
    changes = {
        "a row of their own": before["data.jsonl"] + b'{"messages": []}\n',
        "another word": before["data.jsonl"].replace(b"piece-1", b"piece-9"),
        "less": before["data.jsonl"][:-1],
    }
    for changed in changes.values():
        out.write_bytes(changed)
        with pytest.raises(UsageError, match="was changed"):
            make(out)
        assert out.read_bytes() == changed
    out.unlink()
    with pytest.raises(UsageError, match="is gone"):
        make(out)
    out.write_bytes(before["data.jsonl"])
    with pytest.raises(UsageError, match="“seed” 1, and now it is 2"):
        Ledger(out, {"seed": 2})
    assert Ledger(out, {"seed": 2}, changeable=("seed",)).kept == make_count(before)


def make_count(files: dict[str, bytes]) -> int:
    return len([json.loads(line) for line in files["data.jsonl"].splitlines()])


def test_two_at_once(tmp_path: Path) -> None:
    out = tmp_path / "data.jsonl"
    ledger = make(out, 1, close=False)
    with pytest.raises(UsageError, match="by another run"):
        Ledger(out, {"seed": 1})
    ledger.__exit__()
    make(out)
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    tmp_path.chmod(0o500)
    try:
        (tmp_path / "probe").touch()
    except PermissionError:
        with pytest.raises(UsageError, match="cannot be written"):
            Ledger(out, {"seed": 1})
    finally:
        tmp_path.chmod(0o700)
