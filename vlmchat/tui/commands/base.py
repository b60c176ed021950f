"""What a command is."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from vlmchat.tui.front import Front


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
        turn_key: its key while a turn has the focus; empty for none.
    """

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    help: ClassVar[str]
    arguments: ClassVar[str] = ""
    prefilled: ClassVar[bool] = False
    key: ClassVar[str] = ""
    label: ClassVar[str] = ""
    fades: ClassVar[bool] = False
    turn_key: ClassVar[str] = ""

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

    @property
    def usage(self) -> str:
        """The command as it is typed."""
        return f"/{self.name} {self.arguments}".rstrip()
