"""A Markdown text cut into parts that can be parsed and drawn one by one.

Cut only between top-level blocks, and with the link definitions of the whole text known to each
part, the parts together are what the whole would be: they can be drawn, streamed and scrolled at a
cost that does not grow with the length of the text.
"""

from collections.abc import Mapping, MutableMapping
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

# Characters: texts shorter than this stay whole, and parts are not cut smaller than that.
WHOLE = 1_600
PART = 800


class Parser(MarkdownIt):
    """Textual's Markdown dialect, with link definitions from elsewhere in the text.

    Args:
        references: as ``env["references"]`` of a parse.
    """

    def __init__(self, references: Mapping[str, Any]) -> None:
        super().__init__("gfm-like")
        self._references = references

    def parse(self, src: str, env: MutableMapping[str, Any] | None = None) -> list[Token]:
        """Return the tokens of `src`."""
        known = {"references": dict(self._references)} if env is None else env
        return super().parse(src, known)


def starts(tokens: list[Token]) -> list[int]:
    """Return the line at which each top-level block begins."""
    return [token.map[0] for token in tokens if token.level == 0 and token.map is not None]


def split(text: str) -> tuple[list[str], dict[str, Any]]:
    r"""Return the parts of a finished text, and its link definitions.

    The parts joined are the text. Line breaks are ``\n`` only.
    """
    if len(text) < WHOLE:
        return [text], {}
    env: dict[str, Any] = {}
    tokens = MarkdownIt("gfm-like").parse(text, env)
    lines = text.split("\n")
    parts: list[str] = []
    begin = 0
    length = 0
    cuts = sorted(set(starts(tokens)))
    for cut, following in zip(cuts, [*cuts[1:], len(lines)], strict=True):
        size = sum(len(line) + 1 for line in lines[cut:following])
        if length >= PART and cut > begin:
            parts.append("\n".join(lines[begin:cut]) + "\n")
            begin, length = cut, 0
        length += size
    parts.append("\n".join(lines[begin:]))
    return parts, env.get("references", {})


def cut_of(text: str) -> int:
    """Return where a growing text can be cut, in characters; 0 while it cannot.

    The last block may still change with what comes, so the cut lies before it.
    """
    found = starts(MarkdownIt("gfm-like").parse(text))
    if len(found) < 2:
        return 0
    lines = text.split("\n")
    return sum(len(line) + 1 for line in lines[: found[-1]])
