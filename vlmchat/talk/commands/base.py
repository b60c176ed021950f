"""What a command is."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.talk.front import Front


@dataclass(frozen=True, slots=True)
class Completion:
    """One way to go on with what is being typed.

    Attributes:
        text: the whole argument as it reads once this is taken. An item whose text is what is
            written already cannot be taken: it is a hint (the range of a value).
        label: what the list shows; `text` when empty.
        help: what stands beside it.
        reason: why it cannot be used now; it is greyed, with this in place of the help.
    """

    text: str
    label: str = ""
    help: str = ""
    reason: str = ""


Completions: TypeAlias = Sequence[Completion]
Found: TypeAlias = Completions | Awaitable[Completions]


class Command(ABC):
    """One thing the chat can do.

    Attributes:
        name: what follows the slash.
        aliases: other names.
        help: one sentence, without a full stop.
        arguments: how the arguments are written; empty when it takes none.
        prefilled: the palette writes it into the composer, for its argument to follow.
        key: its key, in Textual's notation; empty for none.
        label: one word for the footer; empty keeps it out of there.
        fades: its key is not offered while it is unavailable.
        engines: whether it can be used is for what answers to say, so that the help says it too.
        turn_key: its key while a turn has the focus; empty for none.
        turn_label: one word for the footer then; empty keeps it out of there.
    """

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    help: ClassVar[str]
    arguments: ClassVar[str] = ""
    prefilled: ClassVar[bool] = False
    key: ClassVar[str] = ""
    label: ClassVar[str] = ""
    fades: ClassVar[bool] = False
    engines: ClassVar[bool] = False
    turn_key: ClassVar[str] = ""
    turn_label: ClassVar[str] = ""

    def available(self, chat: "Front") -> str | None:
        """Return why the command cannot be used now, as one sentence; ``None`` when it can."""
        return None

    @abstractmethod
    async def run(self, chat: "Front", argument: str) -> None:
        """Do it.

        Args:
            chat: what shows the chat.
            argument: what stood behind the name, stripped.

        Raises:
            VlmchatError: it cannot be done; the chat shows the sentence.
        """

    def completions(self, chat: "Front", argument: str) -> Found:
        """Return how `argument`, as far as it is written, can go on; best first.

        Called at every key, on the event loop: what touches the disk is returned as an awaitable
        (see `vlmchat.talk.commands.completing`), which is dropped when another key is faster.

        Args:
            chat: the screen.
            argument: what stands behind the name and one space, not stripped at its end.
        """
        return ()

    @property
    def usage(self) -> str:
        """The command as it is typed."""
        return f"/{self.name} {self.arguments}".rstrip()


class Seeing(Command):
    """A command that needs a model that sees."""

    def available(self, chat: "Front") -> str | None:
        """Need one, once it is known which model answers."""
        model = chat.session.engine.model
        if model is not None and not model.images:
            return f"{visible_line(model.title)} takes no pictures: choose another model."
        return None
