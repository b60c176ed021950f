"""A real engine process, as the supervisor starts it, for synchronous tests."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import httpx2 as httpx

from vlmchat.wire import TOKEN_VARIABLE

TOKEN = "test-token"


class EngineProcess:
    """``python -m vlmchat.engine --child`` on a random port.

    Args:
        model: folder of the model.
        folder: where its home and its log go.
        arguments: more of its arguments.
    """

    def __init__(self, model: Path | str, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.log_file = folder / "engine.log"
        environment = {**os.environ, TOKEN_VARIABLE: TOKEN, "VLMCHAT_HOME": str(folder / "home")}
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "vlmchat.engine", "--child", "--model", str(model)),
                    *arguments,
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log_file.read_text()
        self.url = f"http://127.0.0.1:{json.loads(line)['port']}"
        headers = {"Authorization": f"Bearer {TOKEN}"}
        self.http = httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()

    def health(self) -> dict[str, Any]:
        """Return what /health says."""
        body: dict[str, Any] = self.http.get("/health").json()
        return body

    def wait_stage(self, *stages: str, seconds: float = 90) -> dict[str, Any]:
        """Wait until the engine is at one of `stages` and return its health."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            body = self.health()
            if body["stage"] in stages:
                return body
            time.sleep(0.05)
        raise AssertionError(f"still {body}: {self.log_file.read_text()}")

    def wait_ready(self) -> dict[str, Any]:
        """Wait until the model is loaded."""
        body = self.wait_stage("ready", "failed")
        assert body["stage"] == "ready", body
        return body

    def chat(self, content: Any, **fields: Any) -> httpx.Response:
        """Ask one question without streaming."""
        body = {"messages": [{"role": "user", "content": content}], "max_tokens": 8, **fields}
        return self.http.post("/v1/chat/completions", json=body)

    def stream(self, content: Any, **fields: Any) -> Iterator[Any]:
        """Ask one question and yield the events' values; None is [DONE]."""
        body = {"messages": [{"role": "user", "content": content}], "max_tokens": 8, **fields}
        body["stream"] = True
        with self.http.stream("POST", "/v1/chat/completions", json=body) as response:
            assert response.status_code == 200, response.read()
            for line in response.iter_lines():
                if line.startswith("data: "):
                    data = line.removeprefix("data: ")
                    yield None if data == "[DONE]" else json.loads(data)
