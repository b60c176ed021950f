"""What opens over the chat or beside it: one short method each, for the commands to call."""

import asyncio
from typing import TYPE_CHECKING

from textual.screen import Screen

from vlmchat.errors import UsageError
from vlmchat.talk.turns.tree import Turn
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from vlmchat.talk.front import Front
    from vlmchat.talk.keeping.conversations import Conversations
    from vlmchat.tui.screens.chat import ChatScreen


_FOLDERS = "picker.folders"


class Openers(Screen[None]):
    """The part of the chat screen that opens other screens.

    Attributes:
        library: the saved conversations; ``None`` while they are not kept.
    """

    library: "Conversations | None" = None
    _folder: "Path | None" = None
    _folders: "Sequence[Path]" = ()

    @property
    def chat(self) -> "ChatScreen":
        """The chat screen itself."""
        from vlmchat.tui.screens.chat import ChatScreen

        assert isinstance(self, ChatScreen)
        return self

    @property
    def front(self) -> "Front":
        """The chat screen itself, as commands see it."""
        return self.chat

    @property
    def keeps(self) -> bool:
        """Whether conversations are kept."""
        return self.library is not None

    @property
    def conversations(self) -> "Conversations":
        """The saved conversations.

        Raises:
            UsageError: conversations are not kept.
        """
        if self.library is None:
            raise UsageError("Conversations are not kept: turn chat.save on.")
        return self.library

    def open_picker(self) -> None:
        """Let the person choose picture files."""
        from vlmchat.tui.screens.picker import Picker

        def chosen(paths: "list[Path] | None") -> None:
            if paths:
                self.front.attach(paths)

        self.app.push_screen(Picker(self._folder, tuple(self._folders), self._used), chosen)

    def _used(self, folder: "Path") -> None:
        """Remember where pictures were chosen, the last place first."""
        self._folders = [folder, *(other for other in self._folders if other != folder)][:20]
        self._folder = folder
        if self.library is not None:
            names = [str(other) for other in self._folders]
            self.library.library.post(lambda store: store.remember(_FOLDERS, names))

    async def recall(self) -> None:
        """Take up what was remembered when the program was used before."""
        if self.library is None:
            return
        from vlmchat.errors import VlmchatError
        from vlmchat.talk.desktop.folder import still_there

        try:
            names = await self.library.library.run(lambda store: store.remembered(_FOLDERS))
        except VlmchatError:
            return  # whoever saves the conversation tells that the store is broken
        found = await asyncio.to_thread(still_there, names)
        self._folders = [*self._folders, *(item for item in found if item not in self._folders)]
        self._folder = self._folder or next(iter(self._folders), None)

    def open_gallery(self) -> None:
        """Show every picture that was ever attached."""
        from vlmchat.tui.media_actions import open_gallery

        open_gallery(self.chat)

    def open_viewer(self, which: str = "") -> None:
        """Show the pictures of this conversation large, beginning with that number or name."""
        from vlmchat.tui.media_actions import open_viewer

        open_viewer(self.chat, which)

    def open_crop(self, which: str = "") -> None:
        """Let the person choose a part of the picture of that number or name."""
        from vlmchat.tui.media_actions import open_crop

        open_crop(self.chat, which)

    def open_finetune(self, files: "Sequence[Path]" = ()) -> None:
        """Let the person fine-tune the model on these logs, or on replies that were rated."""
        from vlmchat.tui.screens.finetune.opening import open_finetune

        open_finetune(self.chat, files)

    def open_jobs(self, name: str = "") -> None:
        """Show the fine-tuning jobs, or the one of that name."""
        from vlmchat.tui.screens.finetune.opening import open_jobs

        open_jobs(self.chat, name)

    def open_adapters(self) -> None:
        """Show the adapters on the shelf, and let the person take one."""
        from vlmchat.tui.screens.adapters import open_shelf

        open_shelf(self.chat)

    async def open_judging(self, name: str, files: "Sequence[Path]") -> None:
        """Let the person judge the answers with and without an adapter."""
        from vlmchat.tui.screens.judging import open_judging

        await open_judging(self.chat, name, files)

    def open_why(self, turn: Turn, word: str = "") -> None:
        """Show where a reply looked, or a word of it."""
        from vlmchat.tui.screens.why import open_why

        open_why(self.chat, turn, word)

    def open_evaluation(self) -> None:
        """Show how an evaluation stands: its report, once there is one."""
        from vlmchat.tui.screens.standing import Standing

        self.app.push_screen(Standing("Evaluation", self.front.beside.evaluating, "/eval"))

    def open_batch(self) -> None:
        """Show how a batch stands, and its last answers."""
        from vlmchat.tui.screens.standing import Standing

        self.app.push_screen(Standing("Batch", self.front.beside.batching, "/batch"))

    def open_synth(self) -> None:
        """Show how a set that is being made stands, or what came of it."""
        from vlmchat.tui.screens.standing import Standing

        self.app.push_screen(Standing("Set", self.front.beside.synthesizing, "/synth"))

    def open_located(self) -> None:
        """Show the pictures that were found, and attach what is chosen of them."""
        from vlmchat.tui.screens.locating import Located

        def attach(paths: "list[Path] | None") -> None:
            if paths:
                self.front.attach(paths)

        self.app.push_screen(Located(self.front.beside.locating), attach)

    def open_log(self) -> None:
        """Show the end of the engine's log."""
        from vlmchat.tui.screens.pager import LogPager

        self.app.push_screen(LogPager(self.front.session.engine.log_tail()))

    def open_help(self) -> None:
        """Show keys and commands."""
        from vlmchat.talk.commands.registry import barred
        from vlmchat.tui.screens.pager import HelpPager

        self.app.push_screen(HelpPager(self.chat.keys, barred(self.chat)))

    def open_themes(self) -> None:
        """Let the person choose a theme."""
        from vlmchat.tui.screens.theme_picker import ThemePicker

        self.app.push_screen(ThemePicker(self.chat.settings_in_use.keep_theme))

    def set_theme(self, name: str) -> None:
        """Use another theme.

        Raises:
            UsageError: there is none of that name.
        """
        if name not in self.app.available_themes:
            names = ", ".join(sorted(self.app.available_themes))
            raise UsageError(f"There is no theme “{visible_line(name)}”: there are {names}.")
        self.app.theme = name

    def theme_names(self) -> list[str]:
        """Return the names of the themes there are."""
        return sorted(self.app.available_themes)

    def quit(self) -> None:
        """End the program."""
        self.app.exit(return_code=0)

    def copy(self, text: str) -> None:
        """Put `text` on the clipboard."""
        self.app.copy_to_clipboard(text)

    def action_copy_text(self) -> None:
        """Copy what is selected; with nothing selected, stop the answer, as in a terminal."""
        if text := self.get_selected_text():
            self.copy(text)
            self.clear_selection()  # the next one is free to stop
            self.notify("Copied.", timeout=2)
        elif self.chat.session.answering:
            self.chat.session.stop()
        else:
            self.app.action_help_quit()

    def _shown(self, turn: Turn | None) -> None:
        """Go to a turn that was chosen on another screen."""
        if turn is not None:
            self.run_worker(self.front.go_to(turn), group="prompt")

    def open_tree(self) -> None:
        """Show where in the tree of the conversation the person is."""
        from vlmchat.tui.screens.branches import TreeScreen

        self.app.push_screen(
            TreeScreen(self.front.session.tree, self.front.selected()), self._shown
        )

    def open_comparison(self, one: Turn, other: Turn) -> None:
        """Show two siblings side by side."""
        from vlmchat.tui.screens.comparison import Comparison

        siblings = self.front.session.tree.siblings(one)
        self.app.push_screen(Comparison(siblings, one, other, self._prefer), self._shown)

    def _prefer(self, better: Turn, worse: Turn) -> None:
        if not any(x.kind == "better" and x.other == worse.uid for x in better.labels):
            self.front.session.rate(better, "better", worse)
        for turn in (better, worse):
            self.front.changed(turn)

    def open_provenance(self, turn: Turn) -> None:
        """Show what produced a reply."""
        from vlmchat.tui.screens.provenance import ProvenancePager

        self.app.push_screen(ProvenancePager(turn))

    def open_search(self, text: str) -> None:
        """Search everything ever said, beginning with `text`."""
        from vlmchat.store.records import Hit
        from vlmchat.tui.screens.search import SearchScreen

        def chosen(hit: Hit | None) -> None:
            if hit is not None:
                self.run_worker(self.open_thread(hit.thread, hit.message), group="prompt")

        self.app.push_screen(SearchScreen(self.conversations.library, text), chosen)

    def open_find(self, text: str) -> None:
        """Search this conversation, beginning with `text`."""
        from vlmchat.tui.screens.search import FindScreen

        self.app.push_screen(FindScreen(self.front.session.path, text), self._shown)

    async def open_thread(self, thread: int, message: int | None = None) -> Turn | None:
        """Show a conversation, at a message if one is named; return that turn."""
        from vlmchat.errors import VlmchatError

        front = self.front
        try:
            await self.conversations.open(thread)
            if message is not None and (turn := await self.conversations.turn_of(message)):
                await front.go_to(turn)
                return turn
        except VlmchatError as error:
            front.notice(str(error), "error")
        return None
