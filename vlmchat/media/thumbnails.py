"""Small pictures to look at, kept on the disk so that each medium is decoded once.

Everything here reads files and decodes: call it from a worker thread.
"""

import contextlib
import hashlib
import io
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from PIL import Image

from vlmchat import paths
from vlmchat.chat.messages import Media, Region
from vlmchat.errors import MediaError, VlmchatError
from vlmchat.media.images import decode, read_bytes, shrunk
from vlmchat.media.rules import Limits

# Thumbnails are made in these sizes only, so that many places can share one.
SIZES = (128, 256, 512, 1024, 2048)
BUDGET = 96_000_000

Decoder: TypeAlias = Callable[[bytes, str, tuple[int, int], Limits | None], Image.Image]
# How a medium is shown in one picture, by the first half of its media type; a video has to lie in a
# file: see `of_media`.
DECODERS: dict[str, Decoder] = {"image": shrunk}


class ThumbnailCache:
    """A folder of small PNG files with a limit; those not used for longest go first.

    A folder that cannot be written to only means that pictures are decoded again. May be used
    from several threads, and by several programs at once.

    Args:
        folder: made on first use.
        budget: the most that all files together may have, bytes.
    """

    def __init__(self, folder: Path, budget: int = BUDGET) -> None:
        self._folder = folder
        self._budget = budget
        self._lock = threading.Lock()
        self._total: int | None = None

    def get(self, key: str) -> Image.Image | None:
        """Return what was kept as `key`, and note its use."""
        path = self._path(key)
        try:
            data = path.read_bytes()
            image = Image.open(io.BytesIO(data), formats=("PNG",))
            image.load()
        except Exception:  # not there, not whole, not ours: it can be made again
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return image

    def put(self, key: str, image: Image.Image) -> None:
        """Keep `image` as `key`; the file has its name only when it is whole."""
        buffer = io.BytesIO()
        image.save(buffer, "PNG", compress_level=3)
        data = buffer.getvalue()
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
            try:
                # Not synchronised to the disk: what a power cut spoils is made again.
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
                Path(name).replace(path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError:
            return
        self._grown(len(data))

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.png"

    def _grown(self, size: int) -> None:
        with self._lock:
            if self._total is None:
                self._total = sum(item[1] for item in self._files())
            else:
                self._total += size
            if self._total > self._budget:
                self._total = self._trim()

    def _files(self) -> list[tuple[float, int, Path]]:
        found = []
        for path in self._folder.glob("??/*.png"):
            try:
                info = path.stat()
            except OSError:  # another program's trimming was faster
                continue
            found.append((info.st_mtime, info.st_size, path))
        return found

    def _trim(self) -> int:
        """Remove the oldest files until a tenth of the budget is free; return what is left."""
        files = sorted(self._files(), key=lambda item: item[0])
        total = sum(size for _, size, _ in files)
        for _, size, path in files:
            if total <= self._budget * 0.9:
                break
            try:
                path.unlink(missing_ok=True)
            except OSError:
                continue
            total -= size
        return total


_caches: dict[Path, ThumbnailCache] = {}


def default_cache() -> ThumbnailCache | None:
    """Return the cache in the program's cache folder; ``None`` where there can be no folder."""
    try:
        folder = paths.cache_dir() / "thumbnails"
    except VlmchatError:
        return None
    return _caches.setdefault(folder, ThumbnailCache(folder))


def _bucket(size: tuple[int, int]) -> int:
    longest = max(size)
    return next((edge for edge in SIZES if edge >= longest), SIZES[-1])


def cached(sha256: str, size: tuple[int, int]) -> Image.Image | None:
    """Return the thumbnail of the medium with this digest if it was made before; blocking.

    Args:
        sha256: identity of the medium.
        size: the pixels that are needed; the thumbnail may have more, in its own proportions.
    """
    cache = default_cache()
    return cache.get(f"{sha256}-{_bucket(size)}") if cache else None


def thumbnail(
    data: bytes,
    sha256: str,
    size: tuple[int, int],
    name: str = "picture",
    mime: str = "image/png",
    limits: Limits | None = None,
    region: Region | None = None,
) -> Image.Image:
    """Return a small picture of a medium, from the cache or by decoding it; blocking.

    Args:
        data: the medium's bytes.
        sha256: its digest.
        size: the pixels that are needed. The result has the medium's proportions, fits into the
            next larger of the square `SIZES` and is never larger than the medium itself.
        name: how errors call it.
        mime: its media type.
        limits: what is refused before decoding.
        region: the part of a picture that is wanted; ``None`` for all of it.

    Returns:
        An RGB or RGBA picture, as displayed (EXIF orientation applied).

    Raises:
        MediaError: as `vlmchat.media.images.decode`, or of no kind that can be shown.
    """
    if region is not None:
        sha256 += "-" + "-".join(map(str, region.edges))
    if (image := cached(sha256, size)) is not None:
        return image
    decoder = DECODERS.get(mime.partition("/")[0])
    if decoder is None:
        raise MediaError(f"There is no picture to show of the kind “{mime}”.")
    edge = _bucket(size)
    if region is None:
        image = decoder(data, name, (edge, edge), limits)
    else:
        image = decode(data, name, limits).crop(region.edges)
        image.thumbnail((edge, edge), Image.Resampling.LANCZOS)
    if cache := default_cache():
        cache.put(f"{sha256}-{edge}", image)
    return image


def of_media(media: Media, size: tuple[int, int], region: Region | None = None) -> Image.Image:
    """Return a small picture of a picture, a part of it, or a few frames of a video; blocking.

    Raises:
        MediaError: it cannot be read or decoded.
    """
    if media.file is None:
        return thumbnail(media.data, media.sha256, size, media.name, media.mime, region=region)
    return video_thumbnail(media.file, media.sha256, size)


def video_thumbnail(path: Path, key: str, size: tuple[int, int]) -> Image.Image:
    """Return a small picture of a few frames of a video; blocking.

    Args:
        path: of the video.
        key: it is kept as, in the cache: its digest.
        size: the pixels that are needed; see `thumbnail`.

    Raises:
        MediaError: it cannot be read or decoded.
    """
    from vlmchat.media.storyboard import sheet

    edge = min(_bucket(size), 1024)
    if (image := cached(key, (edge, edge))) is not None:
        return image
    image = sheet(path, edge)
    if cache := default_cache():
        cache.put(f"{key}-{edge}", image)
    return image


def file_thumbnail(path: Path, size: tuple[int, int]) -> Image.Image:
    """Return a small picture of a file that is not attached yet; blocking.

    It is known by path, size and time of change, so that a large file need not be read again. A
    video is shown by a few of its frames.

    Raises:
        MediaError: it cannot be read or decoded.
    """
    try:
        info = path.stat()
        key = f"{path.absolute()}\0{info.st_size}\0{info.st_mtime_ns}"
    except OSError:
        key = ""  # reading it tells why
    digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
    if key and (image := cached(digest, size)) is not None:
        return image
    from vlmchat.media.attaching import video_kind

    if key and video_kind(path):
        return video_thumbnail(path, digest, size)
    return thumbnail(read_bytes(path), digest, size, path.name)


def over(image: Image.Image, ground: tuple[int, int, int]) -> Image.Image:
    """Return `image` as RGB with its transparent parts laid over the colour `ground`."""
    if image.mode != "RGBA":
        return image.convert("RGB")
    back = Image.new("RGBA", image.size, (*ground, 255))
    return Image.alpha_composite(back, image).convert("RGB")
