"""Logs as they should not be: each row is accounted for, and nothing is learned by surprise."""

import base64
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.finetune.logs import asked, read, write_log
from tests.pictures import encoded, promised_png, saved
from vlmchat.chat.messages import Message
from vlmchat.finetune.examples import Dropped, Example
from vlmchat.finetune.reading import ExampleReader, ReadOptions
from vlmchat.finetune.rendering import TokenCount
from vlmchat.finetune.report import DataReport, examine

USER = {"role": "user", "content": "What is 2 + 2?"}
FOUR = {"role": "assistant", "content": "4"}
GOOD = {"messages": [USER, FOUR]}
GOOD_LINE = json.dumps(GOOD)


def words(messages: Sequence[Message], trained: Iterable[int]) -> TokenCount:
    """Count words in place of tokens."""
    counts = [len(message.text.split()) for message in messages]
    return TokenCount(sum(counts), 0, sum(counts[place] for place in trained))


def report_of(*paths: Path, options: ReadOptions | None = None, context: int = 100) -> DataReport:
    with ExampleReader(options) as reader:
        return examine((item for path in paths for item in reader.read(path)), words, context)


def lines_of(report: DataReport) -> list[int | None]:
    """Return every line that the report accounts for, and check that each has its file."""
    found = [
        *((item.example.source.file, item.example.source.line) for item in report.usable),
        *((item.file, item.line) for item in report.dropped),
        *((item.source.file, item.source.line) for item in report.duplicates),
        *((item.source.file, item.source.line) for item in report.oversize),
    ]
    assert all(file for file, _ in found)
    assert len(found) == report.rows
    return sorted((line for _, line in found), key=lambda line: line or 0)


def test_every_row_of_a_log_that_is_wrong_in_every_way_is_accounted_for(tmp_path: Path) -> None:
    saved(tmp_path / "a.png")
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "cut.png").write_bytes(encoded(width=640, height=480)[:400])
    (tmp_path / "bomb.png").write_bytes(promised_png(60_000, 60_000))
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "fifo.png")
    outside = saved(tmp_path.parent / f"{tmp_path.name}-outside.png")
    share = [
        {"from": "human", "value": "<image>\nWhat?"},
        {"from": "gpt", "value": "A circle."},
    ]
    cases: list[tuple[Any, str]] = [
        (asked("What?", "A circle.", "a.png"), "usable"),
        ({"image": "a.png", "conversations": share}, "duplicate"),  # another format, the same
        ({"prompt": "Why?", "completion": "So."}, "usable"),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "usable"),
        ({"prompt": "a", "completion": "b", "label": True}, "usable"),
        (asked("What?", "word " * 200), "oversize"),
        (GOOD, "usable"),
        (GOOD, "duplicate"),
        ({"messages": [USER]}, "no assistant turn"),
        ({"messages": [FOUR, USER]}, "nobody answers|before anything"),
        ({"messages": [USER, FOUR, FOUR]}, "out of order"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}, FOUR]}, "neither a path"),
        (asked("What?", "x", "gone.png"), "does not exist"),
        (asked("What?", "x", "text.png"), "not a picture"),
        (asked("What?", "x", "cut.png"), "damaged or cut off"),
        (asked("What?", "x", "bomb.png"), "60000 × 60000 pixels|million"),
        (asked("What?", "x", "fifo.png"), "not a regular file"),
        (asked("What?", "x", "folder.png"), "not a regular file"),
        (asked("What?", "x", str(outside)), "outside"),
        (asked("What?", "x", "https://example.org/a.png"), "on the network"),
        (asked("What?", "x", "\0"), "no path|impossible"),
        ([[]], "not an object"),
        (None, "not an object"),
    ]
    raw = [
        (GOOD_LINE.replace('"4"', "NaN"), "not JSON"),
        ('{"messages": ' + "[" * 100_000, "nested too deeply|not JSON"),
        (GOOD_LINE[:-3], "not JSON"),
        ("\x00\x00\x00", "not JSON"),
        ("9" * 5000, "not JSON|not an object"),
    ]
    path = tmp_path / "log.jsonl"
    lines = [*(json.dumps(row) for row, _ in cases), *(line for line, _ in raw)]
    path.write_text("\r\n".join(lines) + "\r\n", "utf-8")
    report = report_of(path)
    assert lines_of(report) == list(range(1, len(lines) + 1))
    told = {item.line: item.reason for item in report.dropped}
    told |= {item.source.line: "duplicate" for item in report.duplicates}
    told |= {item.source.line: "oversize" for item in report.oversize}
    for number, (_, wanted) in enumerate([*cases, *raw], 1):
        said = told.get(number, "usable")
        assert any(one in said for one in wanted.split("|")), (number, wanted, said)
    assert report.outside == (outside.resolve(),)
    assert {item.example.source.form for item in report.usable} == {
        *("messages", "prompt-completion", "preference", "kto")
    }


def test_links_and_dots_out_of_the_folder_are_not_opened_before_they_are_allowed(
    tmp_path: Path,
) -> None:
    """What must not be opened is a pipe here: opening it would wait for ever."""
    secret = tmp_path / "secret.png"
    os.mkfifo(secret)
    folder = tmp_path / "log"
    (folder / "in").mkdir(parents=True)
    (folder / "link.png").symlink_to(secret)
    (folder / "up").symlink_to(tmp_path, target_is_directory=True)
    saved(folder / "in" / "a.png")
    references = [
        str(secret),
        "../secret.png",
        "in/../../secret.png",
        "link.png",
        "up/secret.png",
        secret.as_uri(),
        "file:../secret.png",
    ]
    inside = ["in/../in/a.png", str(folder / "in" / "a.png"), "up/log/in/a.png"]
    rows = [asked(f"{n}?", "x", one) for n, one in enumerate([*references, *inside])]
    questions: list[Path] = []

    def refuse(path: Path) -> bool:
        questions.append(path)
        return False

    path = write_log(folder / "log.jsonl", rows)
    report = report_of(path, options=ReadOptions(outside=refuse))
    assert [(item.line, item.why) for item in report.dropped] == [
        (n, "outside") for n in range(1, len(references) + 1)
    ]
    assert len(report.usable) == len(inside)
    assert questions == [secret]
    assert lines_of(report) == list(range(1, len(rows) + 1))


def test_a_picture_that_may_not_be_read(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    saved(tmp_path / "a.png").chmod(0)
    _, (dropped,) = read(write_log(tmp_path / "log.jsonl", [asked("What?", "x", "a.png")]))
    assert "cannot be read" in dropped.reason


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf16_is_told_once(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes((GOOD_LINE + "\r\n").encode(encoding) * 500)
    _, (dropped,) = read(path)
    assert "save it as UTF-8" in dropped.reason


def test_files_that_are_no_text_or_no_json_end_soon(tmp_path: Path) -> None:
    binary = tmp_path / "data.parquet"
    binary.write_bytes(b"PAR1" + bytes(range(256)) * 40_000)
    _, (dropped,) = read(binary)
    assert "not UTF-8" in dropped.reason
    prose = tmp_path / "chat.csv"
    prose.write_text("question,answer\n" * 2_000_000)
    _, found = read(prose)
    assert len(found) == 1001 and found[-1].line == 1000
    assert "choose another file" in found[-1].reason


def test_a_log_with_one_good_row_late_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("#\n" * 900 + GOOD_LINE + "\n" + "#\n" * 2000 + GOOD_LINE)
    examples, dropped = read(path)
    assert [example.source.line for example in examples] == [901, 2902]
    assert len(dropped) == 2900


def test_bad_items_of_a_list_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    bad = [
        '{"a": }',
        "NaN",
        "{'single': 'quotes [}'}".replace("'", ""),
        '{"messages": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"text": "\\x [ { \\" "}',
        "[1, 2,]",
    ]
    items = [one for item in bad for one in (item, GOOD_LINE)]
    path.write_text("[" + ",\n".join(items) + "]")
    examples, dropped = read(path)
    assert [e.source.item for e in examples] == [2, 4, 6, 8, 10, 12]
    assert [d.item for d in dropped] == [1, 3, 5, 7, 9, 11]
    assert [e.source.line for e in examples] == [2, 4, 6, 8, 10, 12]


def test_a_list_that_cannot_be_followed_says_so(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    path.write_text(f'[{GOOD_LINE}, {{"a": "b}}, {GOOD_LINE}, {GOOD_LINE}]')
    examples, dropped = read(path)
    assert len(examples) == 1
    assert "not JSON" in dropped[0].reason
    assert "rest of the list" in dropped[1].reason


def test_a_conversation_a_line_without_a_name(tmp_path: Path) -> None:
    path = write_log(tmp_path / "log.jsonl", [[USER, FOUR], [USER], [1], [USER, FOUR, USER, FOUR]])
    examples, dropped = read(path)
    assert [e.source.line for e in examples] == [1, 4]
    assert [d.line for d in dropped] == [2, 3]


def test_ten_thousand_duplicates(tmp_path: Path) -> None:
    saved(tmp_path / "a.png", 512, 512)
    path = write_log(tmp_path / "log.jsonl", [asked("What?", "A circle.", "a.png")] * 10_001)
    began = time.perf_counter()
    report = report_of(path)
    took = time.perf_counter() - began
    assert (len(report.usable), len(report.duplicates), report.rows) == (1, 10_000, 10_001)
    assert {item.first.line for item in report.duplicates} == {1}
    assert lines_of(report) == list(range(1, 10_002))
    assert took < 20


def test_pictures_in_the_log_itself_are_kept_on_the_disk(tmp_path: Path) -> None:
    colours = ("red", "green", "blue")
    urls = [
        "data:image/png;base64," + base64.b64encode(encoded(colour=colour)).decode()
        for colour in colours
    ]
    path = write_log(tmp_path / "log.jsonl", [asked("What?", "x", url) for url in urls])
    with ExampleReader() as reader:
        examples = [item for item in reader.read(path) if isinstance(item, Example)]
        assert [example.media[0].data for example in examples] == [
            encoded(colour=colour) for colour in colours
        ]


# Large files -------------------------------------------------------------------------------------

_MEASURED = """
import json, resource, sys, time
from collections import Counter
from pathlib import Path
from vlmchat.finetune.examples import Dropped
from vlmchat.finetune.reading import ExampleReader
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
began, kinds, last = time.perf_counter(), Counter(), None
with ExampleReader() as reader:
    for item in reader.read(Path(sys.argv[1])):
        kinds[type(item).__name__] += 1
        last = str(item) if isinstance(item, Dropped) else last
seconds = time.perf_counter() - began
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([kinds, last, (after - before) * 1024, seconds]))
"""


def measured(path: Path) -> tuple[Counter[str], str, int, float]:
    """Read a log in a process of its own; return what was found, bytes grown and seconds."""
    told = subprocess.run(
        [sys.executable, "-c", _MEASURED, str(path)], capture_output=True, text=True, check=True
    )
    kinds, last, grown, seconds = json.loads(told.stdout)
    print(f"{path.stat().st_size / seconds / 1e6:.0f} MB/s, {grown / 1e6:.0f} MB more memory")
    return Counter(kinds), last, grown, seconds


def write_large(path: Path, size: int, row: int, end: str) -> int:
    """Write good rows of so many bytes each, then `end`; return how many rows."""
    answer = {"role": "assistant", "content": "4 " * (row // 2)}
    block = (json.dumps({"messages": [USER, answer]}) + "\n").encode()
    count = size // len(block)
    with path.open("wb") as file:
        for _ in range(count):
            file.write(block)
        file.write(end.encode())
    return count


@pytest.mark.slow
@pytest.mark.parametrize(("row", "size"), [(2_000, 250_000_000), (100_000, 1_000_000_000)])
def test_a_gigabyte_with_one_bad_line_at_the_end(tmp_path: Path, row: int, size: int) -> None:
    path = tmp_path / "log.jsonl"
    count = write_large(path, size, row, '{"messages": [{"ro')
    kinds, last, grown, seconds = measured(path)
    assert kinds == {"Example": count, "Dropped": 1}
    assert f"line {count + 1}" in last and "not JSON" in last
    assert grown < 60_000_000
    assert seconds < 60
    path.unlink()


@pytest.mark.slow
def test_a_gigabyte_with_one_bad_line_at_the_beginning(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    good = tmp_path / "good.jsonl"
    count = write_large(good, 1_000_000_000, 100_000, "")
    with path.open("wb") as file, good.open("rb") as rest:
        file.write(b'{"messages": [\n')
        while block := rest.read(1 << 24):
            file.write(block)
    good.unlink()
    kinds, last, grown, _ = measured(path)
    assert kinds == {"Example": count, "Dropped": 1}
    assert "line 1" in last or "line 2" in last
    assert grown < 60_000_000
    path.unlink()


@pytest.mark.slow
def test_a_line_of_two_hundred_megabytes(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with path.open("w") as file:
        file.write(GOOD_LINE + "\n")
        for _ in range(201):
            file.write("x" * 1_000_000)
        file.write("\n" + GOOD_LINE + "\n")
    kinds, last, grown, seconds = measured(path)
    assert kinds == {"Example": 2, "Dropped": 1}
    assert "line 2" in last and "more than" in last
    assert grown < 450_000_000  # the limit of a row, and what a line grows by
    assert seconds < 10
    path.unlink()


@pytest.mark.slow
def test_a_gigabyte_of_pictures_in_the_log(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with path.open("w") as file:
        for number in range(40):
            # A BMP is not packed, so that it can be made large quickly.
            data = encoded("BMP", 2500, 1000 + number)
            url = "data:image/bmp;base64," + base64.b64encode(data).decode()
            file.write(json.dumps(asked("What?", "x", url)) + "\n")
    kinds, _, grown, _ = measured(path)
    assert kinds == {"Example": 40}
    assert grown < 150_000_000
    path.unlink()


def test_what_is_dropped_names_file_and_line(tmp_path: Path) -> None:
    path = write_log(tmp_path / "log.jsonl", [GOOD, {"messages": [USER]}])
    _, (dropped,) = read(path)
    assert isinstance(dropped, Dropped)
    assert str(dropped) == f"{path}, line 2: {dropped.reason}"
