"""Walks through every screen of the chat, and shows each to whoever keeps the snapshots."""

import asyncio
import re
import time
from collections.abc import Callable
from pathlib import Path

from textual._context import visible_screen_stack
from textual.strip import Strip
from textual.widgets import Input, OptionList
from textual.worker import WorkerState

from tests.snapshots.world import LOADING, NOW, READY, StillEngine, log_of_receipts, moving
from tests.tui.driving import Chat
from vlmchat.chat.messages import user_message
from vlmchat.client.protocol import Score
from vlmchat.finetune.compare import Contest, Prompt
from vlmchat.finetune.job import BaseModelRef, list_jobs
from vlmchat.finetune.shelf import Adapter, AdapterCard
from vlmchat.media.images import SUFFIXES, load_media
from vlmchat.retrieve.ranking import Found, Ranking
from vlmchat.talk.finetuning.comparing import Both, Comparing
from vlmchat.talk.locating import Wish
from vlmchat.tui.screens.allow_fetch import AllowFetch
from vlmchat.tui.screens.judging import Judging
from vlmchat.tui.screens.settings import SettingsScreen
from vlmchat.tui.widgets.media_grid import MediaGrid
from vlmchat.tui.widgets.picture import PictureCanvas
from vlmchat.tui.widgets.sidebar import Sidebar

# These run as long as the chat does, a job is trained, or nobody has answered.
_ENDLESS = {"session", "themes", "collecting", "jobs", "reading"}


class Walk:
    """One running chat, from screen to screen.

    Args:
        chat: it.
        engine: stands where it is told to.
        folder: with pictures in it.
        seen: is told the name of each screen and its SVG.
    """

    def __init__(
        self, chat: Chat, engine: StillEngine, folder: Path, seen: Callable[[str, str], None]
    ) -> None:
        self.chat = chat
        self.engine = engine
        self.folder = folder
        self._seen = seen

    async def see(self, name: str, wanted: str = "") -> None:
        """Show the screen once `wanted` stands on it and nothing is being done any more."""
        await self._still(wanted)
        self._seen(name, self.chat.app.export_screenshot(simplify=True))

    async def _still(self, wanted: str = "") -> None:
        """Wait until `wanted` stands on the screen, and nothing changes there."""
        deadline = time.monotonic() + 20
        before: list[Strip] = []
        while True:
            now = [] if self._busy() else self._strips()
            if now and now == before and wanted in self.chat.text():
                break
            assert time.monotonic() < deadline, f"No “{wanted}” on:\n{self.chat.text()}"
            before = now
            await asyncio.sleep(0.03)

    def _strips(self) -> list[Strip]:
        """Return what is on the screen."""
        app = self.chat.app
        # What lies below a dialog is drawn with it only where it is named.
        visible_screen_stack.set(app._background_screens)
        return app.screen._compositor.render_strips()

    def _busy(self) -> bool:
        app = self.chat.app
        if (filling := self.chat.screen.transcript._filling) is not None and not filling.done():
            return True
        busy = (WorkerState.PENDING, WorkerState.RUNNING)
        if any(work.state in busy and work.group not in _ENDLESS for work in app.workers):
            return True
        view = app.screen.region
        canvases = (x for screen in app.screen_stack for x in screen.query(PictureCanvas))
        return any(
            canvas.drawn is None and canvas.display and canvas.region.overlaps(view)
            for canvas in canvases
        )

    async def over(self, command: str, name: str, wanted: str, *keys: str) -> None:
        """Show what a command opens, pressing keys in it first, and close it again."""
        await self.open(command)
        if keys:
            await self.chat.pilot.press(*keys)
        await self.see(name, wanted)
        await self.close()

    async def open(self, command: str) -> None:
        """Give a command and wait until it has opened something."""
        before = self.chat.app.screen
        await self.chat.ask(command)
        await self.chat.until(lambda: self.chat.app.screen is not before)

    async def close(self) -> None:
        """Go back to the chat."""
        for _ in range(4):
            if len(self.chat.app.screen_stack) == 1:
                break
            await self.chat.pilot.press("escape")
        assert len(self.chat.app.screen_stack) == 1
        self.chat.composer.focus()
        # What opens next is drawn over the chat as it is now.
        await self._still("ready")


async def beginning(walk: Walk) -> None:
    """While the model loads, and before anything was said."""
    chat = walk.chat
    await chat.until(lambda: chat.session.engine is walk.engine)
    walk.engine.stand(READY)
    await chat.until(lambda: "^p palette" in chat.text())
    await walk.see("welcome", "ready")
    walk.engine.stand(LOADING)
    chat.screen.attach([walk.folder / "lighthouse.bmp"])
    await chat.until(lambda: chat.screen.attachments.media)
    await chat.ask("Is the lighthouse lit?")
    await chat.ask(
        "And is anybody to be seen at the door, on the stairs, or further down by the boats?"
    )
    await chat.until(lambda: len(chat.session.queue) == 2)
    await chat.type("What I write meanwhile")
    await walk.see("loading", "queued")
    for question in list(chat.session.queue):
        chat.session.withdraw(question.number)
    chat.composer.clear_draft()
    walk.engine.stand(READY)


async def conversation(walk: Walk) -> None:
    """A conversation, and what is done in it."""
    chat = walk.chat
    await chat.ask("/chats what do you see in")
    await walk.see("conversation", "brightest")
    await chat.pilot.press("alt+up")
    await walk.see("turn-last", "tokens")
    await chat.pilot.press("home")
    await walk.see("turn", "‹2/3›" if chat.app.size.height > 24 else "lighthouse")
    await chat.pilot.press("down")
    await walk.see("turn-answer", "‹2/3›")
    await chat.pilot.press("escape")
    chat.screen.attach([walk.folder / "lighthouse.bmp", walk.folder / "boats at noon.bmp"])
    await chat.until(lambda: len(chat.screen.attachments.media) == 2)
    await chat.type("Compare these two\nwith those above.")
    await walk.see("chips", "boats at noon")
    chat.screen.attachments.items = []
    chat.composer.clear_draft()
    chat.screen.warn("This conversation is not saved any more: it goes on in memory.")
    await chat.ask("/atach x")
    await walk.see("error", "There is no command")
    chat.composer.clear_draft()
    chat.screen.query_one("#warning").display = False
    await chat.type("/")
    await walk.see("completion", "/attach")
    chat.composer.clear_draft()
    await chat.type("/set te")
    await walk.see("completion-argument", "temperature")
    await chat.pilot.press("escape")
    chat.composer.clear_draft()
    await chat.ask("/edit")
    await walk.see("editing", "Editing")
    await chat.pilot.press("escape")
    await chat.until(lambda: not chat.composer.text)


async def list_of_conversations(walk: Walk) -> None:
    """The sidebar."""
    chat = walk.chat
    await chat.pilot.press("ctrl+b")
    await chat.until(lambda: chat.screen.query(Sidebar))
    await walk.see("sidebar", "Bird feeder")
    await chat.pilot.press("v")
    await walk.see("sidebar-archived", "Broken camera")
    await chat.pilot.press("escape")
    await chat.until(lambda: not chat.screen.query(Sidebar))


async def finding(walk: Walk) -> None:
    """Searches, and the tree."""
    await walk.over("/search lighthouse", "search", "found")
    await walk.over("/search zzz", "search-nothing", "found")
    await walk.over("/find row", "find", "found")
    await walk.over("/history boat", "history", "boat")
    await walk.over("/tree", "tree", "‹3/3›")
    await walk.over("/compare", "comparison", "stands")
    await walk.over("/info", "provenance", "HuggingFaceTB")
    await walk.over("/help", "help", "Commands" if walk.chat.app.size.height > 24 else "Keys")
    await walk.over("/log", "log", "ready:")


async def pictures(walk: Walk) -> None:
    """Picker, viewer, gallery."""
    chat = walk.chat
    chat.screen._folder = walk.folder
    await walk.open("/attach")
    await chat.until(lambda: "14 pictures and videos, by" in chat.text())
    await chat.pilot.press("down", "down", "down", "down", "space", "space")
    await walk.see("picker", "2 marked")
    await walk.close()
    paths = sorted(path for path in walk.folder.iterdir() if path.suffix in SUFFIXES)[:6]
    locating = chat.screen.beside.locating
    locating.wish, locating.done, locating.total = Wish(walk.folder, "a red house"), 7, 7
    locating._ranking = Ranking(
        [Found(path, Score(-8.0 - n, 4, ()), Score(-12.0, 4, ())) for n, path in enumerate(paths)],
        [(walk.folder / "broken.jpg", "It cannot be read.")],
    )
    await walk.open("/locate")
    await chat.pilot.press("space")
    await walk.see("located", "1 marked, Enter attaches it · ")
    await walk.close()
    await walk.open("/view 1")
    await walk.see("viewer", "1/2  lighthouse")
    await chat.pilot.press("i", "plus")
    await walk.see("viewer-facts", "SHA-256")
    await walk.close()
    await walk.open("/gallery")
    await chat.until(lambda: len(chat.app.screen.query_one(MediaGrid).uses) == 2)
    await chat.until(lambda: chat.text().count("▀") > 10)
    await walk.see("gallery", "2 places")
    await walk.close()


async def adjusting(walk: Walk) -> None:
    """Themes, settings, parameters, keys."""
    chat = walk.chat
    await walk.over("/theme", "themes", "harbour")
    await walk.open("/settings")
    screen = chat.app.screen
    assert isinstance(screen, SettingsScreen)
    await chat.until(lambda: screen._states)
    await walk.see("settings", "Settings")
    await chat.pilot.press("enter")
    await walk.see("settings-field", "Settings")
    await walk.close()
    await walk.over("/parameters", "parameters", "Engine")
    await walk.open("/keys")
    await chat.until(lambda: chat.app.screen.query_one(OptionList).option_count > 20)
    await walk.see("keys", "attach")
    await chat.pilot.press("enter")
    await walk.see("key-capture", "Press the key")
    await walk.close()


async def questions(walk: Walk) -> None:
    """The question whether to fetch."""
    chat = walk.chat
    chat.app.push_screen(AllowFetch("pictures.example.org", redirected=True))
    await walk.see("allow-fetch", "Fetch this picture")
    await walk.close()


async def videos(walk: Walk) -> None:
    """The storyboard, the frames, and a video in the conversation."""
    chat = walk.chat
    await chat.ask("/new")  # how long the one before is, is only estimated
    await chat.until(lambda: not chat.session.path)
    chat.screen.attach([moving(walk.folder.parent)])
    await chat.until(lambda: chat.screen.attachments.items)
    await walk.see("storyboard", "24 frames")
    await walk.open("/frames")
    await chat.pilot.press("right", "space", "space", "down")
    await walk.see("frames", "2 dropped")
    await chat.pilot.press("a")
    await walk.see("frames-moment", "Time of the frame")
    await walk.close()
    chat.screen.attachments.items = []


async def finetuning(walk: Walk) -> None:
    """The three steps, and the list of jobs."""
    chat, press = walk.chat, walk.chat.pilot.press
    await walk.over("/finetune", "finetune-sources", "All conversations")
    log = log_of_receipts(walk.folder.parent / "logs")
    await walk.open(f"/finetune {log}")
    await walk.see("finetune-outside", "Read it?")
    await press("t")
    await walk.see("finetune-data", "Example 1 of 61")
    await press("l")
    await walk.see("finetune-left-out", "Rows left out")
    await press("enter")
    await walk.see("finetune-method", "of memory")
    await press("tab", "tab", "tab")
    rank = chat.app.focused
    assert isinstance(rank, Input)
    rank.value = "512"
    await press("enter")
    await walk.see("finetune-no-fit", "It cannot be started so")
    await press("ctrl+t")
    await chat.until(lambda: "Start (Ctrl+S)" in chat.text())
    await press("ctrl+s")
    # The run's screen and the chat below it each look when it suits them.
    following = chat.screen.following
    await chat.until(lambda: following.label == "tuning 67 %")
    await walk.see("finetune-run", "step 60 of 90")
    await press("s")
    await chat.until(lambda: not following.label)
    await walk.see("finetune-ended", "Done (step 60")
    await press("escape")
    await chat.until(lambda: len(chat.app.screen_stack) == 1)
    (job,) = list_jobs()
    made = job.folder / "job.toml"
    made.write_text(re.sub(r"(?m)^created = .*$", f"created = {NOW.timestamp()}", made.read_text()))
    await walk.over("/jobs", "jobs", "sft on")


class StillComparing(Comparing):
    """Has both answers at hand."""

    async def answers(self, prompt: Prompt) -> Both:
        """Return them."""
        return Both(
            "The picture shows a tall building near some water. It may be a tower.",
            "A red and white lighthouse on a rock.",
        )

    async def close(self) -> str:
        """Have nothing to end."""
        return self.contest.tally.sentence()


async def judging(walk: Walk) -> None:
    """An adapter against its base."""
    picture = load_media(walk.folder / "lighthouse.bmp")
    asked = (user_message("What is in the picture?", (picture,)), user_message("And where?"))
    card = AdapterCard(BaseModelRef("tiny", "", ""), sha256="0" * 64)
    adapter = Adapter("receipts", walk.folder, card)
    contest = Contest(adapter, [Prompt((message,)) for message in asked])
    screen = Judging(StillComparing(walk.chat.screen, contest, None, ours=False))
    walk.chat.app.push_screen(screen)
    await walk.see("judging", "A red and white lighthouse")
    await walk.chat.pilot.press("x", "v")
    await walk.see("judging-open", "0 as good, 1 both bad")
    await walk.close()


async def everything(walk: Walk) -> None:
    """Walk through all of it."""
    for part in (
        *(beginning, conversation, list_of_conversations),
        *(finding, pictures, adjusting, questions, videos, finetuning, judging),
    ):
        await part(walk)
