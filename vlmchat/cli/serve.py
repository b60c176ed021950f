"""``vlmchat serve``: the engine alone, for any OpenAI client."""

import os
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from vlmchat.cli import options
from vlmchat.cli.overrides import given
from vlmchat.errors import UsageError
from vlmchat.text import visible_line
from vlmchat.wire import ENGINE_ENVIRONMENT, TOKEN_VARIABLE, is_loopback

_KEY = re.compile(r"[!-~]+")  # what may stand in an HTTP header
_ORIGIN = re.compile(r"\*|null|https?://[^/\s]+", re.IGNORECASE)


def read_keys(file: Path | None, given_key: str | None) -> list[str]:
    """Return the keys that open the engine.

    Args:
        file: one key a line; empty lines and those that begin with ``#`` are left out.
        given_key: one key, or several with spaces or commas between them.

    Raises:
        UsageError: the file cannot be read or has none, or a key cannot be sent in a header.
    """
    keys = re.split(r"[\s,]+", given_key.strip()) if given_key and given_key.strip() else []
    if file is not None:
        shown = f"“{visible_line(str(file))}”"
        try:
            lines = [line.strip() for line in file.read_text("utf-8").splitlines()]
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise UsageError(f"The keys in {shown} cannot be read ({reason}).") from None
        found = [line for line in lines if line and not line.startswith("#")]
        if not found:
            raise UsageError(f"There is no key in {shown}: write one a line.")
        keys += found
    if not all(_KEY.fullmatch(key) for key in keys):
        raise UsageError("A key may have letters, digits and signs of ASCII only, and no spaces.")
    return keys


def check_origins(origins: list[str]) -> None:
    """Check the origins of web pages.

    Raises:
        UsageError: one is none.
    """
    for origin in origins:
        if not _ORIGIN.fullmatch(origin.rstrip("/")):
            raise UsageError(
                f"“{visible_line(origin)}” is no origin: write it like https://example.org."
            )


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="VLMCHAT_API_KEY",
            help="Key that clients must send; several with commas. Others on this machine can read "
            "a command line: better set the variable, or use --api-key-file.",
        ),
    ] = None,
    api_key_file: Annotated[
        Path | None,
        typer.Option(envvar="VLMCHAT_API_KEY_FILE", help="File of such keys, one a line."),
    ] = None,
    model: options.Model = None,
    quant: options.Quant = None,
    device: options.Device = None,
    adapter: Annotated[
        list[str] | None,
        typer.Option(
            help="Adapter, by its name on the shelf or a PEFT folder; repeatable: clients choose "
            "by its name, and get the first when they name none."
        ),
    ] = None,
    threads: options.Threads = None,
    native: options.Native = None,
    media_root: Annotated[
        list[Path] | None,
        typer.Option(help="Folder whose pictures clients may name by file: URL; repeatable."),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            help="Web page that may ask, like https://example.org; * for all; repeatable."
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            help="Name, besides localhost, by which requests may call a loopback address, as a "
            "proxy passes it on; repeatable."
        ),
    ] = None,
    max_queue: Annotated[
        int,
        typer.Option(min=0, help="Requests that may wait; more get 429; 0 for any number."),
    ] = 64,
    max_body_mib: Annotated[
        int, typer.Option(min=1, max=4096, help="Largest request, mebibytes.")
    ] = 64,
    max_pictures: Annotated[
        int, typer.Option(min=0, help="Most pictures in one request; 0 for any number.")
    ] = 64,
    max_connections: Annotated[
        int, typer.Option(min=1, help="Connections that may be open at once.")
    ] = 1024,
    body_seconds: Annotated[
        float, typer.Option(min=1, help="Longest time for a request to arrive.")
    ] = 60,
    stop_seconds: Annotated[
        float, typer.Option(min=0, help="Time for answers to end after SIGTERM or Ctrl+C.")
    ] = 30,
) -> None:
    """Serve the model over OpenAI's chat-completions API."""
    keys = read_keys(api_key_file, api_key)
    check_origins(allow_origin or [])
    if not is_loopback(host) and not keys:
        raise UsageError(
            f"Other machines could reach the engine at {host}: give --api-key-file, "
            "or listen on 127.0.0.1."
        )
    from vlmchat.settings import load_settings

    command = [sys.executable, "-m", "vlmchat.engine", "--host", host, "--port", str(port)]
    command += ["--quant", quant or "auto", "--device", device or "auto"]
    command += ["--model", model] if model else []
    command += _adapter_arguments(adapter or [])
    settings = load_settings({"engine": given(threads=threads, native=native)})
    limits = settings.media
    command += ["--threads", str(settings.engine.threads), "--native", settings.engine.native]
    command += ["--max-pixels", str(limits.max_pixels), "--max-bytes", str(limits.max_bytes)]
    command += settings.engine.cache_arguments()
    for name, values in {
        "--media-root": media_root,
        "--allow-origin": allow_origin,
        "--allow-host": allow_host,
    }.items():
        for value in values or ():
            command += [f"{name}={value}"]
    command += ["--max-queue", str(max_queue), "--max-body-mib", str(max_body_mib)]
    command += ["--max-pictures", str(max_pictures), "--max-connections", str(max_connections)]
    command += ["--body-seconds", str(body_seconds), "--stop-seconds", str(stop_seconds)]
    environment = {**ENGINE_ENVIRONMENT, **os.environ}
    for name in (TOKEN_VARIABLE, "VLMCHAT_API_KEY"):
        environment.pop(name, None)
    if keys:
        environment[TOKEN_VARIABLE] = "\n".join(keys)
    sys.stdout.flush()
    # The engine takes this process's place: signals and exit codes are its own, and its command
    # line has no key.
    os.execve(sys.executable, command, environment)


def _adapter_arguments(specs: list[str]) -> list[str]:
    """Return the engine's arguments for adapters.

    Raises:
        UsageError: two of them have the same name, or one is “off”, beside which there is none.
    """
    from vlmchat.models.adapter import OFF, find_adapter

    if OFF in specs:
        if len(specs) > 1:
            raise UsageError("--adapter off stands alone: adapters lie over the model's own.")
        return ["--adapter", OFF]
    folders = [find_adapter(spec) for spec in specs]
    names = [folder.name for folder in folders]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(
                f"Two adapters are called “{visible_line(name)}”, and clients could not tell them "
                "apart: rename a folder."
            )
    return [argument for folder in folders for argument in ("--adapter", str(folder))]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(serve)
