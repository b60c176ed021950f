"""``vlmchat serve``: the engine alone, for any OpenAI client."""

import ipaddress
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from vlmchat.cli import options
from vlmchat.cli.overrides import given
from vlmchat.errors import UsageError
from vlmchat.wire import ENGINE_ENVIRONMENT, TOKEN_VARIABLE


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    api_key: Annotated[
        str | None, typer.Option(envvar="VLMCHAT_API_KEY", help="Key that clients must send.")
    ] = None,
    model: options.Model = None,
    quant: options.Quant = None,
    device: options.Device = None,
    adapter: options.Adapter = None,
    threads: options.Threads = None,
    native: options.Native = None,
    media_root: Annotated[
        list[Path] | None,
        typer.Option(help="Folder whose pictures clients may name by file: URL; repeatable."),
    ] = None,
) -> None:
    """Serve the model over OpenAI's chat-completions API."""
    if not _is_loopback(host) and not api_key:
        raise UsageError(
            f"Other machines could reach the engine at {host}: give --api-key, "
            "or listen on 127.0.0.1."
        )
    from vlmchat.models.adapter import find_adapter
    from vlmchat.settings import load_settings

    command = [sys.executable, "-m", "vlmchat.engine", "--host", host, "--port", str(port)]
    command += ["--quant", quant or "auto", "--device", device or "auto"]
    command += ["--model", model] if model else []
    command += ["--adapter", str(find_adapter(adapter))] if adapter else []
    settings = load_settings({"engine": given(threads=threads, native=native)})
    limits = settings.media
    command += ["--threads", str(settings.engine.threads), "--native", settings.engine.native]
    command += ["--max-pixels", str(limits.max_pixels), "--max-bytes", str(limits.max_bytes)]
    command += settings.engine.cache_arguments()
    for root in media_root or ():
        command += ["--media-root", str(root)]
    environment = {**ENGINE_ENVIRONMENT, **os.environ}
    environment.pop(TOKEN_VARIABLE, None)
    if api_key:
        environment[TOKEN_VARIABLE] = api_key
    sys.stdout.flush()
    # The engine takes this process's place: signals and exit codes are its own.
    os.execve(sys.executable, command, environment)


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(serve)
