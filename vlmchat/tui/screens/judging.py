"""Two answers to one question side by side: with an adapter and without, and which is better."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import HorizontalGroup, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from vlmchat.errors import VlmchatError
from vlmchat.talk.finetuning.comparing import Both, Choice, Comparing
from vlmchat.text import visible
from vlmchat.tui.widgets.picture import PictureFlow

if TYPE_CHECKING:
    from vlmchat.finetune.compare import Prompt
    from vlmchat.tui.screens.chat import ChatScreen

_KEYS = "← → the better one · = as good · x both bad · s later · v who is who · Esc"


class Judging(ModalScreen[str]):
    """Asks about one prompt after the other; returns what came of it.

    Each choice is kept at once; whoever leaves goes on another time where it was left.

    Args:
        comparing: that was begun; it is closed when this is left.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "leave", "Stop"),
        Binding("left,1", "choose('left')", "Left is better"),
        Binding("right,2", "choose('right')", "Right is better"),
        Binding("equals_sign,t,3", "choose('tie')", "As good"),
        Binding("x,0", "choose('bad')", "Both bad"),
        Binding("s", "later", "Later"),
        Binding("v", "reveal", "Who is who"),
        Binding("r", "again", "Ask again", show=False),
        Binding("up,k", "scroll(-1)", show=False),
        Binding("down,j", "scroll(1)", show=False),
        Binding("pageup", "scroll(-10)", show=False),
        Binding("pagedown,space", "scroll(10)", show=False),
    ]
    DEFAULT_CSS = """
    Judging {
        background: $background;
        layout: vertical;
        align: left top;
        #judging-title {
            width: 100%;
            height: 1;
            padding: 0 2;
            background: $surface;
            color: $primary;
            text-style: bold;
            text-wrap: nowrap;
            text-overflow: ellipsis;
        }
        #judging-prompt {
            height: auto;
            max-height: 50%;
            padding: 0 2;
            scrollbar-size-vertical: 1;
        }
        #judging-question { width: 100%; height: auto; text-style: bold; }
        .pair { height: 1fr; }
        .side {
            width: 1fr;
            height: 1fr;
            padding: 0 2;
            border-top: solid $border;
            scrollbar-size-vertical: 1;
        }
        #side-left { border-right: solid $border; }
        .side Static { width: 100%; }
        .side-head { color: $primary; text-style: bold; }
        .footing {
            height: auto;
            max-height: 3;
            width: 100%;
            padding: 0 2;
            background: $surface;
            color: $muted;
        }
    }
    """

    def __init__(self, comparing: Comparing) -> None:
        super().__init__(id="judging")
        self._comparing = comparing
        self._waiting = comparing.contest.waiting
        self._both: Both | None = None
        self._leaving = False

    @property
    def _prompt(self) -> "Prompt":
        return self._waiting[0]

    def compose(self) -> ComposeResult:
        """Lay out the question above the two answers."""
        title = f"Better with {self._comparing.name}, or without it?"
        yield Static(Content(title), id="judging-title")
        with VerticalScroll(id="judging-prompt", can_focus=False):
            yield Static(id="judging-question", markup=False)
        with HorizontalGroup(classes="pair"):
            for side in ("left", "right"):
                with VerticalScroll(classes="side", id=f"side-{side}", can_focus=False):
                    yield Static(classes="side-head", markup=False)
                    yield Static(classes="side-text", markup=False)
        yield Static(id="judging-tally", classes="footing", markup=False)
        yield Static(_KEYS, classes="footing", markup=False)

    def on_mount(self) -> None:
        """Begin."""
        self._next()

    @work(exclusive=True, group="judging")
    async def _next(self) -> None:
        """Show the next prompt, then the answers when they are there."""
        self._both = None
        if not self._waiting:
            await self._leave()
            return
        prompt = self._prompt
        self._draw_heads()
        self.query_one("#judging-question", Static).update(Content(visible(prompt.text)))
        room = self.query_one("#judging-prompt", VerticalScroll)
        await room.query(PictureFlow).remove()
        if prompt.attachments:
            await room.mount(PictureFlow(prompt.attachments))
        room.scroll_home(animate=False)
        self._texts("…", "…")
        try:
            both = await self._comparing.answers(prompt)
        except VlmchatError as error:
            self._texts(f"{error} r asks again, s leaves it for later.", "")
            return
        self._both = both
        left, right = self._comparing.sides(prompt)
        self._texts(both.of(left), both.of(right))

    def _texts(self, *texts: str) -> None:
        for side, text in zip(self.query(".side"), texts, strict=True):
            side.query_one(".side-text", Static).update(Content(visible(text) or "(no words)"))
            side.scroll_home(animate=False)

    def _draw_heads(self) -> None:
        comparing = self._comparing
        names = {"adapter": f"with {comparing.name}", "base": "without it"}
        sides = comparing.sides(self._prompt)
        for side, who in zip(("left", "right"), sides, strict=True):
            word = side.capitalize()
            head = word if comparing.blind else f"{word}: {names[who]}"
            self.query_one(f"#side-{side} .side-head", Static).update(Content(head))
        judged = comparing.contest.tally.judged
        # How it stands would tell which is which to whoever knows what he chose.
        stands = f" {comparing.contest.tally.sentence()}" if judged and not comparing.blind else ""
        text = f"Question {comparing.place} · {judged} judged.{stands}"
        self.query_one("#judging-tally", Static).update(Content(text))

    async def action_choose(self, choice: Choice) -> None:
        """Keep what the person said, and go on."""
        both, self._both = self._both, None
        if both is None or self._leaving:
            return
        try:
            await self._comparing.judge(self._prompt, both, choice)
        except VlmchatError as error:
            self._both = both
            self.notify(str(error), severity="error", markup=False)
            return
        self._waiting.pop(0)
        self._next()

    def action_later(self) -> None:
        """Put this prompt behind the others."""
        if self._waiting and not self._leaving:
            self._waiting.append(self._waiting.pop(0))
            self._next()

    def action_reveal(self) -> None:
        """Show which is which, or hide it again."""
        if self._waiting:
            self._comparing.blind = not self._comparing.blind
            self._draw_heads()

    def action_again(self) -> None:
        """Ask again after an error."""
        if self._both is None and self._waiting:
            self._next()

    def action_scroll(self, rows: int) -> None:
        """Scroll both sides."""
        for side in self.query(".side"):
            side.scroll_relative(y=rows, animate=False)

    async def action_leave(self) -> None:
        """Stop; what was judged is kept."""
        self.workers.cancel_group(self, "judging")
        await self._leave()

    async def _leave(self) -> None:
        if not self._leaving:
            self._leaving = True
            self.dismiss(await self._comparing.close())

    async def on_unmount(self) -> None:
        """Let the engine go when the whole program ends."""
        if not self._leaving:
            self._leaving = True
            await self._comparing.close()


async def open_judging(chat: "ChatScreen", name: str, files: Sequence[Path]) -> None:
    """Put an adapter against its base.

    Raises:
        VlmchatError: there is no such adapter, no prompt, or it does not fit.
    """
    comparing = await Comparing.begin(chat, name, files)
    if not comparing.contest.waiting:
        chat.notice(f"All is judged. {await comparing.close()}")
        return

    def said(sentence: str | None) -> None:
        if sentence:
            chat.notice(sentence)

    chat.app.push_screen(Judging(comparing), said)
