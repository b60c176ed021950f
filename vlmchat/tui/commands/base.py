"""What a command is."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from vlmchat.tui.screens.chat import ChatScreen


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
    """

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    help: ClassVar[str]
    arguments: ClassVar[str] = ""
    prefilled: ClassVar[bool] = False
    key: ClassVar[str] = ""
    label: ClassVar[str] = ""
    fades: ClassVar[bool] = False

    def available(self, chat: "ChatScreen") -> str | None:
        """Return why the command cannot be used now, as one sentence; ``None`` when it can."""
        return None

    @abstractmethod
    async def run(self, chat: "ChatScreen", argument: str) -> None:
        """Do it.

        Args:
            chat: the screen it acts on.
            argument: what stood behind the name, stripped.

        Raises:
            VlmchatError: it cannot be done; the chat shows the sentence.
        """

    @property
    def usage(self) -> str:
        """The command as it is typed."""
        return f"/{self.name} {self.arguments}".rstrip()
