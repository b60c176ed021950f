"""All long work that goes on beside the chat."""

import asyncio
from typing import TYPE_CHECKING

from vlmchat.talk.batching import Batching
from vlmchat.talk.evaluating import Evaluating
from vlmchat.talk.locating import Locating
from vlmchat.talk.synthesizing import Synthesizing

if TYPE_CHECKING:
    from vlmchat.talk.front import Front


class Beside:
    """What a front does besides answering; one of each kind at a time.

    Args:
        front: whose engine does it.

    Attributes:
        evaluating: puts the questions of a set to the model.
        locating: ranks the pictures of a folder for a sentence.
        batching: asks the same about many pictures.
        synthesizing: makes questions and answers about a folder of pictures.
    """

    def __init__(self, front: "Front") -> None:
        self.evaluating = Evaluating(front)
        self.locating = Locating(front)
        self.batching = Batching(front)
        self.synthesizing = Synthesizing(front)
        self._every = (self.evaluating, self.locating, self.batching, self.synthesizing)

    @property
    def label(self) -> str:
        """How far the first of what is under way is, in a word or two; empty for nothing."""
        return next((work.label for work in self._every if work.label), "")

    def stop(self) -> bool:
        """End all of it after the pieces that are under way; false when there is none."""
        stopped = [work.stop() for work in self._every]
        return any(stopped)

    async def ended(self) -> None:
        """Wait until nothing is under way any more."""
        for work in self._every:
            await work.ended()

    async def close(self) -> None:
        """End all of it at once, because the program ends."""
        await asyncio.gather(*(work.close() for work in self._every))
