"""What the plain front stands on: saying, asking, and doing one thing after another."""

import asyncio
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from vlmchat.chat.messages import VideoPart
from vlmchat.errors import UsageError, VlmchatError
from vlmchat.media.video.plan import clock
from vlmchat.talk.attachments import Attachments
from vlmchat.talk.history import Remembered
from vlmchat.talk.permissions import KeptPermissions
from vlmchat.talk.plan import region_words
from vlmchat.text import human_bytes, visible_line

if TYPE_CHECKING:
    from vlmchat.chat.messages import Attachment, Media
    from vlmchat.plain.out import Out
    from vlmchat.plain.reading import Reader
    from vlmchat.settings import Settings
    from vlmchat.talk.beside import Beside
    from vlmchat.talk.engine_change import EngineChanger
    from vlmchat.talk.finetuning.following import Following
    from vlmchat.talk.front import Front
    from vlmchat.talk.keeping.conversations import Conversations
    from vlmchat.talk.plan import Plans
    from vlmchat.talk.question import NoticeKind
    from vlmchat.talk.session import ChatSession
    from vlmchat.talk.turns.tree import Turn
    from vlmchat.talk.watching import Watcher

_T = TypeVar("_T")
MOST_LISTED = 50
_CHOICE = re.compile(r"\d+")


class Base:
    """State and manners of the plain front.

    Args:
        out: where everything is written.
        reader: where lines come from.
        overrides: what the command line gave.

    Attributes:
        library: the saved conversations; ``None`` while they are not kept.
        leave: what Ctrl+C leaves now, if that is not the answer.
    """

    session: "ChatSession"
    plans: "Plans"
    engine_changer: "EngineChanger"
    watching: "Watcher"
    following: "Following"
    beside: "Beside"

    def __init__(
        self, out: "Out", reader: "Reader", overrides: Mapping[str, Mapping[str, Any]]
    ) -> None:
        self.out = out
        self.reader = reader
        self.overrides = overrides
        self.attachments = Attachments(lambda: None, self._complain, self.notice)
        self.library: Conversations | None = None
        self.permissions = KeptPermissions((), self.then, self._complain)
        self.remembered = Remembered()
        self.quitting = asyncio.Event()
        self._settings: Settings | None = None
        self._selected: Turn | None = None
        self._pushed: list[str] = []
        self.leave: Callable[[], None] | None = None
        self._following: list[Coroutine[Any, Any, None]] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def front(self) -> "Front":
        """This, as commands see it."""
        raise NotImplementedError

    # Saying -----------------------------------------------------------------------------------

    def key_or_command(self, name: str) -> str:
        """Return how a command is typed: the keys of the screen do nothing here."""
        return f"/{name}"

    def notice(self, text: str, kind: "NoticeKind" = "note") -> None:
        """Say one sentence."""
        self.out.line(f"{'Error' if kind == 'error' else 'Note'}: {text}")

    def _complain(self, sentence: str) -> None:
        self.notice(sentence, "error")

    def speaker(self, turn: "Turn") -> str:
        """Return who speaks in a turn, as its line begins."""
        if turn.role == "user":
            return "You"
        if turn.author == "person":
            return "Corrected answer"
        return visible_line(turn.reply.speaker if turn.reply else "Model")

    def tell(self, turn: "Turn") -> None:
        """Write a whole turn, with which version of how many it is."""
        siblings = self.session.tree.siblings(turn)
        place = f" (version {siblings.index(turn) + 1} of {len(siblings)})"
        for part in turn.attachments:
            where = region_words(part)
            self.out.line(f"{kind_of(part)}: {part_facts(part)}{f', {where}' if where else ''}")
        version = place if len(siblings) > 1 else ""
        self.out.line(f"{self.speaker(turn)}{version}: {turn.text}")

    # Asking -----------------------------------------------------------------------------------

    async def next_line(self, prompt: str, begun: str = "") -> str | None:
        """Return what the person writes next; ``None`` at the end."""
        if self._pushed:
            return self._pushed.pop()
        return await self.reader.line(prompt, begun)

    def push(self, text: str) -> None:
        """Have `text` be what the person writes next."""
        self._pushed.append(text)

    async def choose(self, most: Sequence[int] | int, what: str = "Number") -> int | None:
        """Ask for a number; ``None`` when there is none.

        What is written instead of a number is taken as the next question or command.

        Args:
            most: the numbers there are, or the last one from 1.
            what: the question.
        """
        numbers = range(1, most + 1) if isinstance(most, int) else most
        if not numbers:
            return None
        text = await self.next_line(f"{what}, or Enter for none: ")
        if text is None or not text.strip():
            return None
        if _CHOICE.fullmatch(text.strip()) is None:
            self._pushed.append(text)
            return None
        if int(text) not in numbers:
            self.notice(f"There is no number {text.strip()}.", "error")
            return None
        return int(text)

    async def agree(self, question: str) -> bool:
        """Ask for yes or no; Enter is no."""
        text = await self.next_line(f"{question} y or n: ")
        return text is not None and text.strip().lower() in ("y", "yes")

    # One after another ------------------------------------------------------------------------

    def then(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work` once the present command is done, before the next line is read."""
        if self._following is not None:
            self._following.append(work)
            return
        task = asyncio.create_task(self.carefully(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def carefully(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work`, and say what is wrong with it."""
        try:
            await work
        except VlmchatError as error:
            self.notice(str(error), "error")

    async def in_order(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work`, and whatever it leaves to be done."""
        self._following = [work]
        try:
            while self._following:
                await self.carefully(self._following.pop(0))
        finally:
            for left in self._following or ():
                left.close()
            self._following = None

    # What is there ----------------------------------------------------------------------------

    @property
    def settings(self) -> "Settings | None":
        """The settings that hold now."""
        return self._settings

    @property
    def keeps(self) -> bool:
        """Whether conversations are kept."""
        return self.library is not None

    @property
    def conversations(self) -> "Conversations":
        """The saved conversations.

        Raises:
            UsageError: conversations are not kept.
        """
        if self.library is None:
            raise UsageError("Conversations are not kept: turn chat.save on.")
        return self.library

    def selected(self) -> "Turn | None":
        """Return the turn the person went to last, until something else is said."""
        return self._selected if self._selected in self.session.path else None

    async def go_to(self, turn: "Turn") -> None:
        """Show `turn`, on whatever branch it is."""
        await self.session.go_to(turn)
        self._selected = turn
        self.tell(turn)
        behind = len(self.session.path) - self.session.path.index(turn) - 1
        if behind:
            self.notice(f"{behind} more {'turn follows' if behind == 1 else 'turns follow'} it.")


def facts_of(media: "Media") -> str:
    """Return what is known about a picture or video without looking at it."""
    kind = media.mime.rpartition("/")[2].upper()
    return (
        f"{visible_line(media.name)}, {kind}, {media.width} by {media.height} pixels, "
        f"{human_bytes(media.size)}"
    )


def kind_of(part: "Attachment") -> str:
    """Return ``Video`` or ``Picture``."""
    return "Video" if isinstance(part, VideoPart) else "Picture"


def part_facts(part: "Attachment") -> str:
    """Return what is known about what is attached; of a video, how many frames the model gets."""
    if not isinstance(part, VideoPart):
        return facts_of(part.media)
    count = len(part.clip.times)
    length = "" if part.clip.duration is None else f", {clock(part.clip.duration)} long"
    frames = f"{count} {'frame' if count == 1 else 'frames'}"
    return f"{facts_of(part.media)}{length}, {frames}"


def excerpt(text: str, most: int = 120) -> str:
    """Return the beginning of a text on one line."""
    shown = visible_line(" ".join(text.split()))
    return shown if len(shown) <= most else f"{shown[:most]} …"
