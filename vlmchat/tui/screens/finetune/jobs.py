"""The list of jobs: what was trained, what is being trained, what was left."""

import asyncio
from datetime import datetime
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
from vlmchat.talk.finetuning.watching import JobWatch
from vlmchat.text import visible_line
from vlmchat.tui.screens.finetune.asking import Asking
from vlmchat.tui.screens.finetune.run import RunScreen
from vlmchat.tui.screens.finetune.step import keys_line

if TYPE_CHECKING:
    from vlmchat.finetune.job import Job
    from vlmchat.tui.screens.chat import ChatScreen

POLL_SECONDS = 1.0


class JobsScreen(ModalScreen[None]):
    """Shows the jobs.

    Args:
        chat: that it was opened from.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss(None)", "Close"),
        Binding("r", "resume", "Resume"),
        Binding("d,delete", "delete", "Delete"),
    ]
    DEFAULT_CSS = """
    JobsScreen {
        OptionList { height: 1fr; }
        #jobs-about { height: auto; color: $muted; }
    }
    """

    def __init__(self, chat: "ChatScreen") -> None:
        super().__init__(id="jobs")
        self._chat = chat
        self._jobs: list[tuple[JobWatch, str]] = []
        self._said = ""
        self._drawn: list[Content] | None = None

    def compose(self) -> ComposeResult:
        """Lay out the list."""
        with VerticalGroup(classes="dialog") as dialog:
            dialog.border_title = "Fine-tuning jobs"
            dialog.border_subtitle = keys_line(
                ("Enter opens", "open"),
                ("r resumes", "resume"),
                ("d deletes", "delete"),
                ("Esc closes", "dismiss(None)"),
            )
            yield OptionList()
            yield Static("", id="jobs-about", markup=False)

    def on_mount(self) -> None:
        """Read which there are, now and again."""
        self.query_one(OptionList).focus()
        self._look()
        self.set_interval(POLL_SECONDS, self._look)

    def _look(self) -> None:
        self.run_worker(self._read(), group="jobs-list", exclusive=True)

    async def _read(self) -> None:
        try:
            self._jobs = await asyncio.to_thread(self._found)
        except VlmchatError as error:
            self._said = str(error)
        self._draw()

    def _found(self) -> list[tuple[JobWatch, str]]:
        """Return the jobs with what they are about; blocking."""
        from vlmchat.finetune.job import list_jobs

        known = {watch.job.id: (watch, about) for watch, about in self._jobs}
        found = []
        for job in list_jobs():
            watch, about = known.get(job.id) or (JobWatch(job), _about(job))
            watch.update()
            found.append((watch, about))
        return found

    def _draw(self) -> None:
        lines = self.query_one(OptionList)
        at = lines.highlighted or 0
        rows = [
            Content.assemble(
                (visible_line(watch.job.id), "bold"), "\n", (f"  {watch.where()} · {about}", "")
            )
            for watch, about in self._jobs
        ]
        if rows == self._drawn and not self._said:
            return
        self._drawn = rows
        lines.set_options([Option(row) for row in rows])
        lines.highlighted = min(at, len(rows) - 1) if rows else None
        said = self._said
        if not rows:
            said = said or "There is no job yet: /finetune makes one."
        self.query_one("#jobs-about", Static).update(Content(said))

    @property
    def _chosen(self) -> JobWatch | None:
        place = self.query_one(OptionList).highlighted
        return self._jobs[place][0] if place is not None and place < len(self._jobs) else None

    @on(OptionList.OptionSelected)
    def action_open(self) -> None:
        """Show the job that is chosen."""
        if (watch := self._chosen) is not None:
            self.app.push_screen(RunScreen(self._chat, watch.job))

    def action_resume(self) -> None:
        """Go on with a job that was paused, left, or failed."""
        watch = self._chosen
        if watch is None:
            return
        if watch.alive or watch.state in ("finished", "stopped"):
            self._said = f"“{visible_line(watch.job.id)}” is {watch.state}: Enter opens it."
            self._draw()
            return
        self.app.push_screen(RunScreen(self._chat, watch.job, begin=True))

    def action_delete(self) -> None:
        """Remove a job, once the person is sure."""
        watch = self._chosen
        if watch is None:
            return

        def answered(answer: str | None) -> None:
            if answer == "yes":
                self.run_worker(self._delete(watch), group="delete")

        name = visible_line(watch.job.id)
        self.app.push_screen(
            Asking(
                "Delete the job",
                f"Delete “{name}” with its data and checkpoints?",
                "An adapter that is on the shelf stays there.",
                {"yes": "Yes, delete it", "no": "No"},
            ),
            answered,
        )

    async def _delete(self, watch: JobWatch) -> None:
        try:
            await asyncio.to_thread(watch.job.delete)
            self._said = ""
        except VlmchatError as error:
            self._said = str(error)
        await self._read()


def _about(job: "Job") -> str:
    spec = job.spec()
    when = datetime.fromtimestamp(spec.created).astimezone()
    return f"{spec.settings.method} on {spec.rows:,} rows · {when:%Y-%m-%d %H:%M}"
