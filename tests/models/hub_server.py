"""A small HTTP server that speaks enough of the Hub's API to fetch one model from it."""

import hashlib
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import unquote

COMMIT = "a" * 40


class HubServer:
    """Serves the files of a folder as the repository ``owner/tiny``; a context manager.

    Attributes:
        url: what ``HF_ENDPOINT`` is to be.
        fetched: names of the files that were asked for.
        claimed_size: if not 0, the size that the listing gives for the weights.
        break_after: if not 0, the weights break off after so many bytes.
        before_weights: called when the weights are about to be sent.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fetched: list[str] = []
        self.claimed_size = 0
        self.break_after = 0
        self.before_weights: Callable[[], object] = bool
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> "HubServer":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def listing(self) -> list[dict[str, Any]]:
        entries = []
        for file in sorted(self.folder.iterdir()):
            size = file.stat().st_size
            entry: dict[str, Any] = {
                "type": "file",
                "path": file.name,
                "size": size,
                "oid": hashlib.sha1(file.read_bytes()).hexdigest(),
            }
            if file.suffix == ".safetensors" and self.claimed_size:
                entry["size"] = self.claimed_size
            entries.append(entry)
        return entries

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_HEAD(self) -> None:
                self._answer(body=False)

            def do_GET(self) -> None:
                self._answer(body=True)

            def _json(self, value: object, status: int = 200, **headers: str) -> None:
                data = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                for name, text in headers.items():
                    self.send_header(name.replace("_", "-"), text)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(data)

            def _answer(self, body: bool) -> None:
                path = unquote(self.path.partition("?")[0])
                if path in ("", "/"):
                    self._json({})
                elif path.startswith("/api/models/owner/gated"):
                    self._json({"error": "gated"}, 403, X_Error_Code="GatedRepo")
                elif path.startswith("/api/models/owner/tiny/tree/"):
                    self._json(hub.listing())
                elif path.startswith("/api/models/owner/tiny/revision/gone"):
                    self._json({"error": "gone"}, 404, X_Error_Code="RevisionNotFound")
                elif path.startswith("/api/models/owner/tiny"):
                    siblings = [{"rfilename": one["path"]} for one in hub.listing()]
                    self._json({"id": "owner/tiny", "sha": COMMIT, "siblings": siblings})
                elif path.startswith(f"/owner/tiny/resolve/{COMMIT}/"):
                    self._file(hub.folder / Path(path).name, body)
                else:
                    self._json({"error": "none"}, 404, X_Error_Code="RepoNotFound")

            def _file(self, file: Path, body: bool) -> None:
                data = file.read_bytes()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
                self.send_header("X-Repo-Commit", COMMIT)
                if hub.claimed_size and file.suffix == ".safetensors":
                    self.send_header("X-Linked-Size", str(hub.claimed_size))
                self.end_headers()
                if body:
                    hub.fetched.append(file.name)
                    if file.suffix == ".safetensors":
                        hub.before_weights()
                    broken = hub.break_after if file.suffix == ".safetensors" else 0
                    self.wfile.write(data[:broken] if broken else data)
                    if broken:
                        self.close_connection = True

        return Handler
