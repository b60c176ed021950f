r"""Text from outside made safe to show.

Model output, file names and user text may hold escape sequences, bidirectional overrides and other
characters that a terminal obeys. They are shown as visible signs instead; the stored text is never
changed.
"""

import re

_PICTURES = {code: chr(0x2400 + code) for code in range(0x20)} | {0x7F: "␡"}
# Embeddings, overrides, isolates and marks that reorder what a person reads (UAX #9).
_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_UNSAFE = re.compile(rf"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f{_BIDI}\ufeff\ufff9-\ufffb\ud800-\udfff]")
_BREAKS = re.compile("\r\n|[\r\f\u0085\u2028\u2029]")


def _sign(match: re.Match[str]) -> str:
    char = match.group()
    return _PICTURES.get(ord(char), f"⟨U+{ord(char):04X}⟩")


def visible(text: str) -> str:
    r"""Return `text` with every line break as ``\n`` and control characters as visible signs.

    Tabs and line feeds stay. C0 controls become control pictures (``␛``), the rest ``⟨U+202E⟩``.
    """
    return _UNSAFE.sub(_sign, _BREAKS.sub("\n", text))


def visible_line(text: str) -> str:
    """Return `text` for one line: as `visible`, with tabs and line breaks as signs too."""
    return visible(text).replace("\n", "␊").replace("\t", "␉")


def human_bytes(size: int) -> str:
    """Return `size` in bytes as a short decimal figure (``1.4 MB``), as file managers do."""
    value, units = float(size), ["B", "kB", "MB", "GB", "TB"]
    while value >= 999.5 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.0f} {units[0]}" if units[0] == "B" else f"{value:.3g} {units[0]}"
