"""A tiny real video for tests that are about more than decoding it; made once a session."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from tests.media.video.making import film
from vlmchat.chat.messages import VideoPart
from vlmchat.media.attaching import attach
from vlmchat.media.video.plan import Sampling

SECONDS = 3.0


@cache
def folder() -> Path:
    """Return a folder that stays as long as the tests run."""
    made = Path(tempfile.mkdtemp(prefix="vlmchat-films-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


@cache
def film_file(name: str = "clip.mp4", codec: str = "mpeg4") -> Path:
    """Return a file of 3 seconds and 30 numbered frames; MPEG-4 is in every build of libav."""
    path = folder() / name
    film(path, codec, 30, size=(64, 48))
    return path


@cache
def video(name: str = "clip.mp4", codec: str = "mpeg4") -> VideoPart:
    """Return that file as it is attached: three frames, in the first, second and third second."""
    part = attach(film_file(name, codec), sampling=Sampling(fps=1.0)).part
    assert isinstance(part, VideoPart)
    return part
