"""What a log is worth, before anything is trained: counts, losses and surprises."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TypeAlias

from vlmchat.chat.messages import Message
from vlmchat.errors import UsageError
from vlmchat.finetune.examples import Dropped, Example, Source
from vlmchat.finetune.rendering import Renderer, Span, TokenCount

# Counts the tokens of messages; the places say which turns are trained on.
CountTokens: TypeAlias = Callable[[Sequence[Message], Iterable[int]], TokenCount]
_PERCENTILES = (0, 5, 25, 50, 75, 95, 100)
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A row that says what another one has said: where it is, and where the `first` one is."""

    source: Source
    first: Source


@dataclass(frozen=True, slots=True)
class Oversize:
    """A row that does not fit into the context: `tokens` are of its longest sequence."""

    source: Source
    tokens: int


@dataclass(frozen=True, slots=True)
class Measured:
    """An example that can be trained on, and the tokens of all its sequences together.

    Attributes:
        longest: tokens of its longest sequence.
    """

    example: Example
    count: TokenCount
    longest: int


@dataclass(frozen=True, slots=True)
class DataReport:
    """What was found in logs.

    Attributes:
        usable: examples that are trained on: whole, once each, and short enough.
        dropped: rows that cannot be used, each with its reason.
        duplicates: rows that were there before.
        oversize: rows longer than the context; they are left out, never cut.
        forms: how many examples came in each format.
        context: tokens that a sequence may have.
    """

    usable: tuple[Measured, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    duplicates: tuple[Duplicate, ...] = ()
    oversize: tuple[Oversize, ...] = ()
    forms: Mapping[str, int] = field(default_factory=dict)
    context: int = 0

    @property
    def examples(self) -> tuple[Example, ...]:
        """The usable examples."""
        return tuple(item.example for item in self.usable)

    @property
    def rows(self) -> int:
        """All that was found; it is the sum of the usable and of all that is left out."""
        left_out = len(self.dropped) + len(self.duplicates) + len(self.oversize)
        return len(self.usable) + left_out

    @property
    def kinds(self) -> dict[str, int]:
        """Usable examples by kind."""
        return dict(Counter(item.example.kind for item in self.usable))

    @property
    def groups(self) -> int:
        """Conversations that the usable examples come from."""
        return len({item.example.group for item in self.usable})

    @property
    def media(self) -> int:
        """Distinct pictures and videos of the usable examples."""
        return len({medium.sha256 for item in self.usable for medium in item.example.media})

    @property
    def missing(self) -> tuple[Path, ...]:
        """Pictures and videos that rows name and that do not exist, each once."""
        found = (item.path for item in self.dropped if item.why == "missing")
        return tuple(dict.fromkeys(path for path in found if path is not None))

    @property
    def outside(self) -> tuple[Path, ...]:
        """Files outside the log's folder that were not read, each once."""
        found = (item.path for item in self.dropped if item.why == "outside")
        return tuple(dict.fromkeys(path for path in found if path is not None))

    @property
    def tokens(self) -> TokenCount:
        """Tokens of all sequences of the usable examples."""
        total = TokenCount(0, 0, 0)
        for item in self.usable:
            total = total + item.count
        return total

    @property
    def trained_share(self) -> float:
        """The part of all tokens that the loss is taken on, from 0 to 1."""
        tokens = self.tokens
        return tokens.trained / tokens.total if tokens.total else 0.0

    @property
    def percentiles(self) -> dict[int, int]:
        """Tokens of the longest sequence of a row: percentile → tokens (nearest rank)."""
        lengths = sorted(item.longest for item in self.usable)
        if not lengths:
            return {}
        return {p: lengths[round(p / 100 * (len(lengths) - 1))] for p in _PERCENTILES}

    @property
    def reasons(self) -> dict[str, int]:
        """How often each kind of reason dropped a row, the most frequent first.

        Names in quotes and numbers are left out, so that rows that fail alike count together.
        """
        found = Counter(_alike(item.reason) for item in self.dropped)
        return dict(found.most_common())

    def sentences(self) -> list[str]:
        """Return the report in sentences: for a pipe, and for a screen reader."""
        tokens = self.tokens
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.kinds.items()))
        found = [
            f"{len(self.usable)} of {self.rows} rows are usable{f' ({kinds})' if kinds else ''}, "
            f"from {self.groups} conversations, with {self.media} pictures or videos."
        ]
        if self.usable:
            middle = self.percentiles
            found.append(
                f"A row has {middle[50]:,} tokens in the middle and {middle[100]:,} at most; "
                f"{self.trained_share:.1%} of {tokens.total:,} tokens are trained on, and "
                f"{tokens.image:,} are pictures."
            )
        if self.missing:
            found.append(f"{len(self.missing)} pictures are missing, {self.missing[0]} for one.")
        if self.duplicates:
            found.append(f"{len(self.duplicates)} rows are duplicates and are used once.")
        if self.oversize:
            longest = max(self.oversize, key=lambda item: item.tokens)
            found.append(
                f"{len(self.oversize)} rows do not fit into {self.context:,} tokens and are left "
                f"out, the longest with {longest.tokens:,} ({longest.source})."
            )
        found += [str(item) for item in self.dropped[:_SHOWN]]
        if len(self.dropped) > _SHOWN:
            found.append(f"{len(self.dropped) - _SHOWN} more rows cannot be used.")
        return found


def examine(found: Iterable[Example | Dropped], count: CountTokens, context: int) -> DataReport:
    """Measure what a reader found; blocking, and as slow as the reader and the counting are.

    Args:
        found: of `vlmchat.finetune.reading.ExampleReader`, one or several files after another.
        count: counts the tokens of a sequence; `Renderer.count` of the model that is trained.
        context: tokens that a sequence may have.
    """
    usable: list[Measured] = []
    dropped: list[Dropped] = []
    duplicates: list[Duplicate] = []
    oversize: list[Oversize] = []
    seen: dict[str, Source] = {}
    forms: Counter[str] = Counter()
    for item in found:
        if isinstance(item, Dropped):
            dropped.append(item)
            continue
        forms[item.source.form] += 1
        digest = item.digest
        if digest in seen:
            duplicates.append(Duplicate(item.source, seen[digest]))
            continue
        seen[digest] = item.source
        try:
            counts = [count(messages, trained) for messages, trained in item.branches()]
        except UsageError as error:
            source = item.source
            dropped.append(Dropped(source.file, source.line, str(error), source.item))
            continue
        longest = max(one.total for one in counts)
        if longest > context:
            oversize.append(Oversize(item.source, longest))
        elif not all(one.trained for one in counts):
            source = item.source
            reason = "its answer has no token to train on."
            dropped.append(Dropped(source.file, source.line, reason, source.item))
        else:
            total = TokenCount(0, 0, 0)
            for one in counts:
                total = total + one
            usable.append(Measured(item, total, longest))
    return DataReport(
        tuple(usable), tuple(dropped), tuple(duplicates), tuple(oversize), dict(forms), context
    )


def preview(example: Example, renderer: Renderer) -> list[list[Span]]:
    """Return an example as the model gets it: a list of runs for each of its sequences.

    Each tile of a picture is folded into ``⟨64 image tokens⟩``. The texts are whatever the log
    holds: show them through `vlmchat.text.visible`.
    """
    return [_folded(renderer.spans(messages, trained)) for messages, trained in example.branches()]


def _folded(spans: Sequence[Span]) -> list[Span]:
    """Join neighbours of one kind; nothing is left out."""
    found: list[Span] = []
    for trained, run in groupby(spans, key=lambda span: span.trained):
        found.append(Span("".join(span.text for span in run), trained))
    return found


def _alike(reason: str) -> str:
    import re

    return re.sub(r"\d+", "N", re.sub(r"“[^”]*”", "“…”", reason))
