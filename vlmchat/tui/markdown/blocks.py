"""From Markdown to blocks.

The dialect is that of Textual's own ``Markdown`` widget (GitHub's, with links found in plain
text). That widget makes four widgets of a list's item, each of which costs more than a
millisecond to place; here a whole answer is rows of one widget. Where that widget drops text it
knows no place for (HTML), it is shown as it was written.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from markdown_it import MarkdownIt
from markdown_it.token import Token
from textual.content import Content

from vlmchat.tui.markdown.code import highlighted
from vlmchat.tui.markdown.inline import inline
from vlmchat.tui.markdown.rows import Block, Lines, Margin, Rule
from vlmchat.tui.markdown.tables import Align, Table

_BULLETS = ("• ", "▪ ", "‣ ", "◦ ")
_QUOTE = "▌ "
_CLOSING = ("bullet_list_close", "ordered_list_close", "list_item_close", "blockquote_close")


def parser() -> MarkdownIt:
    """Return a parser of the dialect."""
    return MarkdownIt("gfm-like")


@dataclass(slots=True)
class _Open:
    """A list, an item of one or a quotation that is open.

    Attributes:
        kind: which of them.
        margin: what it puts to the left of what is in it.
        markers: of a list, the marks of its items, in order.
        tight: of a list, whether its items follow each other without a blank row.
        used: something in it has been made.
    """

    kind: Literal["list", "item", "quote"]
    margin: Margin = field(default_factory=Margin)
    markers: Iterator[str] = field(default_factory=lambda: iter(()))
    tight: bool = False
    used: bool = False


@dataclass
class _Maker:
    """Makes blocks of a document's tokens."""

    blocks: list[Block] = field(default_factory=list)
    _open: list[_Open] = field(default_factory=list)
    _bare: bool = True

    def make(self, tokens: Sequence[Token], first: bool) -> list[Block]:
        """Return the blocks; `first` says that nothing stands before them."""
        self._bare = first
        index = 0
        while index < len(tokens):
            index = self._token(tokens, index)
        return self.blocks

    def _token(self, tokens: Sequence[Token], index: int) -> int:
        """Make what begins at `index`, and return where the next thing begins."""
        token = tokens[index]
        kind = token.type
        if kind in ("paragraph_open", "heading_open"):
            self._text(inline(tokens[index + 1]), kind == "heading_open")
            return index + 3
        if kind == "table_open":
            end = _end(tokens, index)
            self._table(tokens[index:end])
            return end
        if kind in ("bullet_list_open", "ordered_list_open"):
            self._open.append(_list(tokens, index, sum(o.kind == "list" for o in self._open)))
        elif kind == "list_item_open":
            self._item(tokens[index + 1].type == "list_item_close")
        elif kind == "blockquote_open":
            bar = Content(_QUOTE).stylize(".quote")
            self._open.append(_Open("quote", Margin(bar, bar)))
        elif kind in _CLOSING:
            self._open.pop()
        elif kind in ("fence", "code_block"):
            self._code(token)
        elif kind == "hr":
            self._add(Rule)
        elif token.content.strip():  # HTML, and whatever a later parser knows
            text = Content(token.content.rstrip("\n"))
            self._add(lambda margin: Lines(text.split("\n"), margin))
        return index + 1

    def _text(self, text: Content, heading: bool) -> None:
        if heading:
            text = text.stylize_before(".heading")
        self._add(lambda margin: Lines(text.split("\n", allow_blank=True), margin))

    def _code(self, token: Token) -> None:
        code = highlighted(token.content.removesuffix("\n"), token.info.strip().split(" ")[0])
        pad, blank = Content("  "), Content()
        lines = [blank, *code.split("\n", allow_blank=True), blank]
        self._add(lambda margin: Lines(lines, margin.then(Margin(pad, pad)), "fence"))

    def _table(self, tokens: Sequence[Token]) -> None:
        rows: list[list[Content]] = []
        aligned: list[Align] = []
        for index, token in enumerate(tokens):
            if token.type == "tr_open":
                rows.append([])
            elif token.type in ("th_open", "td_open"):
                rows[-1].append(_one_line(inline(tokens[index + 1])))
            if token.type == "th_open":
                aligned.append(_align(str(token.attrs.get("style", ""))))
        head, *body = rows
        self._add(lambda margin: Table(head, body, aligned, margin))

    def _item(self, empty: bool) -> None:
        mark = Content(next(self._open[-1].markers))
        blank = Content(" " * mark.cell_length)
        self._open.append(_Open("item", Margin(mark.stylize(".marker"), blank)))
        if empty:
            self._text(Content(), False)

    def _add(self, make: Callable[[Margin], Block]) -> None:
        """Add a block with the blank row before it, if one belongs there."""
        if not self._bare and not self._closely():
            margin = _margin([each for each in self._open if each.used])
            self.blocks.append(Lines([Content()], margin))
        self._bare = False
        self.blocks.append(make(_margin(self._open)))
        for each in self._open:
            each.used = True

    def _closely(self) -> bool:
        """Say whether what comes next follows without a blank row."""
        inner = next((o for o in reversed(self._open) if o.used and o.kind != "item"), None)
        return inner is not None and inner.tight


def _margin(opened: Sequence[_Open]) -> Margin:
    whole = Margin()
    for each in opened:
        whole = whole.then(each.margin.further if each.used else each.margin)
    return whole


def _end(tokens: Sequence[Token], index: int) -> int:
    """Return the index after the token that closes the one at `index`."""
    depth = 0
    for end in range(index, len(tokens)):
        depth += tokens[end].nesting
        if not depth:
            return end + 1
    return len(tokens)


def _list(tokens: Sequence[Token], index: int, depth: int) -> _Open:
    opening = tokens[index]
    inside = tokens[index : _end(tokens, index)]
    level = opening.level
    items = sum(t.type == "list_item_open" and t.level == level + 1 for t in inside)
    texts = [t for t in inside if t.type == "paragraph_open" and t.level == level + 2]
    tight = all(t.hidden for t in texts)
    if opening.type == "bullet_list_open":
        marks = iter([_BULLETS[depth % len(_BULLETS)]] * items)
        return _Open("list", markers=marks, tight=tight)
    start = int(opening.attrs.get("start", 1))
    width = len(str(start + items - 1))
    numbers = (f"{number:>{width}}. " for number in range(start, start + items))
    return _Open("list", markers=numbers, tight=tight)


def _align(style: str) -> Align:
    if "right" in style:
        return "right"
    return "center" if "center" in style else "left"


def _one_line(text: Content) -> Content:
    return Content(" ").join(text.split("\n")) if "\n" in text.plain else text


def blocks_of(tokens: Sequence[Token], first: bool = True) -> list[Block]:
    """Return the blocks of a document, or of its end.

    Args:
        tokens: what the parser made of it.
        first: nothing stands before them.
    """
    return _Maker().make(tokens, first)
