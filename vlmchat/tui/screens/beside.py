"""The list of conversations beside the chat: shown, filled, and obeyed."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from textual import on, work
from textual.color import Color
from textual.content import Content

from vlmchat.errors import VlmchatError
from vlmchat.text import visible_line
from vlmchat.tui.screens.openers import Openers
from vlmchat.tui.widgets.sidebar import Sidebar


def _tiny(
    read: Callable[[str], bytes], where: Callable[[str], Path], digest: str, ground: Color
) -> list[Content]:
    from vlmchat.media.attaching import video_kind
    from vlmchat.tui.tiny import tiny_picture, tiny_video

    path = where(digest)
    if video_kind(path):
        return tiny_video(path, digest, ground)
    return tiny_picture(read(digest), digest, ground)


class Beside(Openers):
    """The part of the chat screen that keeps the sidebar."""

    def toggle_sidebar(self) -> None:
        """Show the list of conversations, or hide it."""
        self.run_worker(self._toggle(), group="sidebar")

    async def _toggle(self) -> None:
        found = self.query(Sidebar)
        if found:
            await found.remove()
            self.front.compose_on()
            return
        sidebar = Sidebar()
        await self.mount(sidebar, before=0)
        sidebar.focus_list()
        await self._fill_sidebar()

    def threads_changed(self) -> None:
        """Draw the list of conversations anew."""
        if self.keeps and self.query(Sidebar):
            self.run_worker(self._fill_sidebar(), group="threads")

    async def _fill_sidebar(self) -> None:
        for sidebar in self.query(Sidebar):
            try:
                threads = await self.conversations.threads(sidebar.archived)
                pictures = await self.conversations.library.run(lambda store: store.covers())
            except VlmchatError as error:
                self.front.notice(str(error), "error")
                return
            sidebar.show(threads, pictures, self.conversations.current)
            self._draw_pictures(sidebar)

    @work(group="thumbnails", exclusive=True)
    async def _draw_pictures(self, sidebar: Sidebar) -> None:
        """Draw the conversations' pictures one by one, without holding anything up."""
        from vlmchat.tui.decoding import or_sentence
        from vlmchat.tui.drawing import style_of

        library, ground = self.conversations.library, sidebar.background_colors[1]
        if style_of(self.app).kind == "off":
            return
        for digest in sidebar.wanted():
            found = await or_sentence(
                partial(_tiny, library.media_data, library.media_path, digest, ground)
            )
            if not isinstance(found, str) and sidebar.is_attached:
                sidebar.picture(digest, found)

    @on(Sidebar.Chosen)
    async def _chosen(self, event: Sidebar.Chosen) -> None:
        self.run_worker(self.open_thread(event.thread), group="prompt")
        if self.size.width < 100:  # there is no room for both
            await self.query(Sidebar).remove()
            self.front.compose_on()

    @on(Sidebar.Changed)
    def _asked(self, event: Sidebar.Changed) -> None:
        self.run_worker(self._change(event.what, event.thread), group="sidebar")

    async def _change(self, what: str, thread: int | None) -> None:
        try:
            if what == "close":
                await self._toggle()
            elif what == "new":
                await self.front.new_conversation()
                self.front.compose_on()
            elif what == "archived":
                sidebar = self.query_one(Sidebar)
                sidebar.archived = not sidebar.archived
            elif what == "undelete":
                await self.conversations.undelete()
            elif thread is not None:
                await self._change_one(what, thread)
        except VlmchatError as error:
            self.front.notice(str(error), "error")
        self.threads_changed()

    async def _change_one(self, what: str, number: int) -> None:
        about = await self.conversations.library.run(lambda store: store.thread(number))
        if what == "delete":
            await self.conversations.delete(number)
            title = visible_line(about.title) or "untitled"
            self.front.notice(f"“{title}” is deleted; u in the list or /undelete brings it back.")
        elif what == "pin":
            await self.conversations.change(number, pinned=not about.pinned)
        elif what == "archive":
            await self.conversations.change(number, archived=not about.archived)
        elif what == "rename":
            await self.open_thread(number)
            self.front.write(f"/rename {about.title}")
