"""Videos on disk: copied whole or not at all, and never read whole."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.films import film_file, video
from tests.pictures import encoded
from vlmchat.chat.messages import Clip, ImagePart, Region, TextPart, VideoPart, user_message
from vlmchat.errors import VlmchatError
from vlmchat.media.frames import frames_of
from vlmchat.media.images import media_from_bytes
from vlmchat.store import media_files
from vlmchat.store.database import StoreError
from vlmchat.store.store import Store


def never() -> bytes:
    raise AssertionError("a video is not read whole")


@pytest.fixture
def clip(tmp_path: Path) -> VideoPart:
    """Return an attached video whose file may be harmed."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(film_file().read_bytes())
    return replace(video(), media=replace(video().media, file=path, read=never))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def files_in(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "media").rglob("*") if path.is_file())


def test_a_video_is_read_as_it_was_written(home: Path, clip: VideoPart) -> None:
    red = media_from_bytes(encoded(), "red.png")
    parts = (clip, ImagePart(red, 5, Region(1, 2, 30, 40)), VideoPart(clip.media, Clip((0.5,))))
    question = user_message("What?", parts)
    with Store(home) as store:
        thread = store.new_thread()
        store.add(thread, None, question, author="person")
    assert clip.media.file is not None
    clip.media.file.unlink()  # the store has its own
    with Store(home) as store:
        (node,) = store.path(thread)
        assert node.message == question
        found = node.message.attachments[0]
        assert isinstance(found, VideoPart)
        place = home / "media" / clip.media.sha256[:2] / clip.media.sha256
        assert found.media.file == place == store.media_path(clip.media.sha256)
        assert found.media.data == film_file().read_bytes()
        assert len(frames_of(replace(found, clip=Clip((0.3, 2.5))))) == 2
        assert [use.kind for use in store.media_uses()] == ["video", "image", "video"]
        (entry,) = store.conversation(thread).entries
        assert entry.message == question
    assert files_in(home) == sorted([clip.media.sha256, red.sha256])


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda path: path.write_bytes(b"x" * 2000), "has changed since it was attached"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "has changed since"),
        (lambda path: path.unlink(), "is not there any more"),
    ],
)
def test_a_video_that_is_not_what_it_was_is_refused(
    home: Path, clip: VideoPart, harm: Callable[[Path], object], reason: str
) -> None:
    assert clip.media.file is not None
    harm(clip.media.file)
    with Store(home) as store:
        thread = store.new_thread()
        with pytest.raises(StoreError, match=reason):
            store.add(thread, None, user_message("What?", (clip,)), author="person")
        assert store.path(thread) == [] and store.media_uses() == []
    assert files_in(home) == []


def test_purging_keeps_the_videos_that_are_used(home: Path, clip: VideoPart) -> None:
    other = video("other.mp4", "mjpeg")
    with Store(home) as store:
        keep, drop = store.new_thread(), store.new_thread()
        store.add(keep, None, user_message("x", (clip,)), author="person")
        store.add(drop, None, user_message("y", (clip, other)), author="person")
        assert files_in(home) == sorted([clip.media.sha256, other.media.sha256])
        store.change_thread(drop, deleted=time.time() - 10)
        store.purge(time.time())
        assert files_in(home) == [clip.media.sha256]
        (part,) = store.path(keep)[0].message.attachments
        assert part == clip and len(frames_of(replace(clip, media=part.media))) == 3


_COPIER = """
import sys
from pathlib import Path
from vlmchat.chat.messages import Clip, Media, VideoPart, user_message
from vlmchat.store.store import Store
home, pipe = map(Path, sys.argv[1:])
store = Store(home)
media = Media("ab" * 32, "big.mp4", "video/mp4", 4, 3, 10**9, pipe.read_bytes, pipe)
thread = store.new_thread("cut")
store.add(thread, None, user_message("x", (VideoPart(media, Clip((0.0,))),)), author="person")
"""


def test_a_kill_while_copying_leaves_no_half_video(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = tmp_path / "pipe.mp4"  # a file that takes as long as the test likes
    os.mkfifo(pipe)
    child = subprocess.Popen([sys.executable, "-c", _COPIER, str(home), str(pipe)])
    with pipe.open("wb", buffering=0) as file:
        for _ in range(40):  # a write returns when the child has taken most of it
            file.write(b"x" * 100_000)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    with Store(home) as store:
        (thread,) = store.threads()
        assert store.path(thread.id) == [] and store.media_uses() == []
        assert not store.media_path("ab" * 32).exists()
        (left,) = files_in(home)
        assert left.startswith(".new-")
        store.purge(0.0)
        assert files_in(home) == [left]  # somebody may be writing it
        monkeypatch.setattr(media_files, "_ABANDONED_SECONDS", -1.0)
        store.purge(0.0)
        assert files_in(home) == []


def test_a_disk_too_small_for_a_video_is_a_sentence(small_disk: Callable[[int], Path]) -> None:
    folder = small_disk(1_000_000)
    big = folder.parent / "big.mp4"
    big.write_bytes(os.urandom(2_000_000))
    media = replace(video().media, sha256="0" * 64, size=2_000_000, file=big, read=never)
    with Store(folder) as store:
        thread = store.new_thread()
        with pytest.raises(VlmchatError, match="could not be saved"):
            store.add(
                thread, None, user_message("x", (VideoPart(media, video().clip),)), author="person"
            )
        number = store.add(thread, None, user_message("still here"), author="person")
        assert [node.id for node in store.path(thread)] == [number]
        assert store.path(thread)[0].message.parts == (TextPart("still here"),)
    assert files_in(folder) == []
