"""What ``vlmchat find`` shows: lines, small pictures, or JSON."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmchat.text import visible_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.segment import Segment

    from vlmchat.retrieve.ranking import Found, Ranking
    from vlmchat.tui.terminal import PictureStyle

_COLUMNS, _ROWS = 20, 8


def as_object(query: str, ranking: "Ranking", top: int, model: str, seconds: float) -> str:
    """Return the JSON object of a ranking: the best `top` of it.

    Args:
        query: the sentence, or the picture's path.
        ranking: what was found.
        top: how many are told.
        model: that was asked.
        seconds: it took.
    """
    results = [_row(rank, one) for rank, one in enumerate(ranking.found[:top], 1)]
    value = {
        "query": query,
        "model": model,
        "seen": ranking.seen,
        "results": results,
        "skipped": [{"file": str(path), "error": why} for path, why in ranking.skipped],
        "seconds": round(seconds, 3),
    }
    text = json.dumps(value, ensure_ascii=False)
    # A file's name may be no text.
    return text if text.isascii() or _is_text(text) else json.dumps(value)


def _row(rank: int, one: "Found") -> dict[str, Any]:
    name = "file" if isinstance(one.what, Path) else "sentence"
    return {
        "rank": rank,
        name: str(one.what),
        "score": round(one.score, 4),
        "logprob": round(one.with_picture.logprob, 4),
        "logprob_without_picture": round(one.without.logprob, 4),
        "any_sentence": round(one.any_sentence, 4),
        "tokens": one.with_picture.tokens,
    }


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def show(ranking: "Ranking", top: int) -> None:
    """Print the best `top` of a ranking, with small pictures where the terminal shows them."""
    best = ranking.found[:top]
    style = _style() if best and isinstance(best[0].what, Path) else None
    if style is None:
        for rank, one in enumerate(best, 1):
            print(_line(rank, one))
        return
    from rich.console import Console

    console = Console()
    for rank, one in enumerate(best, 1):
        _show_one(console, rank, one, style)


def _line(rank: int, one: "Found") -> str:
    name = str(one.what)
    shown = visible_line(name) if sys.stdout.isatty() else name
    encoding = sys.stdout.encoding or "utf-8"
    text = f"{rank:3}  {one.score:+.3f}  {shown}"
    return text.encode(encoding, "replace").decode(encoding)


def _style() -> "PictureStyle | None":
    """Return how pictures are shown; ``None`` where they are not."""
    from rich.console import Console

    from vlmchat.settings import load_settings

    wish = load_settings().ui.pictures
    console = Console()
    if wish == "off" or not console.is_terminal or console.no_color or console.is_dumb_terminal:
        return None
    from vlmchat.tui.drawing import lines_only
    from vlmchat.tui.terminal import TerminalQuestion, picture_style

    with TerminalQuestion() as question:
        style = picture_style(wish, _ROWS, question.answer())
    return lines_only(style)


def _show_one(console: "Console", rank: int, one: "Found", style: "PictureStyle") -> None:
    """Print a small picture with its rank, score and name beside it."""
    from rich.segment import Segment, Segments

    assert isinstance(one.what, Path)
    lines = _picture(one.what, style)
    lines = [[*line, Segment(" " * (_COLUMNS - _width(line)))] for line in lines]
    said = ["", f"{rank}.  {one.score:+.3f}", visible_line(one.what.name)]
    said += [visible_line(str(one.what.parent))] if str(one.what.parent) != "." else []
    printed: list[Segment] = []
    for at in range(max(len(lines), len(said))):
        line = lines[at] if at < len(lines) else [Segment(" " * _COLUMNS)]
        text = said[at] if at < len(said) else ""
        room = max(console.width - _COLUMNS - 3, 10)
        printed += [*line, Segment("  " + _fitting(text, room)), Segment.line()]
    console.print(Segments([*printed, Segment.line()]), end="")


def _width(line: "list[Segment]") -> int:
    return sum(part.cell_length for part in line)


def _fitting(text: str, room: int) -> str:
    from rich.cells import cell_len, set_cell_size

    return text if cell_len(text) <= room else set_cell_size(text, room - 1) + "…"


def _picture(path: Path, style: "PictureStyle") -> "list[list[Segment]]":
    """Return a small picture's lines; none if it cannot be read any more."""
    from vlmchat.errors import VlmchatError
    from vlmchat.media.thumbnails import file_thumbnail
    from vlmchat.tui.drawing import fit, pixels, prepare

    try:
        image = file_thumbnail(path, pixels(_COLUMNS, _ROWS, style))
    except VlmchatError:
        return []
    columns, rows = fit(*image.size, _COLUMNS, _ROWS, style, grow=True)
    drawn = prepare(image, columns, rows, style, (128, 128, 128))
    return [list(strip) for strip in drawn.strips]
