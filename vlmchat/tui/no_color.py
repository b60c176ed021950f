"""What ``NO_COLOR`` asks for: weight, underline and reversal instead of colours.

With a theme in RGB its greys remain, as Textual has it. With one in the terminal's own colours
nothing remains but the terminal's foreground and background, except that pictures drawn with
half blocks, which would be nothing without, are in greys.
"""

from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter, Monochrome, NoColor, monochrome_style

_NO_COLORS = NoColor.DEFAULT_COLORS


class _Greys(LineFilter):
    """Every colour as the grey of its lightness."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [
            Segment(text, style and monochrome_style(style), control)
            for text, style, control in segments
        ]


class _Plain(LineFilter):
    """No colour at all, and pictures in greys."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [
            Segment(text, style and _plain(style), control) for text, style, control in segments
        ]


def _plain(style: Style) -> Style:
    ink, ground = style.color, style.bgcolor
    is_picture = ink and ink.triplet and ground and ground.triplet
    return monochrome_style(style) if is_picture else style + _NO_COLORS


_GREYS, _PLAIN = _Greys(), _Plain()


def colour_filters(filters: Sequence[LineFilter], no_color: bool, ansi: bool) -> list[LineFilter]:
    """Return the line filters of a screen.

    Textual chooses its own filter once, at the start, and takes an empty ``NO_COLOR`` for one that
    is set; and it makes the terminal's own colours black on black. Here the moment decides.

    Args:
        filters: Textual's.
        no_color: whether there shall be no colours.
        ansi: whether the theme is in the terminal's own colours.
    """
    kept = [item for item in filters if not isinstance(item, (Monochrome, NoColor))]
    if no_color:
        kept.append(_PLAIN if ansi else _GREYS)
    return kept
