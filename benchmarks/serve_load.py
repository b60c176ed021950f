"""The served engine under load, then under attack, with a real HTTP client.

``vlmchat serve`` serves the tests' tiny model. Many clients ask about pictures at once: whole
answers, streams, streams read slowly, and questions given up at random moments. Each picture has
an answer of its own, known from an engine that keeps nothing (greedy, so that the picture decides
it): an answer that is lost, doubled or another picture's is found. Memory is compared after the
warm-up and at the end. Then come bodies that are no requests, too large ones, wrong keys, paths
out of the folder and idle connections; printed is what refusing them costs.

    python benchmarks/serve_load.py
    python benchmarks/serve_load.py --clients 8 --requests 5 --idle 200
"""

import argparse
import asyncio
import base64
import contextlib
import io
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psutil
from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.tiny import build_tiny

KEY = "load-test-key"
TOKENS = 16
PICTURES = 24
MEBIBYTE = 1 << 20
ASK = "/v1/chat/completions"


@dataclass
class Tally:
    """What became of the requests.

    Attributes:
        ended: how many, by kind.
        wrong: sentences about what should not have happened.
        waited: how often a client was told to ask again later.
        seconds: of each whole answer.
    """

    ended: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    waited: int = 0
    seconds: list[float] = field(default_factory=list)


class Serving:
    """A running ``vlmchat serve``."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = psutil.Process(process.pid)
        self.url = url

    def client(self, key: str = KEY, connections: int = 200) -> httpx.AsyncClient:
        """Return a client with that key."""
        return httpx.AsyncClient(
            base_url=self.url,
            headers={"Authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(300),
            limits=httpx.Limits(max_connections=connections),
            trust_env=False,
        )

    @property
    def resident(self) -> float:
        """Memory of the process, MiB."""
        return float(self.process.memory_info().rss) / MEBIBYTE

    @property
    def cpu(self) -> float:
        """Processor time of the process, seconds."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


@contextlib.contextmanager
def serving(model: Path, folder: Path, *arguments: str, keeps: bool = True) -> Iterator[Serving]:
    """Start ``vlmchat serve`` and end it.

    Args:
        model: folder of the model.
        folder: for the key and the home.
        arguments: more options.
        keeps: whether pictures and conversations are kept between requests.
    """
    keys = folder / "keys.txt"
    keys.write_text(f"# of this run\n{KEY}\n")
    environment = {**os.environ, "VLMCHAT_HOME": str(folder / "home")}
    if not keeps:
        environment |= {
            f"VLMCHAT_ENGINE__{name}_MIB": "0" for name in ("PICTURES", "CONVERSATIONS")
        }
    command = [sys.executable, "-m", "vlmchat.cli.main", "serve", "--port", "0"]
    command += ["--model", str(model), "--api-key-file", str(keys), *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if found := re.search(r"http://\S+(?=/v1)", line):
                one = Serving(process, found[0])
            if line.strip() == "Ready":
                break
        else:
            raise SystemExit("The engine did not come up.")
        yield one
    finally:
        process.terminate()
        process.wait(60)
        process.stderr.close()


def pictures(count: int, seed: int = 1) -> list[bytes]:
    """Return `count` drawn pictures, no two alike."""
    chance = random.Random(seed)
    found = []
    for _ in range(count):
        image = Image.new("RGB", (64, 48), chance_colour(chance))
        pen = ImageDraw.Draw(image)
        for _ in range(4):
            x, y = chance.randrange(48), chance.randrange(32)
            pen.rectangle((x, y, x + chance.randrange(6, 16), y + 12), fill=chance_colour(chance))
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        found.append(buffer.getvalue())
    return found


def chance_colour(chance: random.Random) -> tuple[int, int, int]:
    """Return any colour."""
    return chance.randrange(256), chance.randrange(256), chance.randrange(256)


def body_of(picture: bytes, *, stream: bool = False) -> dict[str, Any]:
    """Return a request about `picture`."""
    url = "data:image/png;base64," + base64.b64encode(picture).decode()
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What?"}]
    return {
        "messages": [{"role": "user", "content": content}],
        "max_tokens": TOKENS,
        "stream": stream,
    }


async def references(one: Serving) -> tuple[list[bytes], list[str]]:
    """Return pictures, and what an engine answers that was not asked about them; no two alike."""
    known: dict[str, bytes] = {}
    async with one.client() as client:
        for picture in pictures(2 * PICTURES):
            answer = (await client.post(ASK, json=body_of(picture))).json()
            known.setdefault(answer["choices"][0]["message"]["content"], picture)
            if len(known) == PICTURES:
                break
    print(f"pictures with an answer of their own: {len(known)}")
    return list(known.values()), list(known)


async def pieces(response: httpx.Response) -> AsyncIterator[str]:
    """Yield the text of a streamed answer."""
    async for line in response.aiter_lines():
        if not line.startswith("data: {"):
            continue
        event = json.loads(line[6:])
        if "error" in event:
            raise RuntimeError(event["error"]["message"])
        for choice in event["choices"]:
            if text := choice["delta"].get("content"):
                yield text


class Asker:
    """One client that asks again and again.

    Args:
        client: the connections.
        known: pictures and their answers.
        tally: where is noted what became of it.
        seed: of its chances.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        known: tuple[list[bytes], list[str]],
        tally: Tally,
        seed: int,
    ) -> None:
        self._client = client
        self._known = list(zip(*known, strict=True))
        self._tally = tally
        self._chance = random.Random(seed)

    async def run(self, requests: int) -> None:
        """Ask `requests` questions, one after the other."""
        kinds = ("whole", "stream", "slow reader", "given up waiting", "given up reading")
        for _ in range(requests):
            picture, expected = self._chance.choice(self._known)
            (kind,) = self._chance.choices(kinds, weights=(45, 25, 10, 10, 10))
            try:
                await self._ask(kind, picture, expected)
            except (httpx.HTTPError, RuntimeError, KeyError, ValueError) as error:
                self._tally.wrong.append(f"{kind}: {type(error).__name__} {error}")
                continue
            self._tally.ended[kind] += 1

    async def _ask(self, kind: str, picture: bytes, expected: str) -> None:
        if kind == "given up waiting":
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._chance.uniform(0.001, 0.3)):
                    await self._client.post(ASK, json=body_of(picture))
            return
        began = time.perf_counter()
        while True:
            said = await self._said(kind, picture)
            if said is not None:
                break
            self._tally.waited += 1
        self._tally.seconds.append(time.perf_counter() - began)
        whole = kind != "given up reading"
        if said != expected if whole else not expected.startswith(said):
            self._tally.wrong.append(f"{kind}: “{said}” for “{expected}”")

    async def _said(self, kind: str, picture: bytes) -> str | None:
        """Return the answer; ``None`` after waiting as long as the server asked."""
        body = body_of(picture, stream=kind != "whole")
        async with self._client.stream("POST", ASK, json=body) as response:
            if response.status_code == 429:
                await asyncio.sleep(int(response.headers["retry-after"]) * self._chance.random())
                return None
            if response.status_code != 200:
                raise RuntimeError(f"HTTP {response.status_code} {(await response.aread())!r}")
            if kind == "whole":
                answer = json.loads(await response.aread())
                return str(answer["choices"][0]["message"]["content"])
            found: list[str] = []
            async for piece in pieces(response):
                found.append(piece)
                if kind == "slow reader":
                    await asyncio.sleep(self._chance.uniform(0.01, 0.1))
                if kind == "given up reading" and self._chance.random() < 0.3:
                    break
            return "".join(found)


async def load(
    one: Serving, known: tuple[list[bytes], list[str]], clients: int, each: int
) -> Tally:
    """Let `clients` ask `each` questions at the same time."""
    tally = Tally()
    async with one.client() as client:
        askers = [Asker(client, known, tally, seed) for seed in range(clients)]
        await asyncio.gather(*(asker.run(each) for asker in askers))
        for _ in range(200):  # those who left are noticed in a moment
            if "vlmchat_requests_in_line 0.0" in (await client.get("/metrics")).text:
                return tally
            await asyncio.sleep(0.05)
    tally.wrong.append("requests stay in the line that nobody waits for")
    return tally


@dataclass(frozen=True, slots=True)
class Attack:
    """What one kind of nuisance cost.

    Attributes:
        name: what it was.
        count: how often.
        refused: how many of them were refused as they should be.
        cpu: processor time of the engine for each, milliseconds.
        grown: memory of the engine afterwards, MiB more than before.
    """

    name: str
    count: int
    refused: int
    cpu: float
    grown: float

    def __str__(self) -> str:
        return (
            f"{self.name:<28} {self.refused:6} of {self.count:<6} refused "
            f"{self.cpu:9.2f} ms processor each {self.grown:+8.1f} MiB"
        )


async def attacked(one: Serving, idle: int) -> list[Attack]:
    """Return what each kind of nuisance cost."""
    file = {"type": "image_url", "image_url": {"url": "file:///srv/../etc/passwd"}}
    escape = json.dumps({"messages": [{"role": "user", "content": [file]}]}).encode()
    broken = [b"", b"{", b"\xff", b"[" * 100_000, b"null", b'{"messages": 1}', b"9" * 5000]
    found = []
    for name, status, bodies, key in (
        ("no requests", {400}, broken * 20, KEY),
        ("wrong keys", {401}, [b"{}"] * 200, "guess"),
        ("paths out of the folder", {400}, [escape] * 100, KEY),
        ("bodies of 100 MB", {413}, [bytes(100_000_000)] * 5, KEY),
        ("100 MB with a wrong key", {401}, [bytes(100_000_000)] * 5, "guess"),
    ):
        cpu, memory, refused = one.cpu, one.resident, 0
        async with one.client(key) as client:
            for body in bodies:
                with contextlib.suppress(httpx.TransportError):
                    refused += (await client.post(ASK, content=body)).status_code in status
        spent = (one.cpu - cpu) / len(bodies) * 1000
        found.append(Attack(name, len(bodies), refused, spent, one.resident - memory))
    found.append(await _idlers(one, idle))
    return found


async def _idlers(one: Serving, wanted: int) -> Attack:
    """Leave connections open that ask nothing, and see that others are answered meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    count = wanted if soft == resource.RLIM_INFINITY else min(wanted, soft - 100)
    host, port = one.url.removeprefix("http://").split(":")
    cpu, memory, idlers = one.cpu, one.resident, []
    slowest = 0.0
    async with one.client() as client:
        for number in range(count):
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection(host, int(port))
                writer.write(b"GET /v1/models HT")
                idlers.append((reader, writer))
            if number % max(count // 20, 1) == 0:
                began = time.perf_counter()
                assert (await client.get("/v1/models")).status_code == 200
                slowest = max(slowest, time.perf_counter() - began)
        text = (await client.get("/metrics")).text
        still = float(re.findall(r"^vlmchat_connections (\S+)", text, re.MULTILINE)[0])
        refused = max(count - int(still) + 1, 0)  # one of those kept is ours
    spent = (one.cpu - cpu) / max(count, 1) * 1000
    for _, writer in idlers:
        writer.transport.abort()
    print(f"idle connections: {len(idlers)} opened, {still:g} kept; others waited {slowest:.3f} s")
    return Attack("idle connections", count, refused, spent, one.resident - memory)


async def apart(model: Path, folder: Path) -> tuple[list[bytes], list[str]]:
    """Return `references` of an engine of their own that keeps nothing."""
    with serving(model, folder, keeps=False) as one:
        return await references(one)


async def measured(
    model: Path,
    folder: Path,
    clients: int,
    requests: int,
    idle: int,
    known: tuple[list[bytes], list[str]] | None = None,
) -> bool:
    """Do all of it; return whether nothing was wrong.

    Args:
        model: folder of the tests' tiny model.
        folder: for keys and homes.
        clients: how many.
        requests: of each.
        idle: connections that ask nothing.
        known: pictures and their answers; by default those of the engine itself before the load.
    """
    with serving(model, folder, "--max-queue", str(max(clients * 4 // 5, 1))) as one:
        known = known or await references(one)
        await load(one, known, min(clients, 10), max(requests // 2, 2))
        warm = one.resident
        began, cpu = time.perf_counter(), one.cpu
        tally = await load(one, known, clients, requests)
        seconds = time.perf_counter() - began
        after = one.resident
        total = sum(tally.ended.values())
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(tally.ended.items()))
        print(f"{clients} clients × {requests}: {total} ended in {seconds:.1f} s ({kinds})")
        print(f"told to ask again later: {tally.waited}; engine's processor {one.cpu - cpu:.1f} s")
        print(f"wrong: {len(tally.wrong)} {tally.wrong[:5]}")
        print(f"memory: {warm:.1f} MiB warm, {after:.1f} MiB after ({after - warm:+.1f})")
        attacks = await attacked(one, idle)
        print("\n".join(map(str, attacks)))
        async with one.client() as client:
            picture, expected = known[0][0], known[1][0]
            answer = (await client.post(ASK, json=body_of(picture))).json()
            alive = answer["choices"][0]["message"]["content"] == expected
        print(f"afterwards it answers as before: {alive}; memory {one.resident:.1f} MiB")
    whole = total == clients * requests and not tally.wrong and after - warm < 30
    return whole and alive and all(a.refused == a.count for a in attacks[:-1])


def main() -> int:
    """Run it; the exit code says whether all was as it should be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--requests", type=int, default=20, help="of each client")
    parser.add_argument("--idle", type=int, default=10_000, help="idle connections")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        model = build_tiny(place / "tiny")
        known = asyncio.run(apart(model, place))
        sizes = options.clients, options.requests, options.idle
        return 0 if asyncio.run(measured(model, place, *sizes, known)) else 1


if __name__ == "__main__":
    sys.exit(main())
