"""Writing what a model sees to files, over none that are there."""

import os
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from vlmchat.chat.messages import Attachment, ImagePart, VideoPart
from vlmchat.errors import UsageError
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from PIL import Image

    from vlmchat.models.looks import Eyes


def save_seen(item: Attachment, eyes: "Eyes", path: Path, folder: Path) -> list[Path]:
    """Write the tiles and frames of a medium that a model gets, and the prompt with their marks.

    A picture becomes ``photo.tile-r1c2.png`` for each tile and ``photo.tile-global.png`` for the
    view of the whole, a video ``clip.frame-003-0m07s.png`` for each frame; the prompt is
    ``photo.prompt.txt``. Where a file's name is taken, all of them begin with ``photo-2``.

    Args:
        item: the picture or video.
        eyes: of the model.
        path: where the medium came from; names the files.
        folder: made if missing.

    Returns:
        The files, the prompt last.

    Raises:
        MediaError: the medium cannot be read.
        UsageError: the folder cannot be written to.
    """
    from vlmchat.media.cutting import tile_pictures
    from vlmchat.media.images import decode
    from vlmchat.media.prompt_text import prompt_text
    from vlmchat.media.tiles import plan_tiles
    from vlmchat.models.looks import sent

    message = sent(item, eyes)
    named: list[tuple[str, Image.Image]] = []
    parts = [part for part in message.parts if isinstance(part, ImagePart)]
    for number, part in enumerate(parts):
        picture = decode(part.media.data, part.media.name)
        plan = plan_tiles(*part.size, eyes.spec, part.detail)
        tiles = tile_pictures(picture, plan, eyes.spec, eyes.resample)
        if isinstance(item, VideoPart):
            named.append((frame_name(number + 1, item.clip.times[number]), tiles[0]))
            continue
        grid = [(row, col) for row in range(plan.rows) for col in range(plan.cols)]
        names = [f"tile-r{row + 1}c{col + 1}.png" for row, col in grid] + ["tile-global.png"]
        named += zip(names, tiles, strict=True)
    text = prompt_text([message], eyes.spec)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stem = _free(folder, path.stem or "medium")
        written = [_png(folder / f"{stem}.{name}", picture) for name, picture in named]
        prompt = folder / f"{stem}.prompt.txt"
        with prompt.open("x", encoding="utf-8", newline="") as file:
            file.write(text)
    except OSError as error:
        shown = visible_line(str(folder))
        why = visible_line(error.strerror or str(error))
        raise UsageError(f"--save: nothing can be written to “{shown}” ({why}).") from error
    return [*written, prompt]


def frame_name(number: int, seconds: float) -> str:
    """Return ``frame-003-0m07s.png``."""
    whole = int(seconds)
    hours = f"{whole // 3600}h" if whole >= 3600 else ""
    minutes = whole // 60 % 60
    shown = f"{minutes:02d}" if hours else str(minutes)
    return f"frame-{number:03d}-{hours}{shown}m{whole % 60:02d}s.png"


def new_file(path: Path, data: bytes) -> Path:
    """Write a file that was not there before, whole or not at all; blocking.

    Raises:
        OSError: it is there, or cannot be written.
    """
    with path.open("xb") as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    return path


def _png(path: Path, picture: "Image.Image") -> Path:
    import io

    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return new_file(path, buffer.getvalue())


def _free(folder: Path, stem: str) -> str:
    """Return `stem`, or with a number behind it, such that no file of the folder begins so."""
    taken = {file.name.casefold() for file in folder.iterdir()}
    for number in count(1):
        name = stem if number == 1 else f"{stem}-{number}"
        starts = tuple(f"{name}.{kind}".casefold() for kind in ("tile-", "frame-", "prompt."))
        if not any(other.startswith(starts) for other in taken):
            return name
    raise AssertionError
