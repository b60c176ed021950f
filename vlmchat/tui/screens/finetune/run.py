"""The third step: a job as it runs, or as it ended. Closing it changes nothing about the job."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalGroup, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from vlmchat.errors import VlmchatError
from vlmchat.talk.finetuning.following import result_words, use_words
from vlmchat.talk.finetuning.watching import JobWatch
from vlmchat.text import visible, visible_line
from vlmchat.tui.screens.finetune.asking import Asking
from vlmchat.tui.screens.finetune.step import StepScreen, keys_line, step_title
from vlmchat.tui.screens.pager import LogPager
from vlmchat.tui.widgets.plot import Plot

if TYPE_CHECKING:
    from vlmchat.finetune.examples import Example
    from vlmchat.finetune.job import Job, Request
    from vlmchat.finetune.shelf import Adapter
    from vlmchat.tui.screens.chat import ChatScreen

POLL_SECONDS = 0.5
_SHOWN_ANSWERS = 2
_SIGNS = {
    "running": "●",
    "paused": "‖",
    "finished": "✓",
    "stopped": "■",
    "failed": "✗",
    "dead": "✗",
    "prepared": "○",
}


class RunScreen(StepScreen):
    """Shows a job.

    Args:
        chat: that it was opened from.
        job: that exists.
        begin: start it.
        unload: the chat's engine leaves the memory while it runs.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "leave", "Close"),
        Binding("p,space", "pause", "Pause"),
        Binding("s", "stop", "Stop"),
        Binding("c", "cancel", "Cancel"),
        Binding("l", "log", "Log"),
        Binding("a", "apply", "Apply"),
    ]
    DEFAULT_CSS = """
    RunScreen {
        #run-where { height: auto; text-style: bold; }
        #run-figures, #run-losses { height: auto; color: $muted; }
        Plot { height: 3fr; min-height: 6; margin-top: 1; }
        #run-samples { height: 2fr; min-height: 3; max-height: 14; background: $panel;
            padding: 0 1; margin-top: 1; }
        #run-answers { width: 100%; }
    }
    """

    def __init__(
        self, chat: "ChatScreen", job: "Job", *, begin: bool = False, unload: bool = False
    ) -> None:
        super().__init__(chat, "finetune-run")
        self.job = job
        self.watch_job = JobWatch(job)
        self.adapter: Adapter | None = None
        self._begin, self._unload = begin, unload
        self._asked: dict[int, Example] = {}
        self._busy = False
        self._doing = ""
        self._trouble = ""
        self._adopted = False

    def compose(self) -> ComposeResult:
        """Lay out figures, plot and answers."""
        with VerticalGroup(classes="dialog step-dialog") as dialog:
            dialog.border_title = step_title(2, visible_line(self.job.id))
            yield Static("", id="run-where", markup=False)
            yield Static("", id="run-figures", markup=False)
            yield Static("", id="run-losses", markup=False)
            yield Plot()
            with VerticalScroll(id="run-samples"):
                yield Static("", id="run-answers", markup=False)
            yield Static("", classes="step-said", markup=False)

    def on_mount(self) -> None:
        """Look at the job now and then."""
        self.say("")
        self.query_one("#run-samples").focus()
        if self._begin:
            self._do("Starting the trainer …", self._start)
        self.run_worker(self._first(), group="job")
        self.set_interval(POLL_SECONDS, self._look)

    async def _start(self) -> None:
        await self.chat.following.start(self.job, unload=self._unload)

    # Looking ----------------------------------------------------------------------------------

    async def _first(self) -> None:
        await self._update(always=True)
        try:
            self._asked = await asyncio.to_thread(self._questions)
        except VlmchatError:
            return  # the answers stand without their questions
        self._show()

    def _questions(self) -> "dict[int, Example]":
        most = self.job.spec().settings.samples
        return dict(enumerate(islice(self.job.examples("validation"), most)))

    def _look(self) -> None:
        if not self._busy:
            self.run_worker(self._update(), group="job")

    async def _update(self, always: bool = False) -> None:
        if self._busy:
            return
        self._busy = True
        try:
            changed = await asyncio.to_thread(self.watch_job.update)
            watch = self.watch_job
            if watch.result and not watch.alive and not self._adopted:
                self._adopted = changed = True
                await self._adopt()
            if changed or always:
                self._show()
        finally:
            self._busy = False

    async def _adopt(self) -> None:
        from vlmchat.finetune.adopting import adopt_once

        try:
            self.adapter = await asyncio.to_thread(adopt_once, self.job)
        except VlmchatError as error:
            self._trouble = str(error)

    # Showing ----------------------------------------------------------------------------------

    def _show(self) -> None:
        watch = self.watch_job
        sign = _SIGNS[watch.state]
        self.query_one("#run-where", Static).update(Content(f"{sign} {watch.where()}"))
        for name, text in (("figures", watch.figures()), ("losses", watch.losses())):
            line = self.query_one(f"#run-{name}", Static)
            line.update(Content(text))
            line.display = bool(text)
        measured = [(step, loss) for step, loss, _ in watch.validation]
        self.query_one(Plot).show(watch.training, measured, watch.steps)
        self.query_one("#run-answers", Static).update(self._answers())
        self._show_end()
        self.query_one(".dialog").border_subtitle = keys_line(*self._keys())

    def _answers(self) -> Content:
        pieces: list[tuple[str, str]] = []
        for index, said in sorted(self.watch_job.samples.items()):
            if (example := self._asked.get(index)) is not None:
                question = next(
                    (m.text for m in reversed(example.messages) if m.role == "user"), ""
                )
                wanted = next((m.text for m in reversed(example.all_messages)), "")
                pieces.append((f"{visible_line(question.strip())}", "bold"))
                pieces.append((f"\n  wanted  {visible_line(wanted.strip())}\n", "$muted"))
            else:
                pieces.append((f"Validation row {index + 1}\n", "bold"))
            for step, text in _changes(said)[-_SHOWN_ANSWERS:]:
                pieces.append((f"  step {step:,}  ", "$muted"))
                pieces.append((f"{visible(text.strip()) or '(nothing)'}\n", ""))
        if not pieces:
            return Content.styled(
                "Answers to validation rows come with each measurement.", "$muted"
            )
        return Content.assemble(*pieces)

    def _show_end(self) -> None:
        watch = self.watch_job
        if self._trouble:
            self.say(self._trouble, trouble=True)
        elif self._doing:
            self.say(self._doing)
        elif watch.state == "failed" and watch.error is not None:
            self.say(f"{visible_line(watch.error.message)} l shows the log.", trouble=True)
        elif watch.state == "dead":
            self.say("The trainer is gone. p goes on from the last checkpoint.", trouble=True)
        elif watch.result and self._adopted:
            self.say(f"Done{result_words(watch)}: {use_words(self.adapter)}")
        else:
            self.say("")

    def _keys(self) -> list[tuple[str, str]]:
        watch = self.watch_job
        keys: list[tuple[str, str]] = []
        if watch.alive:
            keys.append(("p resumes" if watch.state == "paused" else "p pauses", "pause"))
            keys += [("s stops, best kept", "stop"), ("c cancels", "cancel")]
        elif watch.state in ("paused", "dead", "failed", "prepared"):
            keys.append(("p goes on" if watch.steps else "p starts", "pause"))
        if self.adapter is not None:
            keys.append(("a answers with it", "apply"))
        closes = "Esc: it goes on" if watch.alive else "Esc closes"
        return [*keys, ("l log", "log"), (closes, "leave")]

    # Keys -------------------------------------------------------------------------------------

    def _do(self, what: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do `work` even if this is closed meanwhile; say what it is, and what is wrong with it."""
        if self._doing:
            return
        self._doing, self._trouble = what, ""
        self.say(what)
        self.chat.run_worker(self._done(work), group="jobs")

    async def _done(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except VlmchatError as error:
            self._trouble = str(error)
            if not self.is_mounted:
                self.chat.notice(str(error), "error")
        finally:
            self._doing = ""
        if self.is_mounted:
            await self._update(always=True)

    async def _ask_trainer(self, request: "Request") -> None:
        await asyncio.to_thread(self.job.ask, request)

    def action_pause(self) -> None:
        """Pause, resume, or go on with what was left."""
        watch = self.watch_job
        if watch.alive:
            request: Request = "resume" if watch.state == "paused" else "pause"
            what = "Going on …" if request == "resume" else "Pausing …"
            self._do(what, lambda: self._ask_trainer(request))
        elif watch.state in ("paused", "dead", "failed", "prepared"):
            self._do("Starting the trainer …", self._start)

    def action_stop(self) -> None:
        """End it, and keep the best adapter so far."""
        if self.watch_job.alive:
            self._do("Stopping: the best adapter so far is kept …", self._stop)

    async def _stop(self) -> None:
        await self._ask_trainer("stop")

    def action_cancel(self) -> None:
        """End it without a result, once the person is sure."""
        if not self.watch_job.alive:
            return

        def answered(answer: str | None) -> None:
            if answer == "yes":
                self._do("Cancelling …", lambda: self._ask_trainer("cancel"))

        self.app.push_screen(
            Asking(
                "Cancel the job",
                f"Cancel “{visible_line(self.job.id)}”? There will be no adapter.",
                "s stops it too, and keeps the best adapter so far.",
                {"yes": "Yes, cancel it", "no": "No"},
            ),
            answered,
        )

    def action_log(self) -> None:
        """Show the end of the job's log."""
        self.run_worker(self._log(), group="log", exclusive=True)

    async def _log(self) -> None:
        text = await asyncio.to_thread(self.watch_job.log_tail)
        self.app.push_screen(LogPager(text, "Log of the job"))

    def action_apply(self) -> None:
        """Answer with the adapter from now on."""
        if self.adapter is None:
            return
        try:
            self.chat.change_engine(adapter=str(self.adapter.folder))
        except VlmchatError as error:
            self._trouble = str(error)
            self._show_end()
            return
        self.dismiss(True)

    def action_leave(self) -> None:
        """Close; the job goes on."""
        self.dismiss(True)


def _changes(said: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Return the answers that differ from the one before."""
    found: list[tuple[int, str]] = []
    for step, text in said:
        if not found or found[-1][1] != text:
            found.append((step, text))
    return found
