"""The chat: transcript, queue, composer, status. It draws the session and forwards to it."""

from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalGroup
from textual.widgets import Footer

from vlmchat.errors import UsageError, VlmchatError
from vlmchat.media.permissions import Permissions, RememberedPermissions
from vlmchat.talk.attachments import Attachments
from vlmchat.talk.beside import Beside
from vlmchat.talk.commands import registry
from vlmchat.talk.commands.base import Command
from vlmchat.talk.commands.completing import offers
from vlmchat.talk.engine_keeper import EngineEvent, EngineFailed, EngineKeeper, NoEngine
from vlmchat.talk.finetuning.following import Following
from vlmchat.talk.plan import Plans
from vlmchat.talk.question import NoticeKind, Question
from vlmchat.talk.session import ChatSession
from vlmchat.talk.turns.tree import Turn
from vlmchat.talk.watching import Watcher
from vlmchat.tui import bindings
from vlmchat.tui.screens.writing import Writing, refusal
from vlmchat.tui.widgets.chips import Chips
from vlmchat.tui.widgets.completion import CompletionPopup
from vlmchat.tui.widgets.composer import Composer
from vlmchat.tui.widgets.queue import QueueList
from vlmchat.tui.widgets.status import LoadingLine, NewText, StandingWarning, StatusBar, StatusFacts
from vlmchat.tui.widgets.storyboard import Storyboard
from vlmchat.tui.widgets.transcript import Item, Transcript

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from vlmchat.settings import Settings
    from vlmchat.tui.widgets.answer import Answer, AnswerFlow

# Turns from the end in which the figures of the status bar are looked for.
_LOOKED_AT = 20


class ChatScreen(Writing):
    """The one screen that is always there."""

    BINDINGS: ClassVar[list[BindingType]] = list(bindings.bindings())

    def __init__(self) -> None:
        super().__init__(id="chat")
        self.session = ChatSession(NoEngine(), self)
        self.attachments = Attachments(self.show_chips, self._complain, self.notice)
        self.plans = Plans(
            self.session, lambda: self.attachments.items, self.run_worker, self._planned_anew
        )
        self.watching = Watcher(self)
        self.following = Following(self, self._follow_jobs, self._show_state)
        self.beside = Beside(self)
        self.transcript = Transcript()
        self._shown_tree = self.session.tree
        self.permissions: Permissions = RememberedPermissions()
        self._told: set[str] = set()
        self._leaving = False
        self._flows: dict[Turn, AnswerFlow] = {}
        self.begin_adjusting()
        self.plans.settings = lambda: self.settings
        self.plans.wanted = lambda: self.engine_changer.model
        self.attachments.room = self.plans.frames_room

    def compose(self) -> ComposeResult:
        """Lay out the chat from top to bottom."""
        yield StandingWarning()
        yield self.transcript
        yield NewText()
        yield LoadingLine()
        yield QueueList()
        with VerticalGroup(id="prompt"):
            yield (popup := CompletionPopup(partial(offers, self)))
            yield Chips()
            yield Storyboard()
            yield Composer(self.files_in, popup, refusal)
        yield StatusBar()
        yield Footer()

    def on_mount(self) -> None:
        """Let the person write at once."""
        self.query_one(Composer).focus()
        self.query_one("#behind").display = False
        self.watch(self.transcript, "behind", self._show_behind)
        self._show_state()

    def connect(self, engine: EngineKeeper, settings: "Settings") -> None:
        """Take the engine and the settings, and begin to answer what is queued."""
        self.session.engine = engine
        # What was set while the settings were still being read stays set.
        self.session.sampling = settings.as_sampling().with_set(self.session.sampling)
        if not self.session.tree.roots:  # a conversation that was brought back has its own
            self.session.system = self.session.system or settings.chat.system
        elif self.settings_in_use.asks_for("chat", "system"):
            self.session.set_system(settings.chat.system)
            self.run_worker(self.show_system(), group="notices")
        self.query_one(Composer).enter_sends = settings.ui.enter == "send"
        engine.listen(self._on_engine_event)
        self.engine_changer.begin(settings)
        self.settings_in_use.begin(settings)
        engine.start()
        self.query_one(StatusBar).measure(lambda: self.session.engine.pid)
        self.plans.begin()
        self.following.begin()
        self.run_worker(self.recall(), group="recall")
        self.run_worker(self._converse(), group="session", name="session")

    async def on_unmount(self) -> None:
        """Leave no engine behind, and nothing unsaved."""
        self._leaving = True
        for flow in self._flows.values():
            flow.cancel()
        await self.watching.close()
        await self.beside.close()
        await self.session.close()
        await self.session.engine.close()
        await self.session.recorder.close()

    def _follow_jobs(self, work: "Coroutine[Any, Any, None]") -> None:
        if not self._leaving:
            self.run_worker(work, group="jobs")

    async def _converse(self) -> None:
        if self.session.system and not self.session.tree.roots:
            await self.show_system()
        await self.session.run()

    # What the session tells (see SessionView) ----------------------------------------------

    async def turn_added(self, turn: Turn) -> None:
        """Draw a turn at the end."""
        if self._leaving:
            return
        for item in self._items([turn]):
            await self.transcript.add(item)
        if turn.role == "user":
            self.threads_changed()  # it is a new one, or the newest now
        self._show_state()

    async def turn_grew(self, turn: Turn, piece: str) -> None:
        """Draw what a reply grew by."""
        if flow := self._flows.get(turn):
            flow.grow()
        self.transcript.mark_behind()

    async def turn_ended(self, turn: Turn) -> None:
        """Draw the end of a reply."""
        flow = self._flows.pop(turn, None)
        if flow is not None and not self._leaving:
            await flow.end()
        self._show_state()
        if not self._leaving:
            self.run_worker(self.plans.learn(turn), group="plans")

    async def path_changed(self) -> None:
        """Draw another path, or another conversation."""
        if self._leaving:
            return
        transcript = self.transcript
        same = self._shown_tree is self.session.tree
        self._shown_tree = self.session.tree
        if not same:
            self.begin_writing()
        selected = self.selected()
        items = self._items(self.session.path)
        if not same and self.session.system:
            items.insert(0, self._system_item())
        await transcript.show(items, keep_notices=same)
        if selected is not None and selected not in self.session.path:
            self._select_instead(selected)
        self._draw_heads()
        self.threads_changed()
        self._show_state()

    def _items(self, turns: list[Turn]) -> list[Item]:
        from vlmchat.tui.widgets.turns import items_of

        return items_of(turns, self._place, self._follow)

    def _follow(self, answer: "Answer") -> None:
        """Draw an answer while it grows."""
        from vlmchat.tui.widgets.answer import AnswerFlow
        from vlmchat.tui.widgets.turns import view_of

        turn = answer.turn
        self._flows[turn] = AnswerFlow(answer, lambda: view_of(self.transcript, turn))

    def _place(self, turn: Turn) -> tuple[int, int]:
        siblings = self.session.tree.siblings(turn)
        return siblings.index(turn) + 1, len(siblings)

    def queue_changed(self) -> None:
        """Draw the queue."""
        if self._leaving:
            return
        self.query_one(QueueList).show(self.session.queue)
        self._show_state()

    def give_back(self, question: Question) -> bool:
        """Put a question back into the composer when that is free."""
        composer = self.query_one(Composer)
        if composer.text or self.attachments:
            return False
        self.write(question.text, question.instead_of)
        self.attachments.items = list(question.attached)
        return True

    def notice(self, text: str, kind: NoticeKind = "note") -> None:
        """Show one sentence in the transcript."""
        self._say(text, kind, stays=False)

    def _say(self, text: str, kind: NoticeKind, *, stays: bool) -> None:
        from vlmchat.tui.widgets.turns import Notice

        if self._leaving:
            return
        item = Item(lambda: Notice(text, kind), (len(text), 0), stays=stays)
        self.run_worker(self.transcript.add(item), group="notices")

    def _complain(self, sentence: str) -> None:
        self.notice(sentence, "error")

    def warn(self, sentence: str) -> None:
        """Show a sentence for as long as the chat runs."""
        self.query_one(StandingWarning).say(sentence)

    # What the engine tells ---------------------------------------------------------------------

    def _on_engine_event(self, event: EngineEvent) -> None:
        if isinstance(event, EngineFailed):
            self.notice(" ".join((event.sentence, *self._advice(event))), "error")
        else:
            self.query_one(LoadingLine).show(event.status)
            model = event.status.model
            if model is not None and model.notice and model.notice not in self._told:
                self._told.add(model.notice)
                self._say(model.notice, "note", stays=True)
        self._show_state()

    def _advice(self, event: EngineFailed) -> list[str]:
        log = self.key_or_command("log")
        if event.restarting:
            return [f"It is being restarted; {log} shows the last lines of its log."]
        if self.session.engine.kind == "remote":
            return ["/restart asks again, and so does the next question."]
        return [f"{log} shows the last lines of its log; /restart starts it again."]

    def _show_state(self) -> None:
        if self._leaving:
            return
        session = self.session
        status = session.engine.status
        answering = status.stage == "ready" and session.answering
        context = session.context
        newest = islice(reversed(session.path), _LOOKED_AT)
        replies = [turn.reply for turn in newest if turn.reply]
        speeds = (reply.tokens_per_second for reply in replies)
        waits = (reply.first_token_seconds for reply in replies)
        self.query_one(StatusBar).show(
            StatusFacts(
                (session.reading or "answering") if answering else status.stage,
                session.engine.model,
                context.used,
                context.limit,
                next((speed for speed in speeds if speed is not None), None),
                next((wait for wait in waits if wait is not None), None),
                self.watching.label,
                self.beside.label or self.following.label,
            )
        )
        self.show_chips()
        self.refresh_bindings()

    def _planned_anew(self) -> None:
        if not self._leaving:
            self.show_chips()

    @on(NewText.Wanted)
    def _wanted(self) -> None:
        self.transcript.follow()

    def _show_behind(self, behind: bool) -> None:
        self.query_one("#behind").display = behind

    # Turns ------------------------------------------------------------------------------------

    def selected(self) -> Turn | None:
        """Return the turn with the focus."""
        from vlmchat.tui.widgets.turns import TurnView

        widgets = self.focused.ancestors_with_self if self.focused else ()
        return next((item.turn for item in widgets if isinstance(item, TurnView)), None)

    def changed(self, turn: Turn) -> None:
        """Draw the turn's label anew."""
        from vlmchat.tui.widgets.turns import TurnView

        widget = self.transcript.widget_of(turn)
        if isinstance(widget, TurnView) and widget.is_mounted:
            widget.draw_head()

    def _select_instead(self, gone: Turn) -> None:
        """Give the focus to what took the place of a turn, or to the composer."""
        siblings = self.session.tree.siblings(gone)
        turn = next((item for item in self.session.path if item in siblings), None)
        widget = self.transcript.widget_of(turn) if turn is not None else None
        if widget is not None:
            widget.focus(scroll_visible=False)
        else:
            self.compose_on()

    def _draw_heads(self) -> None:
        from vlmchat.tui.widgets.turns import TurnView

        for widget in self.query(TurnView):
            if widget.is_mounted:
                widget.draw_head()

    async def go_to(self, turn: Turn) -> None:
        """Show `turn`, on whatever branch it is, and give it the focus."""
        await self.session.go_to(turn)
        widget = await self.transcript.reveal(turn)
        if widget is not None:
            # At once, so that the next key of a quick hand counts from there.
            self.set_focus(widget, scroll_visible=False)

    async def action_step_turn(self, step: int) -> None:
        """Go to the turn before or after the one with the focus; behind the last one, write."""
        path, turn = self.session.path, self.selected()
        if not path:
            return
        place = path.index(turn) + step if turn in path else len(path) - 1
        if place >= len(path):
            self.transcript.follow()
            self.compose_on()
        elif place >= 0:
            await self.go_to(path[place])

    async def action_end_turn(self, place: int) -> None:
        """Go to the first turn or the last one."""
        if self.session.path:
            await self.go_to(self.session.path[place])

    # Commands ---------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer the keys of those commands only that can be used now."""
        if getattr(self.app.screen, "captures_keys", False):
            return False
        if action == "command":
            command = registry.find(str(parameters[0]))
            return not command.fades or command.available(self) is None
        return True

    async def action_command(self, name: str) -> None:
        """Run the command called `name` (for key bindings)."""
        await self.run_command(registry.find(name), "")

    async def choose_command(self, command: Command) -> None:
        """Run a command chosen from a list, or write it down for its argument to follow."""
        composer = self.query_one(Composer)
        if command.prefilled and not composer.text:
            composer.prepend(f"/{command.name} ")
            composer.focus()
        else:
            await self.run_command(command, "")

    async def run_command(self, command: Command, argument: str) -> None:
        """Run a command and show what it says against it."""
        try:
            if reason := command.available(self):
                raise UsageError(reason)
            await command.run(self, argument)
        except VlmchatError as error:
            self.transcript.follow()  # what is said against it stands at the end
            self.notice(str(error), "error")

    async def new_conversation(self) -> None:
        """Begin a new conversation; drafts, chips and the queue stay."""
        await self.session.reset(await self.settings_in_use.begin_conversation())

    async def show_system(self) -> None:
        """Show the system prompt in the transcript."""
        if self.session.system:
            await self.transcript.add(self._system_item())
        else:
            self.notice("There is no system prompt.", "note")

    def _system_item(self) -> Item:
        from vlmchat.tui.widgets.turns import SystemTurn

        system = self.session.system
        return Item(lambda: SystemTurn(system), (len(system), system.count("\n")))

    def action_page(self, direction: int) -> None:
        """Scroll the transcript by a page."""
        transcript = self.transcript
        if direction < 0:
            transcript.scroll_page_up(animate=False)
        else:
            transcript.scroll_page_down(animate=False)
