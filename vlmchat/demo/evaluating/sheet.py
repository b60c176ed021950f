"""The answers that were not right, with their pictures, as one HTML file to look at."""

import base64
from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape
from typing import TypeAlias

from PIL import Image

from vlmchat.demo.evaluating.messages import png
from vlmchat.demo.evaluating.rows import Evaluation, Row
from vlmchat.text import visible

# Draws the pictures of a task's example again.
Pictures: TypeAlias = Callable[[str, int], Sequence[Image.Image]]

# Nothing is ever loaded from elsewhere, whatever a model has said.
_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Wrong answers</title>
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<style>
:root { color-scheme: light dark; }
body { font: 1rem/1.45 system-ui, sans-serif; margin: 1.5rem; overflow-wrap: anywhere; }
.wrong { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 1rem; }
article { border: 1px solid #8886; padding: .6rem; }
img { max-width: 100%; height: auto; } .several img { width: 48%; }
p { margin: .3rem 0; } b { font-weight: 600; }
</style></head><body>
<h1>Wrong answers</h1>
"""


def sheet(evaluation: Evaluation, pictures: Pictures) -> Iterator[bytes]:
    """Yield the sheet's HTML in pieces, in UTF-8.

    Args:
        evaluation: what was found.
        pictures: draws an example's pictures anew.
    """
    yield _HEAD.encode()
    shown = [row for row in evaluation.rows if row.wrong]
    if not shown:
        yield b"<p>There is none.</p>\n"
    for row in shown:
        yield "".join(_section(row, pictures)).encode()
    yield b"</body></html>\n"


def _section(row: Row, pictures: Pictures) -> Iterator[str]:
    count = row.asked - row.right
    yield f"<h2>{escape(row.task)}: {len(row.wrong)} of {count} wrong, {row.asked} asked</h2>\n"
    yield '<div class="wrong">\n'
    for wrong in row.wrong:
        images = pictures(row.task, wrong.index)
        kind = ' class="several"' if len(images) > 1 else ""
        yield f"<article{kind}>\n{''.join(_shown(images))}\n"
        lines = (("", wrong.question), ("right", wrong.answer), ("said", wrong.said))
        for name, text in lines:
            label = f"<b>{name}</b> " if name else ""
            yield f"<p>{label}{escape(visible(text))}</p>\n"
        yield f"<p><small>example {wrong.index}</small></p></article>\n"
    yield "</div>\n"


def _shown(images: Iterable[Image.Image]) -> Iterator[str]:
    for image in images:
        data = base64.b64encode(png(image)).decode()
        yield f'<img src="data:image/png;base64,{data}" alt="">'
