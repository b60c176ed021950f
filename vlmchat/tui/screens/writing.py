"""The part of the chat screen that is written in: composer, queue, attachments."""

from collections.abc import Sequence
from pathlib import Path

from textual import events, on

from vlmchat.errors import UsageError, VlmchatError
from vlmchat.talk.attachments import Attachments
from vlmchat.talk.commands import registry
from vlmchat.talk.desktop.pasted import pasted_files, split_paths
from vlmchat.talk.engine_keeper import NoEngine
from vlmchat.talk.framing import Wish, reframe
from vlmchat.talk.plan import Plans, cost_words
from vlmchat.talk.session import ChatSession
from vlmchat.talk.turns.tree import Turn
from vlmchat.tui import choosing, composing
from vlmchat.tui.screens.adjusting import Adjusting
from vlmchat.tui.widgets.chips import Chip, Chips
from vlmchat.tui.widgets.completion import CompletionPopup
from vlmchat.tui.widgets.composer import Composer
from vlmchat.tui.widgets.queue import QueueRow
from vlmchat.tui.widgets.storyboard import Storyboard
from vlmchat.tui.widgets.transcript import Transcript


class Writing(Adjusting):
    """The part of the chat screen that takes what the person writes and attaches.

    Attributes:
        session: the conversation.
        attachments: what goes with the next question.
        plans: what that costs.
        transcript: where the turns are shown.
    """

    session: ChatSession
    attachments: Attachments
    plans: Plans
    transcript: Transcript
    _editing: Turn | None = None

    @property
    def composer(self) -> Composer:
        """Where the person writes."""
        return self.query_one(Composer)

    # What the person writes ----------------------------------------------------------------------

    @on(Composer.Submitted)
    async def _submitted(self, event: Composer.Submitted) -> None:
        paths, text = split_paths(event.text)
        command = None if paths else registry.parse(text.rstrip())
        # Now, and not when the composer tells of it: the command may turn to another conversation.
        self.session.recorder.drafted("")
        if command is not None:
            self.transcript.follow()
            await self.chat.run_command(*command)
            return
        if not text.strip() and not paths and not self.attachments:
            return  # spaces are nothing, and would make a command after them text
        if paths:
            self.attach(paths)
            if not text.strip():
                return
        instead_of, self._editing = self._editing, None
        self._show_editing()
        self.transcript.follow()
        if instead_of is not None and instead_of.role == "assistant":
            self.run_worker(self._correct(instead_of, text), group="prompt")
        else:
            self.run_worker(self._submit(text, instead_of), group="prompt")

    @on(Composer.Refused)
    def _refused(self, event: Composer.Refused) -> None:
        self.transcript.follow()  # what is said against it stands at the end
        self.chat.notice(event.why, "error")

    async def _submit(self, text: str, instead_of: Turn | None) -> None:
        async with self.attachments.settled():
            media = self.attachments.take()
            if not self.session.submit(text, media, instead_of):
                self.composer.prepend(text)

    async def _correct(self, reply: Turn, text: str) -> None:
        try:
            await self.session.correct(reply, text)
        except VlmchatError as error:
            self.write(text, reply)
            self.chat.notice(str(error), "error")

    def ask(self, text: str) -> None:
        """Send a question, with what is attached."""
        self.transcript.follow()
        self.run_worker(self._submit(text, None), group="prompt")

    @on(Composer.Changed)
    def _drafted(self) -> None:
        self.session.recorder.drafted(self.composer.text)

    def begin_writing(self) -> None:
        """Have the composer serve the conversation that is shown now, with its own draft."""
        self._editing = None
        self._show_editing()
        self.composer.remembered.begin()
        if not self.keeps:
            return
        self.composer.asked_before = self.conversations
        if isinstance(self.session.engine, NoEngine) and self.composer.text:
            # What was typed while the chat was being opened goes before what was typed long ago.
            self.session.recorder.drafted(self.composer.text)
        else:
            self.run_worker(self._take_draft(self.composer.text), group="draft", exclusive=True)

    async def _take_draft(self, before: str) -> None:
        """Put the draft of this conversation into the composer, unless something was typed."""
        try:
            draft = await self.conversations.draft()
        except VlmchatError as error:
            self.chat.notice(str(error), "error")
            return
        for composer in self.query(Composer):  # none while the program is being closed
            if composer.text == before and draft != before:
                composer.set_draft(draft)

    def write(self, text: str, instead_of: Turn | None = None) -> None:
        """Put `text` into the composer, to take the place of a turn when it is sent."""
        composer = self.composer
        composer.prepend(text)
        composer.focus()
        self._editing = instead_of
        self._show_editing()

    def _show_editing(self) -> None:
        prompt = self.query_one("#prompt")
        what = "answer" if self._editing and self._editing.role == "assistant" else "question"
        hint = f"Editing the {what} · Esc leaves it as it was"
        prompt.border_title = hint if self._editing else ""

    def on_key(self, event: events.Key) -> None:
        """Leave an edit; the turn stays as it was."""
        if event.key == "escape" and self._editing is not None and not self.session.answering:
            event.stop()
            self._editing = None
            self._show_editing()
            self.composer.clear_draft()
            self.attachments.items = []

    def compose_on(self) -> None:
        """Go back to writing."""
        self.composer.focus()

    def action_compose_on(self) -> None:
        """Go back to writing (for key bindings)."""
        self.compose_on()

    @on(Composer.FilesPasted)
    def _files_pasted(self, event: Composer.FilesPasted) -> None:
        self.attach(event.paths)

    @on(Composer.ReachedBack)
    def _reached_back(self, event: Composer.ReachedBack) -> None:
        if event.key == "backspace":
            self.attachments.items = self.attachments.items[:-1]
        elif self.session.queue:
            self._edit_queued(self.session.queue[-1].number)
        else:
            self.composer.walk(1)

    @on(Composer.ClipboardAsked)
    def _clipboard_asked(self, event: Composer.ClipboardAsked) -> None:
        self.paste_clipboard(event.only_media)

    @on(CompletionPopup.Chosen)
    def _completion_chosen(self, event: CompletionPopup.Chosen) -> None:
        self.composer.completion_chosen(event.line)

    @on(QueueRow.Edited)
    def _queue_edited(self, event: QueueRow.Edited) -> None:
        self._edit_queued(event.number)

    @on(QueueRow.Removed)
    def _queue_removed(self, event: QueueRow.Removed) -> None:
        self.session.withdraw(event.number)
        self.composer.focus()

    def _edit_queued(self, number: int) -> None:
        question = self.session.withdraw(number)
        if question is not None:
            self.write(question.text, question.instead_of)
            self.attachments.items = [*question.attached, *self.attachments.items]

    # Attachments ------------------------------------------------------------------------------

    def files_in(self, text: str) -> list[Path]:
        """Return the pictures and videos that a pasted text consists of."""
        from vlmchat.media.attaching import MEDIA_SUFFIXES

        return pasted_files(text, lambda path: path.suffix.lower() in MEDIA_SUFFIXES)

    def attach(self, paths: Sequence[Path]) -> None:
        """Read these pictures and put them before the next question."""
        self.run_worker(self.attachments.read(paths), group="prompt")

    def fetch(self, url: str) -> None:
        """Attach the picture at a web address, if the person allows it."""
        self.run_worker(self.attachments.come(composing.fetching(self.chat, url)), group="prompt")

    def paste_clipboard(self, media_only: bool = False) -> None:
        """Attach or insert what is on the desktop's clipboard."""
        self.run_worker(composing.paste_clipboard(self.chat, media_only), group="paste")

    def open_history(self, query: str = "") -> None:
        """Search what was asked before."""
        composing.search_history(self.chat, query)

    def open_editor(self, text: str = "") -> None:
        """Let the person write in their own editor."""
        self.run_worker(composing.edit_draft(self.chat, text), group="editor", exclusive=True)

    def show_chips(self) -> None:
        """Draw what is attached."""
        if not self.is_mounted:
            return
        items, plans = self.attachments.items, self.plans
        total = plans.total() if len(items) > 1 else None
        self.query_one(Chips).show(
            items,
            self.attachments.reading,
            plans.facts,
            "" if total is None else " · ".join(cost_words(total)),
            plans.warning() if items else "",
        )
        choosing.show_storyboard(self.chat)

    @on(Storyboard.Chosen)
    def _storyboard_chosen(self, event: Storyboard.Chosen) -> None:
        choosing.open_frames(self.chat, event.part)

    def open_frames(self, which: str = "") -> None:
        """Show the frames of an attached video, and let the person choose others."""
        choosing.open_named(self.chat, which)

    def reframe(self, wish: Wish) -> None:
        """Have an attached video looked at in the frames that were asked for."""
        self.run_worker(reframe(self.attachments, wish), group="prompt")

    @on(Chip.Removed)
    def _chip_removed(self, event: Chip.Removed) -> None:
        kept = [item for item in self.attachments.items if item is not event.item]
        self.attachments.items = kept
        self.composer.focus()


def refusal(text: str) -> str:
    """Return why a text cannot be sent, in a sentence; empty when it can be."""
    paths, text = split_paths(text)
    try:
        if not paths:
            registry.parse(text.rstrip())
    except UsageError as error:
        return str(error)
    return ""
