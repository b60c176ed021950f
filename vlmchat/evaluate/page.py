"""A report as one HTML page, each wrong answer beside its picture. Nothing is loaded by it."""

import base64
import io
from collections.abc import Callable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import TypeAlias

from vlmchat.errors import VlmchatError
from vlmchat.evaluate.items import Item
from vlmchat.evaluate.report import Report
from vlmchat.evaluate.results import Comparison, Result, by_kind
from vlmchat.evaluate.rows import Row
from vlmchat.text import visible

EDGE = 256  # pixels of a picture's longer side
MOST = 200  # answers that are shown
_SHOWN_PICTURES = 4  # of one question
_QUALITY = 80
_MARK = b'content="vlmchat eval"'
# Returns the question that a row is about, for its pictures; ``None`` where it is not known.
ItemOf: TypeAlias = Callable[[Row], Item | None]

# Nothing is ever loaded from elsewhere, whatever a model has said.
_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="generator" content="vlmchat eval">
<title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1rem/1.45 system-ui, sans-serif; margin: 1.5rem; overflow-wrap: anywhere; }}
table {{ border-collapse: collapse; }}
th, td {{ border-bottom: 1px solid #8886; padding: .3rem .7rem; text-align: right; }}
th:first-child, td:first-child {{ text-align: left; }}
.rows {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr)); gap: 1rem; }}
article {{ border: 1px solid #8886; padding: .7rem; }}
img {{ max-width: 100%; height: auto; margin: 0 .3rem .3rem 0; }}
p {{ margin: .3rem 0; white-space: pre-wrap; }}
b {{ font-weight: 600; }}
.note {{ opacity: .8; }}
</style></head><body>
"""


def page(report: Report, item_of: ItemOf, most: int = MOST) -> Iterator[bytes]:
    """Yield the page in pieces, in UTF-8; blocking, as pictures are read.

    Args:
        report: what is to be shown.
        item_of: finds the pictures of a row.
        most: answers that are shown, the worst first.
    """
    return (piece.encode("utf-8") for piece in _pieces(report, item_of, most))


def may_be_written(path: Path) -> bool:
    """Return whether there is no file yet, or an earlier page; blocking.

    Raises:
        OSError: the file cannot be read.
    """
    if not path.exists():
        return True
    with path.open("rb") as file:
        return _MARK in file.read(200)


def _pieces(report: Report, item_of: ItemOf, most: int) -> Iterator[str]:
    yield _HEAD.format(title=_text(report.title))
    yield f"<h1>{_text(report.title)}</h1>\n"
    for sentence in report.sentences():
        yield f"<p>{_text(sentence)}</p>\n"
    yield from _table(report.results)
    yield from _kinds(report.results)
    for each in report.results:
        asking = ", ".join(f"{name}: {value!r}" for name, value in each.head.asking.items())
        yield f'<p class="note">{_text(each.label)}: {_text(asking)}</p>\n'
    if report.comparison is not None:
        yield from _differing(report.comparison, item_of, most)
    else:
        wrong = report.results[0].wrong
        yield f"<h2>Not right: {min(most, len(wrong))} of {len(wrong)}</h2>\n"
        yield from _articles([(row, [row]) for row in wrong[:most]], report.results, item_of)
    yield "</body></html>\n"


def _table(results: Sequence[Result]) -> Iterator[str]:
    yield "<table><tr><th></th><th>score</th><th>95 % interval</th><th>Wilson</th>"
    yield "<th>questions</th><th>without an answer</th><th>cut off</th><th>s/answer</th></tr>\n"
    for each in results:
        share = each.score
        between = f"{100 * share.low:.1f} to {100 * share.high:.1f}"
        other = "" if each.wilson is None else " to ".join(f"{100 * x:.1f}" for x in each.wilson)
        cells = [f"{100 * share.mean:.1f}", between, other, str(share.count), str(each.failed)]
        cells += [str(each.cut), f"{each.seconds:.2f}"]
        row = "".join(f"<td>{_text(cell)}</td>" for cell in cells)
        yield f"<tr><td>{_text(each.label)}</td>{row}</tr>\n"
    yield "</table>\n"


def _kinds(results: Sequence[Result]) -> Iterator[str]:
    found = by_kind(results)
    if not found:
        return
    heads = "".join(f"<th>{_text(each.label)}</th><th>n</th>" for each in results)
    yield f"<h2>Kinds of questions</h2>\n<table><tr><th></th>{heads}</tr>\n"
    for name, shares in found.items():
        cells = "".join(
            "<td></td><td></td>"
            if share is None
            else f"<td>{100 * share.mean:.1f} ({100 * share.low:.1f} to {100 * share.high:.1f})"
            f"</td><td>{share.count}</td>"
            for share in shares
        )
        yield f"<tr><td>{_text(name)}</td>{cells}</tr>\n"
    yield "</table>\n"


def _differing(comparison: Comparison, item_of: ItemOf, most: int) -> Iterator[str]:
    one, other = comparison.one, comparison.other
    pairs = list(zip(one.rows, other.rows, strict=True))
    top = one.metric.most - 1e-9
    sections = (
        (f"{other.label} did worse", [p for p in pairs if _score(p[1]) < _score(p[0])]),
        (f"{other.label} did better", [p for p in pairs if _score(p[1]) > _score(p[0])]),
        (
            "Neither is right",
            [p for p in pairs if _score(p[0]) == _score(p[1]) and _score(p[0]) < top],
        ),
    )
    for title, chosen in sections:
        yield f"<h2>{_text(title)}: {len(chosen)}</h2>\n"
        if len(chosen) > most:
            yield f'<p class="note">The first {most} are shown.</p>\n'
        rows = [(pair[0], list(pair)) for pair in chosen[:most]]
        yield from _articles(rows, (one, other), item_of)


def _score(row: Row) -> float:
    return row.score or 0.0


def _articles(
    rows: Sequence[tuple[Row, list[Row]]], results: Sequence[Result], item_of: ItemOf
) -> Iterator[str]:
    yield '<div class="rows">\n'
    for asked, said in rows:
        yield "<article>\n"
        yield from _pictures(asked, item_of)
        yield f"<p><b>{_text(asked.question)}</b></p>\n"
        right = " · ".join(dict.fromkeys(asked.answers))
        yield f"<p>Right: {_text(right)}</p>\n"
        for row, each in zip(said, results, strict=True):
            who = f"{_text(each.label)}: " if len(said) > 1 else "Said: "
            score = "" if each.metric.whole else f" ({100 * _score(row):.1f})"
            mark = " ✓" if _score(row) >= each.metric.most - 1e-9 else ""
            yield f"<p>{who}{_text(row.error or row.said or '(no words)')}{score}{mark}</p>\n"
        yield f'<p class="note">{_text(asked.id)} {_text(asked.category)}</p>\n</article>\n'
    yield "</div>\n"


def _pictures(row: Row, item_of: ItemOf) -> Iterator[str]:
    item = item_of(row)
    names = ", ".join(row.pictures)
    if item is None:
        if names:
            yield f'<p class="note">{_text(names)}</p>\n'
        return
    try:
        parts = item.attachments()
        for part in parts[:_SHOWN_PICTURES]:
            yield f'<img alt="{_text(part.media.name)}" src="{_thumbnail(part)}">\n'
        if len(parts) > _SHOWN_PICTURES:
            yield f'<p class="note">and {len(parts) - _SHOWN_PICTURES} more</p>\n'
    except VlmchatError as error:
        yield f'<p class="note">{_text(str(error))}</p>\n'


def _thumbnail(part: object) -> str:
    from vlmchat.chat.messages import ImagePart, VideoPart
    from vlmchat.media.thumbnails import of_media, over

    assert isinstance(part, ImagePart | VideoPart)
    region = part.region if isinstance(part, ImagePart) else None
    image = over(of_media(part.media, (EDGE, EDGE), region), (255, 255, 255))
    image.thumbnail((EDGE, EDGE))
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _text(text: str) -> str:
    return escape(visible(text), quote=True)
