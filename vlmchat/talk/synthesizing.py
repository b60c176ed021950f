"""Questions and answers about a folder of pictures, made by the model while the chat goes on.

The same rows as ``vlmchat synth`` makes (`vlmchat.synth`), into a file of its own for each folder:
asked again, it goes on where it was. Fine-tuning reads them as they are.
"""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vlmchat.errors import UsageError, VlmchatError
from vlmchat.talk.desktop.pasted import expand, first_word
from vlmchat.talk.longer import LongWork, StoppedError, own_file, spoken_to
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from vlmchat.client.protocol import ModelInfo
    from vlmchat.synth.asking import EngineAsker
    from vlmchat.synth.ledger import Ledger
    from vlmchat.synth.recipe import Kind
    from vlmchat.synth.running import Progress, Run
    from vlmchat.synth.summary import Summary
    from vlmchat.talk.front import Front

EXAMPLE = "/synth ~/Pictures caption,qa"
_IN_FLIGHT = 4


@dataclass(frozen=True, slots=True)
class Wish:
    """What is made.

    Attributes:
        folder: of the pictures.
        pictures: in it and the folders in it.
        kinds: of rows.
    """

    folder: Path
    pictures: tuple[Path, ...]
    kinds: "tuple[Kind, ...]"


def parse(argument: str) -> Wish:
    """Return what ``/synth FOLDER [KINDS]`` says; blocking.

    Raises:
        UsageError: there are no pictures, or a kind is unknown.
    """
    from vlmchat.synth.recipe import parse_kinds
    from vlmchat.synth.running import pictures_in

    word, rest = first_word(argument)
    folder = expand(word).absolute()
    kinds = parse_kinds(rest.strip() or "caption,qa")
    return Wish(folder, tuple(pictures_in(folder)), tuple(kinds))


class Synthesizing(LongWork):
    """Makes one set at a time for a front.

    Args:
        front: whose engine makes it.

    Attributes:
        wish: what is made, or was.
        path: the file of rows; ``None`` before there is one.
        done: pieces of work that are behind: a picture and a kind.
        total: all of them; 0 before it is known.
        summary: what came of the last one.
    """

    def __init__(self, front: "Front") -> None:
        super().__init__(front)
        self.wish: Wish | None = None
        self.path: Path | None = None
        self.done = self.total = self._kept = self._dropped = 0
        self.summary: Summary | None = None

    @property
    def label(self) -> str:
        """How far it is, for the status bar; empty while nothing is made."""
        return f"synth {self.done}/{self.total}" if self.active else ""

    def start(self, wish: Wish) -> None:
        """Begin, or go on where the same wish was left.

        Raises:
            UsageError: something is being made already.
        """
        if self.active:
            raise UsageError("A set is being made already: /synth stop ends that.")
        self.wish, self.path, self.summary = wish, None, None
        self.done = self.total = self._kept = self._dropped = 0
        self._begin(self._run(wish))

    def lines(self) -> list[str]:
        """Return how it stands, or what came of it, as lines that are safe to show."""
        if self.wish is None:
            return [f"Nothing was made yet: {EXAMPLE}."]
        found = [f"{visible_line(self.wish.folder.name)}: {', '.join(self.wish.kinds)}"]
        if self.failure:
            found.append(self.failure)
        if self.summary is not None:
            found += ["", *self.summary.lines()]
            if self.summary.finished and self.summary.kept:
                found += ["", f"/finetune '{visible_line(str(self.path))}' learns from it."]
        elif self.total:
            found.append(
                f"{self.done:,} of {self.total:,} pieces of work are done: {self._kept:,} rows "
                f"kept, {self._dropped:,} left out."
            )
            if self._stopping and self.active:
                found.append("It stops now.")
        return found

    # The work ---------------------------------------------------------------------------------

    async def _run(self, wish: Wish) -> None:
        from vlmchat.batch.running import BACKGROUND
        from vlmchat.synth import texts
        from vlmchat.synth.asking import EngineAsker
        from vlmchat.synth.ledger import Ledger
        from vlmchat.synth.making import Maker
        from vlmchat.synth.recipe import Recipe
        from vlmchat.synth.running import Run

        model, session = await self._ready(), self._front.session
        recipe, asked_with = Recipe(detail=session.detail), texts.load(None)
        client, name = session.engine.client, spoken_to(session)
        sampling = replace(session.sampling, priority=BACKGROUND)
        asker = EngineAsker(client, model, name, sampling, recipe.detail)
        decisive = {**recipe.as_dict(), "prompts": asked_with.digest, **asker.identity}
        asked = (repr(decisive), str(wish.folder), *wish.kinds)
        self.path = path = await asyncio.to_thread(own_file, "sets", wish.folder.name, *asked)
        ledger = await asyncio.to_thread(Ledger, path, decisive)
        common = {"seed": recipe.seed, "prompts": asked_with.digest}
        with ledger:
            maker = Maker(asker, recipe, asked_with)
            run = Run(wish.pictures, wish.kinds, maker, ledger, common, self._step(model))
            self._front.notice(
                f"Asking about {len(wish.pictures):,} pictures: /synth shows how it stands, "
                "/synth stop ends it."
            )
            await self._made(run, ledger, asker)

    async def _made(self, run: "Run", ledger: "Ledger", asker: "EngineAsker") -> None:
        from vlmchat.synth.summary import Summary

        failed: VlmchatError | None = None
        try:
            await run.run(_IN_FLIGHT)
        except StoppedError:
            pass
        except VlmchatError as error:
            failed = error
        progress = run.progress
        notes = ("The engine does not say how likely answers are: none was left out for that.",)
        self.summary = Summary.of(
            ledger,
            unreadable=tuple(progress.unreadable),
            same=tuple(progress.same),
            notes=notes if asker.scores is False else (),
            finished=progress.gone == progress.total,
        )
        if failed is not None:
            raise failed
        words = "is made" if self.summary.finished else "was stopped; the same again goes on"
        rows = f"{self.summary.kept:,} rows kept, {self.summary.left_out:,} left out"
        self._front.notice(f"The set {words}: {rows}. {visible_line(str(self.path))}")

    def _step(self, model: "ModelInfo") -> "Callable[[Progress], None]":
        """Return what is told how far it is, and ends it where it has to end."""

        def step(progress: "Progress") -> None:
            self.done, self.total = progress.gone, progress.total
            self._kept, self._dropped = progress.kept, progress.dropped
            self._tell()
            if self._stopping and self.done < self.total:
                raise StoppedError
            self._check_still(model, "the set ends here")

        return step
