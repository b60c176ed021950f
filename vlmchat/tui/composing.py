"""What goes on around the composer: editor, clipboard, history, pictures from the web.

Each is a coroutine for a worker of the chat screen: none of them holds its messages up.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vlmchat.errors import VlmchatError
from vlmchat.talk.history import gather_newest

if TYPE_CHECKING:
    from vlmchat.chat.messages import Media
    from vlmchat.tui.screens.chat import ChatScreen


async def edit_draft(chat: "ChatScreen", text: str = "") -> None:
    """Let the person go on with the draft in their editor; `text` is used when there is none."""
    from vlmchat.talk.desktop.external_editor import edit_text
    from vlmchat.tui.suspending import run_apart

    draft = chat.composer.text
    try:
        edited = await edit_text(draft or text, partial(run_apart, chat.app))
    except VlmchatError as error:
        chat.notice(str(error), "error")
        return
    if edited != draft:
        chat.composer.replace_draft(edited)
    chat.composer.focus()


async def paste_clipboard(chat: "ChatScreen", media_only: bool = False) -> None:
    """Paste what is on the clipboard.

    Args:
        chat: where.
        media_only: whether text is not wanted.
    """
    from vlmchat.talk.desktop.clipboard import paste_into

    own = "" if media_only else chat.app.clipboard
    try:
        await paste_into(_Paste(chat), own, media_only)
    except VlmchatError as error:
        chat.notice(str(error), "error")


class _Paste:
    """Takes what was on the clipboard into the chat (see `clipboard.Pasting`)."""

    def __init__(self, chat: "ChatScreen") -> None:
        self._chat = chat

    def attach(self, paths: Sequence[Path]) -> None:
        self._chat.attach(paths)

    def attach_bytes(self, data: bytes, name: str) -> None:
        import asyncio

        from vlmchat.media.images import media_from_bytes

        reading = partial(asyncio.to_thread, media_from_bytes, data, name)
        self._chat.run_worker(self._chat.attachments.come(reading), group="prompt")

    def paste_text(self, text: str) -> None:
        self._chat.composer.paste_text(text)


def search_history(chat: "ChatScreen", query: str = "") -> None:
    """Open the search in what was asked before."""
    from vlmchat.tui.screens.history_search import HistorySearch

    composer = chat.composer

    def chosen(text: str | None) -> None:
        if text is not None:
            composer.replace_draft(text)

    async def entries(limit: int) -> list[str]:
        found = await gather_newest(composer.remembered, composer.asked_before, limit)
        # The command that opened the search would always be the newest find.
        return [text for text in found if not text.startswith("/history")]

    chat.app.push_screen(HistorySearch(entries, query), chosen)


def fetching(chat: "ChatScreen", url: str) -> Callable[[], Awaitable["Media"]]:
    """Return what fetches the picture at `url`, asking the person first; for a worker."""

    async def fetch() -> "Media":
        from vlmchat.media.fetch import fetch_picture, host_of

        typed = host_of(url)

        async def may(host: str) -> bool:
            from vlmchat.tui.screens.allow_fetch import AllowFetch

            if chat.permissions.allowed(host):
                return True
            answer = await chat.app.push_screen_wait(AllowFetch(host, host != typed))
            if answer == "always":
                chat.permissions.allow(host)
            return answer in ("once", "always")

        return await fetch_picture(url, may)

    return fetch
