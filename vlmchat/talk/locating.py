"""Finding pictures in a folder by what they show, while the chat goes on.

The same ranking as ``vlmchat find`` (`vlmchat.retrieve.ranking`), by the model that answers now.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vlmchat.errors import UsageError
from vlmchat.talk.desktop.pasted import expand, first_word
from vlmchat.talk.longer import LongWork, StoppedError, spoken_to
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.client.protocol import ModelInfo
    from vlmchat.retrieve.ranking import Found, Ranking, Tell
    from vlmchat.talk.front import Front

EXAMPLE = "/locate ~/Pictures a red bicycle"


@dataclass(frozen=True, slots=True)
class Wish:
    """What is looked for.

    Attributes:
        folder: whose pictures and videos are ranked, and those of the folders in it.
        sentence: that they are to fit.
    """

    folder: Path
    sentence: str


def parse(argument: str) -> Wish:
    """Return what ``/locate FOLDER SENTENCE`` says; blocking.

    Raises:
        UsageError: there is no such folder, or no sentence.
    """
    word, rest = first_word(argument)
    folder, sentence = expand(word).absolute(), " ".join(rest.split())
    if not folder.is_dir():
        raise UsageError(f"“{visible_line(word)}” is no folder. It goes so: {EXAMPLE}.")
    if not sentence:
        raise UsageError(f"Say what the pictures are to show, too: {EXAMPLE}.")
    return Wish(folder, sentence)


class Locating(LongWork):
    """Ranks the pictures of one folder at a time for a front.

    Args:
        front: whose engine ranks them.

    Attributes:
        wish: what is looked for, or was.
        done: pictures and videos that were looked at.
        total: all of them; 0 while the folder is being read.
    """

    def __init__(self, front: "Front") -> None:
        super().__init__(front)
        self.wish: Wish | None = None
        self._ranking: Ranking | None = None
        self.done = 0
        self.total = 0

    @property
    def label(self) -> str:
        """How far it is, for the status bar; empty while nothing is looked for."""
        return f"locate {self.done}/{self.total}" if self.active else ""

    @property
    def found(self) -> "Sequence[Found]":
        """What was looked at, the best first; more while it is under way."""
        return self._ranking.found if self._ranking is not None else ()

    @property
    def skipped(self) -> Sequence[tuple[Path, str]]:
        """What could not be looked at, and why."""
        return self._ranking.skipped if self._ranking is not None else ()

    def start(self, wish: Wish) -> None:
        """Begin.

        Raises:
            UsageError: something is being looked for already.
        """
        if self.active:
            raise UsageError(f"{self.title} is being looked for: /locate stop ends that.")
        self.wish, self._ranking = wish, None
        self.done, self.total = 0, 0
        self._begin(self._run(wish))

    @property
    def title(self) -> str:
        """What is looked for, or was, safe to show; empty for nothing."""
        return f"“{visible_line(self.wish.sentence)}”" if self.wish is not None else ""

    def line(self) -> str:
        """Return how it stands, as a sentence."""
        if self.wish is None:
            return f"Nothing was looked for yet: {EXAMPLE}."
        where = visible_line(str(self.wish.folder))
        if not self.done:
            read = "is being read" if self.active else "was left before anything was looked at"
            return self.failure or f"{where} {read}."
        some = f"{self.done:,} of {self.total:,}" if self.done < self.total else f"{self.total:,}"
        left = f", {len(self.skipped):,} of them not readable" if self.skipped else ""
        stops = ", it stops now" if self._stopping and self.active else ""
        return f"{self.title}: {some} files, the best first{left}{stops}. {where}"

    # The work ---------------------------------------------------------------------------------

    async def _run(self, wish: Wish) -> None:
        from vlmchat.retrieve.gathering import media_in
        from vlmchat.retrieve.ranking import Asker, Ranking, pictures_for

        model = await self._ready()
        paths = await asyncio.to_thread(media_in, wish.folder, recursive=True)
        self.total = len(paths)
        self._tell()
        session = self._front.session
        asker = Asker(session.engine.client, spoken_to(session), videos=model.video)
        self._ranking = ranking = Ranking()
        with contextlib.suppress(StoppedError):
            await pictures_for(asker, wish.sentence, paths, self._step(model), ranking)
        if ranking.found:
            best = ranking.found[0].what
            assert isinstance(best, Path)
            self._front.notice(
                f"{self.title}: the best of {ranking.seen:,} is {visible_line(best.name)}. "
                "/locate shows them all."
            )
        elif ranking.skipped:
            path, why = ranking.skipped[0]
            self._front.notice(f"{visible_line(path.name)}: {why}", "error")

    def _step(self, model: "ModelInfo") -> "Tell":
        """Return what is told how far it is, and ends it where it has to end."""

        def step(done: int, total: int) -> None:
            self.done = done
            self._tell()
            if self._stopping and done < total:
                raise StoppedError
            self._check_still(model, "the search ends here")

        return step
