"""The chat: transcript, queue, composer, status. It draws the session and forwards to it."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalGroup
from textual.screen import Screen
from textual.widgets import Footer

from vlmchat.chat.messages import Media
from vlmchat.errors import UsageError, VlmchatError
from vlmchat.text import visible_line
from vlmchat.tui.commands import registry
from vlmchat.tui.commands.base import Command
from vlmchat.tui.engine_keeper import EngineEvent, EngineFailed, EngineKeeper, NoEngine
from vlmchat.tui.pasted import pasted_files, split_paths
from vlmchat.tui.session import ChatSession
from vlmchat.tui.turns import Exchange, NoticeKind, Question
from vlmchat.tui.widgets.chips import Chip, Chips
from vlmchat.tui.widgets.composer import Composer
from vlmchat.tui.widgets.queue import QueueList, QueueRow
from vlmchat.tui.widgets.status import LoadingLine, StatusBar, StatusFacts
from vlmchat.tui.widgets.transcript import Transcript

if TYPE_CHECKING:
    from vlmchat.settings import Settings
    from vlmchat.tui.widgets.turns import AnswerTurn


class ChatScreen(Screen[None]):
    """The one screen that is always there."""

    BINDINGS: ClassVar[list[BindingType]] = list(registry.bindings())

    def __init__(self) -> None:
        super().__init__(id="chat")
        self.session = ChatSession(NoEngine(), self)
        self.attachments: list[Media] = []
        self._reading = 0
        # First come, first served: a question waits for the pictures that were named before it.
        self._in_order = asyncio.Lock()
        self._answers: dict[int, AnswerTurn] = {}
        self._told: set[str] = set()
        # Where pictures were chosen, the last one first.
        self._folder: Path | None = None
        self._folders: list[Path] = []

    def compose(self) -> ComposeResult:
        """Lay out the chat from top to bottom."""
        yield Transcript()
        yield LoadingLine()
        yield QueueList()
        with VerticalGroup(id="prompt"):
            yield Chips()
            yield Composer(self._files_in)
        yield StatusBar()
        yield Footer()

    def on_mount(self) -> None:
        """Let the person write at once."""
        self.query_one(Composer).focus()
        self._show_state()

    def connect(self, engine: EngineKeeper, settings: "Settings") -> None:
        """Take the engine and the settings, and begin to answer what is queued."""
        self.session.engine = engine
        self.session.sampling = settings.sampling.as_sampling()
        if not self.session.exchanges:  # a conversation that was brought back has its own
            self.session.system = settings.chat.system
        self.query_one(Composer).enter_sends = settings.ui.enter == "send"
        engine.listen(self._on_engine_event)
        engine.start()
        self.run_worker(self._converse(), group="session", name="session")

    async def on_unmount(self) -> None:
        """Leave no engine behind, and nothing unsaved."""
        await self.session.close()
        await self.session.engine.close()
        await self.session.recorder.close()

    async def _converse(self) -> None:
        if self.session.system:
            await self.show_system()
        await self.session.run()

    # What the session tells (see SessionView) ----------------------------------------------

    async def exchange_started(self, exchange: Exchange) -> None:
        """Draw a question and the place of its answer."""
        from vlmchat.tui.widgets.turns import AnswerTurn, QuestionTurn

        turn = AnswerTurn(exchange)
        self._answers[id(exchange)] = turn
        transcript = self.query_one(Transcript)
        await transcript.add(QuestionTurn(exchange.question))
        await transcript.add(turn)
        transcript.anchor()
        self._show_state()

    async def answer_grew(self, exchange: Exchange, piece: str) -> None:
        """Draw one more piece of an answer."""
        if turn := self._answers.get(id(exchange)):
            await turn.grow(piece)

    async def exchange_ended(self, exchange: Exchange) -> None:
        """Draw the end of an answer."""
        if turn := self._answers.pop(id(exchange), None):
            await turn.end()
        self._show_state()

    async def conversation_cleared(self) -> None:
        """Empty the transcript; what is written or queued stays."""
        await self.query_one(Transcript).clear()
        if self.session.system:
            await self.show_system()
        self._show_state()

    def queue_changed(self) -> None:
        """Draw the queue."""
        self.query_one(QueueList).show(self.session.queue)
        self._show_state()

    def give_back(self, question: Question) -> bool:
        """Put a question back into the composer when that is free."""
        composer = self.query_one(Composer)
        if composer.text or self.attachments or self._reading:
            return False
        composer.prepend(question.text)
        self.set_attachments(list(question.media))
        return True

    def notice(self, text: str, kind: NoticeKind = "note") -> None:
        """Show one sentence in the transcript."""
        from vlmchat.tui.widgets.turns import Notice

        self.query_one(Transcript).mount(Notice(text, kind))

    # What the engine tells ---------------------------------------------------------------------

    def _on_engine_event(self, event: EngineEvent) -> None:
        if isinstance(event, EngineFailed):
            self.notice(" ".join((event.sentence, *self._advice(event))), "error")
        else:
            self.query_one(LoadingLine).show(event.status)
            model = event.status.model
            if model is not None and model.notice and model.notice not in self._told:
                self._told.add(model.notice)
                self.notice(model.notice, "note")
        self._show_state()

    def _advice(self, event: EngineFailed) -> list[str]:
        if event.restarting:
            return ["It is being restarted; F2 shows the last lines of its log."]
        if self.session.engine.kind == "remote":
            return ["/restart asks again, and so does the next question."]
        return ["F2 shows the last lines of its log; /restart starts it again."]

    def _show_state(self) -> None:
        session = self.session
        status = session.engine.status
        answering = status.stage == "ready" and session.answering
        context = session.context
        speeds = (item.answer.tokens_per_second for item in reversed(session.exchanges))
        self.query_one(StatusBar).show(
            StatusFacts(
                "answering" if answering else status.stage,
                session.engine.model,
                context.used,
                context.limit,
                next((speed for speed in speeds if speed is not None), None),
            )
        )
        self.refresh_bindings()

    # What the person writes ----------------------------------------------------------------------

    @on(Composer.Submitted)
    async def _submitted(self, event: Composer.Submitted) -> None:
        composer = self.query_one(Composer)
        text = event.text
        paths, text = split_paths(text)
        try:
            command = None if paths else registry.parse(text.rstrip())
        except UsageError as error:
            self.notice(str(error), "error")
            return
        if command is not None:
            composer.clear_draft()
            await self.run_command(*command)
            return
        if not text.strip() and not paths and not self.attachments and not self._reading:
            composer.clear_draft()  # spaces are nothing, and would make a command after them text
            return
        composer.clear_draft()
        if paths:
            self.attach(paths)
            if not text.strip():
                return
        self.query_one(Transcript).anchor()
        self.run_worker(self._submit(text), group="prompt")

    async def _submit(self, text: str) -> None:
        async with self._in_order:
            media = tuple(self.attachments)
            self.set_attachments([])
            if not self.session.submit(text, media):
                self.query_one(Composer).prepend(text)

    @on(Composer.FilesPasted)
    def _files_pasted(self, event: Composer.FilesPasted) -> None:
        self.attach(event.paths)

    @on(Composer.ReachedBack)
    def _reached_back(self, event: Composer.ReachedBack) -> None:
        if event.key == "backspace":
            self.set_attachments(self.attachments[:-1])
        elif self.session.queue:
            self._edit_queued(self.session.queue[-1].number)

    @on(QueueRow.Edited)
    def _queue_edited(self, event: QueueRow.Edited) -> None:
        self._edit_queued(event.number)

    @on(QueueRow.Removed)
    def _queue_removed(self, event: QueueRow.Removed) -> None:
        self.session.withdraw(event.number)
        self.query_one(Composer).focus()

    def _edit_queued(self, number: int) -> None:
        question = self.session.withdraw(number)
        if question is not None:
            composer = self.query_one(Composer)
            composer.prepend(question.text)
            self.set_attachments([*question.media, *self.attachments])
            composer.focus()

    # Attachments ------------------------------------------------------------------------------

    def _files_in(self, text: str) -> list[Path]:
        from vlmchat.media.images import SUFFIXES

        return pasted_files(text, lambda path: path.suffix.lower() in SUFFIXES)

    def attach(self, paths: Sequence[Path]) -> None:
        """Read these pictures and put them before the next question."""
        self._reading += len(paths)
        self._show_chips()
        self.run_worker(self._read_in(paths), group="prompt")

    async def _read_in(self, paths: Sequence[Path]) -> None:
        from vlmchat.media.images import load_media

        async with self._in_order:
            for path in paths:
                try:
                    media = await asyncio.to_thread(load_media, path)
                    if media not in self.attachments:
                        self.attachments.append(media)
                except VlmchatError as error:
                    self.notice(str(error), "error")
                except MemoryError:
                    self.notice(
                        f"“{visible_line(path.name)}” does not fit into memory: make it smaller.",
                        "error",
                    )
                finally:
                    self._reading -= 1
                    self._show_chips()

    def set_attachments(self, media: list[Media]) -> None:
        """Make `media` what goes with the next question."""
        self.attachments = media
        self._show_chips()

    def _show_chips(self) -> None:
        self.query_one(Chips).show(self.attachments, self._reading)

    @on(Chip.Removed)
    def _chip_removed(self, event: Chip.Removed) -> None:
        self.set_attachments([item for item in self.attachments if item is not event.media])
        self.query_one(Composer).focus()

    # Commands ---------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer the keys of those commands only that can be used now."""
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
        if reason := command.available(self):
            self.notice(reason, "error")
            return
        try:
            await command.run(self, argument)
        except VlmchatError as error:
            self.notice(str(error), "error")

    async def show_system(self) -> None:
        """Show the system prompt in the transcript."""
        from vlmchat.tui.widgets.turns import SystemTurn

        if self.session.system:
            await self.query_one(Transcript).add(SystemTurn(self.session.system))
        else:
            self.notice("There is no system prompt.", "note")

    def action_page(self, direction: int) -> None:
        """Scroll the transcript by a page."""
        transcript = self.query_one(Transcript)
        if direction < 0:
            transcript.scroll_page_up(animate=False)
        else:
            transcript.scroll_page_down(animate=False)

    # What opens over the chat ------------------------------------------------------------------

    def open_picker(self) -> None:
        """Let the person choose picture files."""
        from vlmchat.tui.screens.picker import Picker

        def chosen(paths: list[Path] | None) -> None:
            if paths:
                self.attach(paths)

        self.app.push_screen(Picker(self._folder, tuple(self._folders), self._used), chosen)

    def _used(self, folder: Path) -> None:
        self._folders = [folder, *(other for other in self._folders if other != folder)][:20]
        self._folder = folder

    def open_gallery(self) -> None:
        """Show every picture that was ever attached."""
        from vlmchat.tui.media_actions import open_gallery

        open_gallery(self)

    def open_viewer(self, which: str = "") -> None:
        """Show the pictures of this conversation large."""
        from vlmchat.tui.media_actions import open_viewer

        open_viewer(self, which)

    def open_log(self) -> None:
        """Show the end of the engine's log."""
        from vlmchat.tui.screens.pager import LogPager

        self.app.push_screen(LogPager(self.session.engine.log_tail()))

    def open_help(self) -> None:
        """Show keys and commands."""
        from vlmchat.tui.screens.pager import HelpPager

        self.app.push_screen(HelpPager())
