"""A set about a folder of pictures, made from its first picture to its last."""

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from vlmchat.batch.flight import in_order
from vlmchat.chat.messages import Media
from vlmchat.errors import MediaError, UsageError, VlmchatError
from vlmchat.media.images import SUFFIXES, is_animated, load_media, read_bytes
from vlmchat.synth.ledger import Ledger
from vlmchat.synth.making import Maker
from vlmchat.synth.picking import Picker
from vlmchat.synth.recipe import Kind, Made
from vlmchat.synth.rows import path_in_row, row_of
from vlmchat.text import visible_line

T = TypeVar("T")
_REMEMBERED = 8  # pictures that are in memory, for the kinds that follow


@dataclass(frozen=True, slots=True)
class _Piece:
    """A picture and what is made of it: one piece of work.

    Attributes:
        place: of the picture among all.
        path: of the picture.
        kind: what is made.
    """

    place: int
    path: Path
    kind: Kind


@dataclass(frozen=True, slots=True)
class _Result:
    """What became of a piece of work.

    Attributes:
        piece: of work.
        sha256: of the picture, if it could be read.
        made: the rows; ``None`` where they are there already.
        unreadable: why the picture could not be read.
        error: what ends the run.
    """

    piece: _Piece
    sha256: str = ""
    made: Made | None = None
    unreadable: str = ""
    error: VlmchatError | None = None


@dataclass(slots=True)
class Progress:
    """How far a run is.

    Attributes:
        total: pieces of work.
        gone: of them, those that are behind.
        worked: of those, the ones that this run has done.
        kept: rows.
        dropped: rows left out.
        unreadable: one sentence for each picture that was passed over.
        same: pictures that are in the folder more than once.
    """

    total: int = 0
    gone: int = 0
    worked: int = 0
    kept: int = 0
    dropped: int = 0
    unreadable: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures in a folder and those below, by their names' endings, in order.

    Raises:
        UsageError: it is no folder, or there is none in it.
    """
    shown = visible_line(str(folder))
    if not folder.is_dir():
        raise UsageError(f"“{shown}” is no folder: name one with pictures in it.")
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )
    if not found:
        raise UsageError(f"There is no picture in “{shown}” ({', '.join(sorted(SUFFIXES))}).")
    return found


class Run:
    """Makes a set.

    Args:
        pictures: their files, in the order of the rows.
        kinds: what is made of each.
        maker: makes it.
        ledger: keeps it.
        made: what all rows have in common, of how they were made.
        tell: called after each piece of work.

    Attributes:
        progress: how far it is.
    """

    def __init__(
        self,
        pictures: Sequence[Path],
        kinds: Sequence[Kind],
        maker: Maker,
        ledger: Ledger,
        made: dict[str, Any],
        tell: Callable[[Progress], None] = lambda progress: None,
    ) -> None:
        self._pictures, self._kinds, self._maker, self._ledger = pictures, kinds, maker, ledger
        self._made = {"run": ledger.run, **made}
        self._tell = tell
        self._picker = Picker(maker.recipe.repeats)
        self._picker.know(ledger.rows())
        self._hashed: dict[int, asyncio.Task[str]] = {}
        self._loaded: dict[int, asyncio.Task[Media]] = {}
        self._first: dict[str, int] = {}  # the first place of each picture, by its hash
        self.progress = Progress(
            len(pictures) * len(kinds), kept=ledger.kept, dropped=ledger.dropped.total()
        )

    async def run(self, in_flight: int) -> Progress:
        """Make what is not there yet, that many pieces of work at a time.

        Raises:
            VlmchatError: the engine is gone, or the set cannot be written; what was made is kept.
        """
        async with aclosing(in_order(self._work, self._pieces(), in_flight)) as results:
            async for result in results:
                if result.error is not None:
                    raise result.error
                self._enter(result)
                self._tell(self.progress)
        return self.progress

    def _pieces(self) -> Iterable[_Piece]:
        for place, path in enumerate(self._pictures):
            for kind in self._kinds:
                yield _Piece(place, path, kind)

    async def _work(self, piece: _Piece) -> _Result:
        """Do a piece of work; whatever goes wrong is in the result."""
        try:
            # What is done need not be decoded to be known again.
            sha256 = await self._once(self._hashed, piece, _sha256)
            if _name(sha256, piece.kind) not in self._ledger.done:
                picture = await self._once(self._loaded, piece, _load)
                sha256 = picture.sha256  # another one if it had to be converted
        except MediaError as error:
            return _Result(piece, unreadable=str(error))
        # Of two equal pictures the first one counts, whichever is read sooner.
        first = self._first.setdefault(sha256, piece.place)
        self._first[sha256] = min(first, piece.place)
        if first < piece.place or _name(sha256, piece.kind) in self._ledger.done:
            return _Result(piece, sha256)
        try:
            return _Result(piece, sha256, await self._maker.make(picture, piece.kind))
        except VlmchatError as error:
            return _Result(piece, sha256, error=error)

    async def _once(
        self, found: "dict[int, asyncio.Task[T]]", piece: _Piece, read: Callable[[Path], T]
    ) -> T:
        """Return what is read of a picture, once for all its kinds."""
        if piece.place not in found:
            found[piece.place] = asyncio.create_task(asyncio.to_thread(read, piece.path))
            for old in sorted(found)[:-_REMEMBERED]:
                del found[old]
        return await asyncio.shield(found[piece.place])

    def _enter(self, result: _Result) -> None:
        progress, piece = self.progress, result.piece
        progress.gone += 1
        shown = visible_line(str(piece.path))
        if result.unreadable:
            if piece.kind == self._kinds[0]:
                progress.unreadable.append(result.unreadable)
            return
        sha256 = result.sha256
        if self._first[sha256] < piece.place:
            if piece.kind == self._kinds[0]:
                progress.same.append(shown)
            return
        if result.made is None:
            return
        progress.worked += 1
        path = path_in_row(piece.path, self._ledger.out)
        picked = self._picker.pick(sha256, result.made.candidates)
        rows = [row_of(candidate, path, sha256, self._made) for candidate in picked]
        kept = [row for row in rows if "why" not in row]
        left_out = [row for row in rows if "why" in row]
        self._ledger.add(_name(sha256, piece.kind), kept, left_out)
        progress.kept += len(kept)
        progress.dropped += len(left_out)


def _name(sha256: str, kind: Kind) -> str:
    return f"{sha256}/{kind}"


def _sha256(path: Path) -> str:
    return hashlib.sha256(read_bytes(path)).hexdigest()


def _load(path: Path) -> Media:
    media = load_media(path)
    if is_animated(media.data, path.name):
        raise MediaError(f"“{visible_line(path.name)}” moves: only still pictures are asked about.")
    return media


def outside(pictures: Iterator[Path] | Sequence[Path], out: Path) -> bool:
    """Return whether any picture lies outside the folder of the file `out`."""
    return any(Path(path_in_row(path, out)).is_absolute() for path in pictures)
