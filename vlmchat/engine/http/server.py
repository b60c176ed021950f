"""The HTTP server, and how it ends: what was begun is finished, within reason."""

import asyncio
import socket
import sys
import time

import uvicorn

from vlmchat.engine.http.app import EngineApp
from vlmchat.engine.http.connections import guarded
from vlmchat.engine.http.gate import Rules

_TICK_SECONDS = 0.05
_LAST_WORDS_SECONDS = 3


class Server(uvicorn.Server):
    """Serves until told to stop; then takes nothing new, and lets answers end.

    Args:
        engine: what answers.
        rules: whom.
        quiet: nothing is told to whoever sits at the terminal.
    """

    def __init__(self, engine: EngineApp, rules: Rules, *, quiet: bool) -> None:
        super().__init__(
            uvicorn.Config(
                engine.asgi(rules),
                http=guarded(engine.crowd),
                ws="none",
                log_level="error",
                access_log=False,
                h11_max_incomplete_event_size=engine.limits.head_bytes,
                timeout_graceful_shutdown=_LAST_WORDS_SECONDS,
            )
        )
        self._line = engine.line
        self._seconds = engine.limits.stop_seconds
        self._quiet = quiet

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take nothing new, wait for what was begun, and end."""
        self._line.stopping = True
        for server in self.servers:
            server.close()
        if count := len(self._line):
            what = "One answer is" if count == 1 else f"{count} answers are"
            self._say(f"Stopping: {what} being finished, for {self._seconds:g} seconds at most.")
            await self._emptied(self._seconds)
        if len(self._line):
            self._line.cut()
            await self._emptied(_LAST_WORDS_SECONDS)
        await super().shutdown(sockets)

    async def _emptied(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while len(self._line) and time.monotonic() < deadline:
            if self.force_exit:
                return
            await asyncio.sleep(_TICK_SECONDS)

    def _say(self, text: str) -> None:
        if not self._quiet:
            print(text, file=sys.stderr, flush=True)
