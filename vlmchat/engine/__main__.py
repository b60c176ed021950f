"""``python -m vlmchat.engine``: serve one model until told to stop, or until the parent is gone."""

import argparse
import json
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from vlmchat.engine.caching.limits import MEBIBYTE, CacheLimits
from vlmchat.engine.http.app import EngineApp
from vlmchat.engine.http.gate import Rules
from vlmchat.engine.http.limits import Limits as HttpLimits
from vlmchat.engine.http.server import Server
from vlmchat.engine.service import EngineService, State
from vlmchat.media.rules import DEFAULT_LIMITS, Limits, MediaRules, use_rules
from vlmchat.models.adapter import OFF
from vlmchat.models.progress import ProgressSink
from vlmchat.wire import TOKEN_VARIABLE, is_loopback

if TYPE_CHECKING:
    from vlmchat.engine.loading import LoadedModel

log = logging.getLogger("vlmchat.engine")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the engine's arguments."""
    result = argparse.ArgumentParser("python -m vlmchat.engine", description=__doc__)
    result.add_argument("--model", help="catalogue name, Hub id or folder (default: chosen)")
    result.add_argument("--quant", choices=["auto", "none", "8bit", "4bit"], default="auto")
    result.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    result.add_argument(
        "--adapter",
        type=Path,
        action="append",
        default=[],
        help="folder of a PEFT adapter; the first of several answers who names none; "
        "off takes away the model's own",
    )
    result.add_argument("--host", default="127.0.0.1")
    result.add_argument("--port", type=int, default=0)
    result.add_argument("--media-root", type=Path, action="append", default=[])
    result.add_argument("--threads", type=int, default=0, help="0 follows the load")
    result.add_argument("--native", choices=["auto", "off"], default="auto")
    result.add_argument(
        "--conversations-mib",
        type=int,
        help="memory for conversations that were read (default: by what is free)",
    )
    result.add_argument(
        "--pictures-mib",
        type=int,
        default=CacheLimits().pictures // MEBIBYTE,
        help="memory for pictures that were looked at",
    )
    result.add_argument(
        "--pictures-disk-mib",
        type=int,
        default=0,
        help="the same on the disk, where it outlives the conversation",
    )
    result.add_argument(
        "--pictures-folder", type=Path, help="where on the disk (default: the cache folder)"
    )
    result.add_argument("--embedder", type=Path, help="folder of a CLIP or SigLIP model")
    result.add_argument("--max-pixels", type=int, default=DEFAULT_LIMITS.max_pixels)
    result.add_argument("--max-bytes", type=int, default=DEFAULT_LIMITS.max_bytes)
    _add_serving(result)
    result.add_argument(
        "--child",
        action="store_true",
        help="end when standard input closes; name the port on standard output",
    )
    return result


def _add_serving(result: argparse.ArgumentParser) -> None:
    """Add what bounds the clients, and says who they may be."""
    limits = HttpLimits()
    most = limits.body_bytes // MEBIBYTE
    result.add_argument("--allow-origin", action="append", default=[])
    result.add_argument("--allow-host", action="append", default=[])
    result.add_argument("--max-queue", type=int, default=limits.queue)
    result.add_argument("--max-body-mib", type=int, default=most)
    result.add_argument("--max-pictures", type=int, default=limits.pictures)
    result.add_argument("--max-connections", type=int, default=limits.connections)
    result.add_argument("--body-seconds", type=float, default=limits.body_seconds)
    result.add_argument("--stop-seconds", type=float, default=limits.stop_seconds)


def http_limits(options: argparse.Namespace) -> HttpLimits:
    """Return what the arguments let clients take."""
    return HttpLimits(
        body_bytes=options.max_body_mib * MEBIBYTE,
        body_seconds=options.body_seconds,
        connections=options.max_connections,
        pictures=options.max_pictures,
        queue=options.max_queue,
        stop_seconds=options.stop_seconds,
    )


def rules_of(options: argparse.Namespace) -> Rules:
    """Return who is let in; the keys come from the environment, where only their owner sees them.

    On a loopback address a request must call this machine by a name of its own: there only a
    browser that was led astray calls it otherwise. Elsewhere nobody knows what it is called.
    """
    keys = os.environ.pop(TOKEN_VARIABLE, "").split("\n")
    hosts = options.allow_host if is_loopback(options.host) else ("*",)
    return Rules([key for key in keys if key], options.allow_origin, hosts)


def cache_limits(options: argparse.Namespace) -> CacheLimits:
    """Return how much the arguments let be kept."""
    conversations = options.conversations_mib
    return CacheLimits(
        None if conversations is None else max(conversations, 0) * MEBIBYTE,
        max(options.pictures_mib, 0) * MEBIBYTE,
        max(options.pictures_disk_mib, 0) * MEBIBYTE,
        options.pictures_folder,
    )


def exit_with_parent() -> None:
    """End this process when standard input reaches its end.

    The pipe closes when the parent ends, by whatever means, SIGKILL among them.
    """

    def wait() -> None:
        while os.read(0, 4096):
            pass
        log.info("the parent is gone")
        os._exit(0)  # from any thread, in the middle of any computation

    threading.Thread(target=wait, name="parent", daemon=True).start()


def hand_over(port: int) -> None:
    """Tell the parent the port, then send standard output where standard error goes."""
    print(json.dumps({"port": port}), flush=True)
    os.dup2(2, 1)


def listening(options: argparse.Namespace) -> socket.socket:
    """Return the socket that connections come to.

    Raises:
        OSError: the address or the port is not to be had.
    """
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listener = socket.create_server((options.host, options.port), family=family)
    # Inherited by every connection. The event loop sets it only on sockets made with the protocol's
    # number; without it each answer's second packet waits 40 ms for the first to be acknowledged.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def loader(options: argparse.Namespace) -> Callable[[ProgressSink], "LoadedModel"]:
    """Return what brings the model up that the arguments ask for."""

    def load(progress: ProgressSink) -> "LoadedModel":
        from vlmchat.engine.loading import LoadOptions, load_model

        adapter = next(iter(options.adapter), None)
        off = str(adapter) == OFF
        wanted = LoadOptions(
            options.model,
            options.quant,
            options.device,
            None if off else adapter,
            options.threads,
            native=options.native,
            own_adapter=not off,
        )
        return load_model(wanted, progress)

    return load


def main() -> int:
    """Serve until ended; return the exit code."""
    options = parser().parse_args()
    use_rules(MediaRules(Limits(options.max_bytes, options.max_pixels)))
    logging.basicConfig(
        level=logging.INFO if options.child else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    if options.child:
        exit_with_parent()
    else:
        logging.getLogger("vlmchat").setLevel(logging.CRITICAL)  # the announcer says it better
    service = EngineService(loader(options), cache_limits(options))
    service.also = {folder.name: folder for folder in options.adapter[1:]}
    app = EngineApp(service, options.media_root, http_limits(options), options.embedder)
    try:
        listener = listening(options)
    except OSError as error:
        reason = error.strerror or error
        print(
            f"vlmchat: {options.host} port {options.port} cannot be listened on ({reason}): "
            "choose another with --port.",
            file=sys.stderr,
        )
        return 3
    port = listener.getsockname()[1]
    log.info("listening on %s port %d, process %d", options.host, port, os.getpid())
    server = Server(app, rules_of(options), quiet=options.child)
    if options.child:
        hand_over(port)
    else:
        host = f"[{options.host}]" if ":" in options.host else options.host
        service.on_state = Announcer(server, f"http://{host}:{port}/v1")
    server.run(sockets=[listener])
    return 3 if service.state.stage == "failed" and not options.child else 0


class Announcer:
    """Tells the person at the terminal what the engine does; ends it when loading fails.

    A child's parent asks for the same over HTTP, and shows the failure itself.
    """

    def __init__(self, server: Server, url: str) -> None:
        self._server = server
        self._url = url
        self._last = ""
        print(f"Serving at {url}", file=sys.stderr, flush=True)

    def __call__(self, state: State) -> None:
        """Print what changed."""
        text = state.text
        if state.total:
            text += f" ({10 * int(10 * state.done / state.total)} %)"
        if state.stage == "failed":
            text = f"vlmchat: {text}"
            self._server.should_exit = True
        if text != self._last:
            self._last = text
            print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
