"""Which conversations are learned from, when no log was named."""

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalGroup
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from vlmchat.errors import VlmchatError
from vlmchat.talk.finetuning.flow import Origin, of_conversations, of_this_conversation
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.store.records import Thread
    from vlmchat.tui.screens.chat import ChatScreen

_HINT = (
    "Or close this and give a log: /finetune logs.jsonl. In a shell, vlmchat synth makes one of a "
    "folder of pictures."
)


class Sources(ModalScreen[Origin | None]):
    """Returns where the examples come from.

    Args:
        chat: whose conversations there are.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss(None)", "Close"),
        Binding("space", "mark", "Mark"),
    ]
    DEFAULT_CSS = """
    Sources {
        OptionList { height: 1fr; text-wrap: nowrap; text-overflow: ellipsis; }
        #sources-about { height: auto; color: $muted; margin-bottom: 1; }
    }
    """

    def __init__(self, chat: "ChatScreen") -> None:
        super().__init__(id="sources")
        self._chat = chat
        self._threads: list[Thread] = []
        self._marked: set[int] = set()
        self._fixed: list[str] = []

    def compose(self) -> ComposeResult:
        """Lay out the list."""
        with VerticalGroup(classes="dialog") as dialog:
            dialog.border_title = "Fine-tune on rated replies"
            dialog.border_subtitle = "Enter goes on · Space marks several · Esc closes"
            yield Static(
                "Replies that you rated good or bad, corrected, or found better than another "
                f"teach the model. {_HINT}",
                id="sources-about",
                markup=False,
            )
            yield OptionList()

    def on_mount(self) -> None:
        """Read the conversations there are."""
        if self._chat.session.tree.roots:
            self._fixed.append("This conversation")
        if self._chat.keeps:
            self._fixed.append("All conversations")
        self.run_worker(self._read(), group="sources")

    async def _read(self) -> None:
        if self._chat.keeps:
            try:
                self._threads = await self._chat.conversations.threads()
            except VlmchatError as error:
                self.query_one("#sources-about", Static).update(Content(str(error)))
        self._draw()
        lines = self.query_one(OptionList)
        lines.highlighted = 0 if lines.option_count else None
        lines.focus()
        if not lines.option_count:
            said = f"There is no conversation to learn from yet. {_HINT}"
            self.query_one("#sources-about", Static).update(Content(said))

    def _draw(self) -> None:
        lines = self.query_one(OptionList)
        at = lines.highlighted
        rows = [Option(Content.styled(name, "bold")) for name in self._fixed]
        for thread in self._threads:
            sign = "●" if thread.id in self._marked else "○"
            title = visible_line(thread.title) or "untitled"
            rows.append(Option(Content(f"{sign} {title}")))
        lines.set_options(rows)
        lines.highlighted = at

    def action_mark(self) -> None:
        """Take the conversation among those that are learned from, or out of them."""
        place = (self.query_one(OptionList).highlighted or 0) - len(self._fixed)
        if 0 <= place < len(self._threads):
            self._marked ^= {self._threads[place].id}
            self._draw()

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        place = event.option_index - len(self._fixed)
        if place >= 0:
            named = self._threads[place]
            numbers = sorted(self._marked) or [named.id]
            title = named.title if len(numbers) == 1 else "conversations"
            self.dismiss(of_conversations(self._chat, numbers, title or "conversation"))
        elif self._fixed[event.option_index].startswith("This"):
            self.dismiss(of_this_conversation(self._chat))
        else:
            self.dismiss(of_conversations(self._chat, None, "conversations"))
