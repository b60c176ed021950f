"""Tab in plain mode: the same offers as in the screen's composer, one a line."""

import asyncio
import inspect
from collections.abc import Sequence
from concurrent.futures import TimeoutError as TooLateError
from typing import TYPE_CHECKING

from vlmchat.talk.commands.completing import offers
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.plain.out import Out
    from vlmchat.plain.reading import TerminalReader
    from vlmchat.talk.commands.base import Completion
    from vlmchat.talk.front import Front

_SECONDS = 2.0
_MOST = 40


async def lines_from(chat: "Front", line: str) -> "list[tuple[str, Completion]]":
    """Return the lines that `line` can become, each with what is offered."""
    kept, found = offers(chat, line)
    items: Sequence[Completion] = await found if inspect.isawaitable(found) else found
    # Readline puts in what all of them begin with: a fuzzy find would take away what is typed.
    return [(kept + item.text, item) for item in items if (kept + item.text).startswith(line)]


class Tab:
    """Readline's completer; it is called in the thread that reads.

    Args:
        chat: what is asked for offers, in its own loop.
        reader: whose line it is.
        out: where several offers are listed.
    """

    def __init__(self, chat: "Front", reader: "TerminalReader", out: "Out") -> None:
        self._chat = chat
        self._reader = reader
        self._out = out
        self._loop = asyncio.get_running_loop()
        self._found: list[tuple[str, Completion]] = []

    def install(self) -> None:
        """Have Tab do it."""
        import readline

        readline.set_completer(self.complete)
        readline.set_completer_delims("")
        libedit = "libedit" in (readline.__doc__ or "")
        readline.parse_and_bind("bind ^I rl_complete" if libedit else "tab: complete")
        if not libedit:
            readline.set_completion_display_matches_hook(self.show)

    def complete(self, text: str, state: int) -> str | None:
        """Return the offer number `state`."""
        begun = self._reader.begun
        if state == 0:
            asked = asyncio.run_coroutine_threadsafe(
                lines_from(self._chat, begun + text), self._loop
            )
            try:
                self._found = asked.result(_SECONDS)
            except (TooLateError, Exception):
                self._found = []  # nothing that goes wrong here is worth an interruption
        if state >= len(self._found):
            return None
        return self._found[state][0].removeprefix(begun)

    def show(self, substitution: str, matches: Sequence[str], longest: int) -> None:
        """Write the offers when there are several."""
        rows = []
        for line, item in self._found[:_MOST]:
            about = item.reason or item.help
            name = item.label or line
            rows.append(visible_line(f"{name}: {about}" if about else name))
        if len(self._found) > _MOST:
            rows.append(f"and {len(self._found) - _MOST} more: type on to narrow them.")
        self._out.rows(rows)
