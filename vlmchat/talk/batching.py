"""The same question about many pictures, while the chat goes on.

The same rows as ``vlmchat batch`` writes (`vlmchat.batch`), into a file of its own for each folder
and question: asked again, it goes on where it was.
"""

import asyncio
from collections import deque
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmchat.errors import UsageError
from vlmchat.talk.desktop.pasted import expand, first_word
from vlmchat.talk.longer import LongWork, StoppedError, own_file, spoken_to
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.batch.journal import Journal
    from vlmchat.batch.rows import Row
    from vlmchat.batch.running import How
    from vlmchat.client.protocol import ModelInfo
    from vlmchat.talk.front import Front

EXAMPLE = "/batch ~/Pictures Describe the picture"
_IN_FLIGHT = 8
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked.

    Attributes:
        rows: one for each picture or video.
        title: the folder, pattern or file that they are of, safe to show.
    """

    rows: "tuple[Row, ...]"
    title: str


def parse(argument: str) -> Wish:
    """Return what ``/batch PICTURES QUESTION`` says; blocking.

    Raises:
        UsageError: nothing is named, or there is no question.
    """
    from vlmchat.batch.rows import read_rows

    word, rest = first_word(argument)
    named, question = str(expand(word).absolute()), rest.strip()
    if not question and not named.lower().endswith(".jsonl"):
        raise UsageError(f"Say what is asked of each picture, too: {EXAMPLE}.")
    return Wish(tuple(read_rows([named], question or None)), visible_line(Path(named).name))


class Batching(LongWork):
    """Asks about the pictures of one wish at a time for a front.

    Args:
        front: whose engine answers, with the parameters that it has when it begins.

    Attributes:
        wish: what is asked, or was.
        path: the file of answers; ``None`` before there is one.
        done: rows that have their answers.
        errors: how many of these have an error instead.
    """

    def __init__(self, front: "Front") -> None:
        super().__init__(front)
        self.wish: Wish | None = None
        self.path: Path | None = None
        self.done = 0
        self.errors = 0
        self._last: deque[dict[str, Any]] = deque(maxlen=_SHOWN)

    @property
    def total(self) -> int:
        """All rows."""
        return len(self.wish.rows) if self.wish is not None else 0

    @property
    def label(self) -> str:
        """How far it is, for the status bar; empty while nothing is asked."""
        return f"batch {self.done}/{self.total}" if self.active else ""

    def start(self, wish: Wish) -> None:
        """Begin, or go on where the same wish was left.

        Raises:
            UsageError: something is being asked already.
        """
        if self.active:
            assert self.wish is not None
            raise UsageError(f"{self.wish.title} is being asked about: /batch stop ends that.")
        self.wish, self.path = wish, None
        self.done = self.errors = 0
        self._last.clear()
        self._begin(self._run(wish))

    def lines(self) -> list[str]:
        """Return how it stands, and the last answers, as lines that are safe to show."""
        if self.wish is None:
            return [f"Nothing was asked yet: {EXAMPLE}."]
        found = [f"{self.wish.title}: {self.done:,} of {self.total:,} are answered{self._broken}."]
        if self.failure:
            found.append(self.failure)
        elif self._stopping and self.active:
            found.append("It stops now.")
        if self.path is not None:
            found.append(f"The answers are in {visible_line(str(self.path))}.")
        for row in self._last:
            said = row["error"] or row["answer"] or ""
            found += ["", visible_line(Path(row["source"]).name), f"  {visible_line(said)}"]
        return found

    @property
    def _broken(self) -> str:
        return f", {self.errors:,} of them with an error" if self.errors else ""

    # The work ---------------------------------------------------------------------------------

    async def _run(self, wish: Wish) -> None:
        from vlmchat.batch.journal import Journal, digest
        from vlmchat.batch.running import identity

        model, how = await self._ready(), self._how()
        run = digest(how.decisive() | {"model": identity(model)})
        asked = (text for row in wish.rows for text in (row.source, row.prompt))
        path = await asyncio.to_thread(own_file, "batches", wish.title, run, *asked)
        self.path = path
        journal = await asyncio.to_thread(Journal, path, wish.rows)
        try:
            self.done, self.errors = journal.done, journal.errors
            self._tell()
            if journal.done < len(wish.rows):
                await self._asked(wish, journal, how, model, run)
            else:
                self._said("All of it was answered before")
        finally:
            await asyncio.to_thread(journal.close)

    async def _asked(
        self, wish: Wish, journal: "Journal", how: "How", model: "ModelInfo", run: str
    ) -> None:
        from vlmchat.batch.running import Asker

        session = self._front.session
        begun = f"going on behind {journal.done:,}" if journal.done else "/batch shows the answers"
        self._front.notice(
            f"Asking about {self.total:,} in {wish.title}: {begun}, /batch stop ends it."
        )
        asker = Asker(session.engine.client, model, spoken_to(session), how)
        try:
            async with aclosing(asker.answers(wish.rows[journal.done :], _IN_FLIGHT)) as answers:
                async for row in answers:
                    self._check_still(model, "the same again, with the one before, goes on")
                    written = {**row, "model": model.id, "run": run}
                    await asyncio.to_thread(journal.append, written)
                    self._note(row, journal)
        except StoppedError:
            self._said(f"Stopped behind {self.done:,} of {self.total:,}; the same again goes on")
        else:
            self._said(f"All {self.total:,} in {wish.title} are answered{self._broken}")

    def _note(self, row: dict[str, Any], journal: "Journal") -> None:
        self.done, self.errors = journal.done, journal.errors
        self._last.append(row)
        self._tell()
        if self._stopping and self.done < self.total:
            raise StoppedError

    def _said(self, what: str) -> None:
        self._front.notice(f"{what}: {visible_line(str(self.path))}.")

    def _how(self) -> "How":
        from vlmchat.batch.running import How
        from vlmchat.media.choosing import wishes

        session = self._front.session
        return How(
            session.sampling,
            session.system.strip(),
            session.detail,
            wishes(None, None, None, None, None, None),
            self._front.attachments.room(),
            patient=session.engine.kind == "remote",
        )
