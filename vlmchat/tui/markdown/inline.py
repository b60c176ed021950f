"""The inside of a block: emphasis, code, links, and whatever else stands in a line."""

import re
from collections.abc import Sequence

from markdown_it.token import Token
from textual.content import Content, Span
from textual.style import Style

from vlmchat.text import visible

_STYLES = {"em_open": ".em", "strong_open": ".strong", "s_open": ".s"}
_BLANKS = re.compile(r"\s+")


def link(href: str) -> Style:
    """Return the style of what leads to `href` by a click."""
    return Style.from_meta({"@click": f"link({href!r})"})


def inline(token: Token) -> Content:
    r"""Return an ``inline`` token's text with its styles; ``\n`` only where a break is forced."""
    return _Inline().read(token.children or [])


class _Inline:
    def __init__(self) -> None:
        self._texts: list[str] = []
        self._spans: list[Span] = []
        self._open: list[tuple[tuple[str | Style, ...], int]] = []
        self._at = 0

    def read(self, tokens: Sequence[Token]) -> Content:
        """Return what the tokens say."""
        for token in tokens:
            self._token(token)
        while self._open:
            self._close()
        return Content("".join(self._texts), spans=self._spans)

    def _token(self, token: Token) -> None:
        kind = token.type
        if kind == "text":
            # Entities were decoded, and may stand for what a terminal obeys.
            self._add(visible(_BLANKS.sub(" ", token.content)))
        elif kind == "code_inline":
            self._styled(token.content, ".code_inline")
        elif kind == "hardbreak":
            self._add("\n")
        elif kind == "softbreak":
            self._add(" ")
        elif kind == "link_open":
            self._begin(".link", link(str(token.attrs.get("href", ""))))
        elif kind == "image":
            # Nothing is fetched: what it would show is named.
            said = "".join(child.content for child in token.children or [])
            self._styled(f"🖼 {said}", ".link", link(str(token.attrs.get("src", ""))))
        elif kind in _STYLES:
            self._begin(_STYLES[kind])
        elif kind.endswith("_close"):
            self._close()
        else:  # HTML, and whatever a later parser knows: as it was written
            self._add(token.content)

    def _add(self, text: str) -> None:
        self._texts.append(text)
        self._at += len(text)

    def _styled(self, text: str, *styles: str | Style) -> None:
        self._begin(*styles)
        self._add(text)
        self._close()

    def _begin(self, *styles: str | Style) -> None:
        self._open.append((styles, self._at))

    def _close(self) -> None:
        if self._open:
            styles, begin = self._open.pop()
            if begin < self._at:
                self._spans += [Span(begin, self._at, style) for style in styles]
