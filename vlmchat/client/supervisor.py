"""Keeps the local engine: starts it, knows its address, sees it die, ends it."""

import asyncio
import contextlib
import json
import os
import secrets
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from vlmchat import paths
from vlmchat.client.api import EngineClient
from vlmchat.client.protocol import EngineStatus
from vlmchat.errors import EngineError, EngineUnreachableError
from vlmchat.wire import ENGINE_ENVIRONMENT, TOKEN_VARIABLE

_POLL_SECONDS = 0.1
_START_SECONDS = 30.0
_STOP_SECONDS = 5.0
_LOG_TAIL = 40
_LOG_BYTES = 5_000_000


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What the local engine is started with; ``None`` leaves the choice to it.

    Attributes:
        model: catalogue name, Hub id (``owner/name`` or ``owner/name@revision``) or folder.
        quant: ``auto``, ``none``, ``8bit`` or ``4bit``.
        device: ``auto``, ``cpu`` or ``cuda``.
        adapter: folder of a PEFT adapter; ``off`` for none, not even the model's own.
        threads: to compute with; 0 follows the load of the machine.
        native: ``auto``, or ``off`` for no compiled code.
        max_pixels: larger pictures are refused; ``None`` for the engine's default.
        max_bytes: larger files are refused; ``None`` for the engine's default.
    """

    model: str | None = None
    quant: str = "auto"
    device: str = "auto"
    adapter: str | None = None
    threads: int = 0
    native: str = "auto"
    max_pixels: int | None = None
    max_bytes: int | None = None
    extra: tuple[str, ...] = field(default=())

    def arguments(self) -> list[str]:
        """Return the command-line arguments of ``python -m vlmchat.engine``."""
        arguments = ["--quant", self.quant, "--device", self.device]
        arguments += ["--threads", str(self.threads), "--native", self.native]
        if self.model:
            arguments += ["--model", self.model]
        if self.adapter:
            arguments += ["--adapter", self.adapter]
        if self.max_pixels is not None:
            arguments += ["--max-pixels", str(self.max_pixels)]
        if self.max_bytes is not None:
            arguments += ["--max-bytes", str(self.max_bytes)]
        return [*arguments, *self.extra]


class LocalEngine:
    """One engine process at a time, restartable.

    The engine's standard input is a pipe of ours: when this process ends, however it ends, the
    pipe closes and the engine exits. Its first line on standard output names its port; all else it
    prints goes to the log.

    Args:
        options: what the engine is started with.
        log_file: where its output goes; ``engine.log`` in the log folder by default.
        command: the program; it gets ``--child`` and the options' arguments.
    """

    def __init__(
        self,
        options: EngineOptions,
        log_file: Path | None = None,
        command: tuple[str, ...] = (sys.executable, "-m", "vlmchat.engine"),
    ) -> None:
        self.options = options
        self.command = command
        self.log_file = log_file or paths.log_dir() / "engine.log"
        self._process: asyncio.subprocess.Process | None = None
        self._client: EngineClient | None = None

    @property
    def client(self) -> EngineClient:
        """The client of the running engine.

        Raises:
            EngineError: it is not running.
        """
        if self._client is None:
            raise EngineError("The engine is not running: restart it.")
        return self._client

    @property
    def pid(self) -> int | None:
        """The engine's process id, while it runs."""
        process = self._process
        return process.pid if process and process.returncode is None else None

    async def start(self) -> None:
        """Start the process and wait until it listens (not until its model is loaded).

        Raises:
            EngineError: it did not come up; the sentence names the log.
        """
        await self.stop()
        self._rotate_log()
        token = secrets.token_urlsafe(32)
        environment = {**ENGINE_ENVIRONMENT, **os.environ, TOKEN_VARIABLE: token}
        environment["PYTHONUNBUFFERED"] = "1"
        # Unlike a handle kept open here, appending by the child survives us and each other.
        with self.log_file.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(*self.command, "--child", *self.options.arguments()),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=environment,
                # A terminal's Ctrl+C goes to the whole group: it is the chat's to interpret.
                start_new_session=True,
            )
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(_START_SECONDS):
                line = await self._process.stdout.readline()
            port = int(json.loads(line)["port"])
        except (TimeoutError, ValueError, KeyError, TypeError):
            await self.stop()
            raise EngineError(
                f"The engine did not start: the reason is at the end of {self.log_file}."
            ) from None
        self._client = EngineClient(f"http://127.0.0.1:{port}", token)

    def _rotate_log(self) -> None:
        """Set a log that has grown aside, once; the one before it is given up."""
        with contextlib.suppress(OSError):
            if self.log_file.stat().st_size > _LOG_BYTES:
                self.log_file.replace(self.log_file.with_suffix(".log.1"))

    async def watch(self) -> AsyncIterator[EngineStatus]:
        """Yield the engine's status whenever it changes, until it is ready, failed or dead.

        The last status has the stage ``ready`` or ``failed``.
        """
        last: EngineStatus | None = None
        while last is None or last.stage not in ("ready", "failed"):
            status = await self._status()
            if status != last:
                yield status
            last = status
            if status.stage not in ("ready", "failed"):
                await asyncio.sleep(_POLL_SECONDS)

    async def _status(self) -> EngineStatus:
        if self.pid is None:
            return EngineStatus("failed", self.death_notice())
        try:
            return await self.client.status()
        except EngineUnreachableError:
            # Dying or only busy: whether it ends within a moment says which.
            await asyncio.sleep(_POLL_SECONDS)
            dead = self._process is None or self._process.returncode is not None
            text = self.death_notice() if dead else "Waiting for the engine"
            return EngineStatus("failed" if dead else "starting", text)
        except EngineError as error:
            return EngineStatus("failed", str(error))

    async def wait_ready(self) -> EngineStatus:
        """Return the status once the model is loaded.

        Raises:
            EngineError: loading failed or the process died; the sentence says why.
        """
        statuses = [status async for status in self.watch()]
        if statuses[-1].stage == "failed":
            raise EngineError(statuses[-1].text)
        return statuses[-1]

    async def exited(self) -> str:
        """Wait until the engine's process ends and return the sentence that says so."""
        if self._process is not None:
            await self._process.wait()
        return self.death_notice()

    def death_notice(self) -> str:
        """Return one sentence about how the process ended."""
        code = self._process.returncode if self._process else None
        if code is None:
            return "The engine is not running."
        if code == -9:
            how = "was killed (by the system if memory ran out)"
        elif code < 0:
            how = f"was ended by signal {-code}"
        else:
            how = f"ended with exit code {code}"
        return f"The engine {how}; its log is {self.log_file}."

    def log_tail(self, lines: int = _LOG_TAIL) -> str:
        """Return the last lines of the engine's log."""
        try:
            with self.log_file.open("rb") as log:
                log.seek(0, os.SEEK_END)
                log.seek(max(0, log.tell() - 64 * 1024))
                text = log.read().decode("utf-8", "replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    async def stop(self) -> None:
        """End the process, gently at first, and forget its address."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()
        process = self._process
        if process is None or process.returncode is not None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
