"""A Markdown text that grows at the cost of what is new."""

from markdown_it.token import Token

from vlmchat.tui.markdown.blocks import blocks_of, parser
from vlmchat.tui.markdown.rows import Block


def starts(tokens: list[Token]) -> list[int]:
    """Return the line at which each top-level block begins."""
    return [token.map[0] for token in tokens if token.level == 0 and token.map is not None]


def whole(text: str) -> list[Block]:
    r"""Return the blocks of a finished text, whose line breaks are ``\n`` only."""
    return blocks_of(parser().parse(text))


class Growing:
    r"""The blocks of a text that is still being written; its line breaks are ``\n`` only.

    Only the last two top-level blocks can still change with what comes (a lone ``2`` after a list
    becomes an item of it), or nearly: a link's definition may come after its use. A finished text
    is therefore parsed whole once more.

    Attributes:
        blocks: what there is so far.
    """

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self._kept = 0  # blocks before the last two top-level ones
        self._open = ""  # the text of those
        self._parser = parser()

    def append(self, piece: str) -> None:
        """Add text."""
        self._open += piece
        tokens = self._parser.parse(self._open)
        kept = self.blocks[: self._kept]
        found = sorted(set(starts(tokens)))
        if len(found) > 2:
            line = found[-2]
            index = next(i for i, t in enumerate(tokens) if t.level == 0 and _from(t, line))
            kept += blocks_of(tokens[:index], not kept)
            tokens = tokens[index:]
            self._open = "\n".join(self._open.split("\n")[line:])
            self._kept = len(kept)
        self.blocks = kept + blocks_of(tokens, not kept)


def _from(token: Token, line: int) -> bool:
    return token.map is not None and token.map[0] == line
