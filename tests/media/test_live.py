"""A live source: real films as they play, real streams over loopback."""

import contextlib
import io
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from PIL import Image

from tests.media.video.making import animation, film, number_of
from vlmchat.errors import MediaError, UsageError
from vlmchat.media import live
from vlmchat.media.live import LiveSource, longest_edge
from vlmchat.media.live_names import Opening, opening


def until(predicate: Callable[[], object], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not predicate():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("source", "platform", "url", "format_", "title"),
    [
        ("0", "linux", "/dev/video0", "v4l2", "camera 0"),
        ("/dev/video2", "linux", "/dev/video2", "v4l2", "camera 2"),
        ("1", "darwin", "1:none", "avfoundation", "camera 1"),
        ("1", "win32", "video=Back", "dshow", "camera 1"),
        ("rtsp://me:secret@cam.local:554/live/", "linux", None, None, "cam.local:554/live"),
        ("https://host/a/b.m3u8?key=1", "linux", None, None, "host/a/b.m3u8"),
        ("films/clip.mp4", "linux", None, None, "clip.mp4"),
    ],
)
def test_what_a_source_is_called_and_how_it_is_opened(
    source: str, platform: str, url: str | None, format_: str | None, title: str
) -> None:
    plan = opening(source, platform, lambda: ["Front", "Back"])
    assert (plan.url, plan.format, plan.title) == (url or source, format_, title)
    if plan.kind == "stream":
        assert "file" not in plan.options["protocol_whitelist"].split(",")


@pytest.mark.parametrize(
    ("source", "platform", "words"),
    [
        ("", "linux", "Name what to watch"),
        ("ftp://host/x", "linux", "“ftp://” is not watched"),
        ("rtsp://", "linux", "is no address"),
        ("http://host:port/", "linux", "is no address"),
        ("3", "win32", "There is no camera 3: there are 0 (Front)."),
        ("3", "plan9", "Cameras are not known on plan9"),
    ],
)
def test_what_nothing_is_called(source: str, platform: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        opening(source, platform, lambda: ["Front"])
    assert words in str(caught.value)


def test_a_film_plays_in_real_time_and_only_the_newest_frame_is_seen(tmp_path: Path) -> None:
    path = film(tmp_path / "clip.mp4", count=300, fps=20)
    with LiveSource(opening(str(path)), 80) as source:
        source.start()
        began = time.monotonic()
        first = source.newest(0, 10)
        assert first is not None and number_of(first.image) == 0 and first.image.size == (80, 60)
        time.sleep(0.6)  # an answer takes its time
        later = source.newest(first.number, 10)
        passed = time.monotonic() - began
        assert later is not None and number_of(later.image) == later.number - 1
        assert later.time == pytest.approx(number_of(later.image) / 20, abs=0.01)
        assert passed - 0.4 < later.time < passed + 0.2
        picture = later.as_media("clip.mp4")
        assert Image.open(io.BytesIO(picture.data)).size == (picture.width, picture.height)
        closing = time.monotonic()
    assert time.monotonic() - closing < 0.5 and source.ended and source.error is None


def test_a_film_ends(tmp_path: Path) -> None:
    with LiveSource(opening(str(film(tmp_path / "a.mkv", count=5, fps=20)))) as source:
        source.start()
        until(lambda: source.ended)
        last = source.newest(1, 0)
        assert last is not None and number_of(last.image) == 4 and source.error is None
        assert source.newest(last.number, 0) is None


def test_what_cannot_be_opened_is_said(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("hello")
    cases = {
        str(tmp_path / "none.mp4"): "does not exist",
        str(tmp_path / "text.mp4"): "is not a video",
        str(animation(tmp_path / "a.gif")): "attach it rather than watch it",
        "rtsp://user:secret@127.0.0.1:9/x": "127.0.0.1:9/x” cannot be opened",
        "http://127.0.0.1:9/x": "check the address",
    }
    if sys.platform.startswith("linux"):
        cases["97"] = "There is no camera 97 here"
    for source, words in cases.items():
        with pytest.raises(MediaError) as caught, LiveSource(opening(source)) as it:
            it.open()
        assert words in str(caught.value) and "secret" not in str(caught.value)


class Server:
    """Serves one MPEG transport stream over HTTP, as often as it is asked.

    Args:
        data: the stream.
        cut: how many bytes of it the first who asks gets before the connection breaks.
    """

    def __init__(self, data: bytes, cut: int | None = None) -> None:
        self._data, self._cut = data, cut
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.asked = 0
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/live.ts"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(4096)
                self.asked += 1
                length = f"Content-Length: {len(self._data)}\r\n"
                head = f"HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\n{length}\r\n"
                cut = self._cut if self.asked == 1 else None
                try:
                    connection.sendall(head.encode() + self._data[:cut])
                except OSError:
                    continue

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes whoever waits in accept
        self._listener.close()


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    data = film(tmp_path / "live.ts", count=20, fps=20, gop=5).read_bytes()
    servers: list[Server] = []

    def make(cut: int | None = None) -> Server:
        servers.append(Server(data, None if cut is None else len(data) * cut // 100))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


def test_a_stream_over_http_is_seen_and_ends(stream: Callable[..., Server]) -> None:
    with LiveSource(opening(stream().url)) as source:
        source.start()
        first = source.newest(0, 10)
        assert first is not None and first.image.size == (160, 120)
        until(lambda: source.ended)
        last = source.newest(first.number, 0)
        assert last is not None and number_of(last.image) == 19 and source.error is None


def test_a_stream_that_breaks_off_is_connected_again(stream: Callable[..., Server]) -> None:
    server, said = stream(cut=50), list[str]()
    with LiveSource(opening(server.url), say=said.append, again=(0.05, 0.1)) as source:
        source.start()
        until(lambda: source.ended)
        assert source.error is None, source.error
        last = source.newest(0, 0)
        assert last is not None and number_of(last.image) == 19
    title = server.url.removeprefix("http://")
    assert server.asked == 2
    assert said[0].startswith(f"“{title}” broke off (") and said[0].endswith("connecting again.")
    assert said[1:] == [f"“{title}” is back."]


def test_a_stream_that_does_not_come_back_is_given_up(stream: Callable[..., Server]) -> None:
    server = stream(cut=50)
    with LiveSource(opening(server.url), again=(0.05, 0.05)) as source:
        source.start()
        assert source.newest(0, 10) is not None
        server.close()
        until(lambda: source.ended)
        assert "did not come back in 2 tries" in str(source.error)


def test_a_device_that_never_ends_is_left_at_once() -> None:
    pattern = "testsrc=size=320x240:rate=20"
    device = Opening("camera", pattern, "pattern", "lavfi", paced=True)
    with LiveSource(device, 100) as source:
        source.start()
        seen = source.newest(0, 10)
        assert seen is not None and seen.image.size == (100, 75)
        began = time.monotonic()
    assert time.monotonic() - began < 0.5


def test_one_tile_unless_more_is_wished() -> None:
    assert [longest_edge(detail) for detail in ("auto", "low", "high", 5)] == [512, 512, None, None]


def test_the_names_alone_bring_no_decoder() -> None:
    code = "import sys, vlmchat.media.live_names as _; print('av' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_looking_often_at_large_frames_takes_the_memory_of_one() -> None:
    device = Opening("camera", "testsrc=size=1920x1080:rate=60", "pattern", "lavfi", paced=True)
    process = psutil.Process()
    with LiveSource(device, 100) as source:
        source.start()
        number, before = 0, 0
        for look in range(60):
            seen = source.newest(number, 10)
            assert seen is not None
            number = seen.number
            if look == 10:
                before = process.memory_info().rss
        assert process.memory_info().rss - before < 40_000_000  # fifty frames have 150 MB


def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_OPEN_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/live.ts"
        with pytest.raises(MediaError, match="sends nothing"), LiveSource(opening(url)) as source:
            source.open()
