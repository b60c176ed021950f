"""The media that come with a file of conversations: beside it, in its archive, or written in it.

Pictures are read and held; videos are left where they lie, or unpacked to the disk.
"""

import base64
import binascii
import posixpath
import re
import stat
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import IO, Protocol
from urllib.parse import unquote_to_bytes, urlsplit

from vlmchat.chat.formats.values import BadRow, Limits, MakeMedia, Videos, short
from vlmchat.chat.messages import Clip, Media, VideoPart
from vlmchat.errors import MediaError, UsageError
from vlmchat.text import human_bytes

_DATA_URL = re.compile(r"data:([\w.+/-]*)((?:;[\w=.+-]*)*?)(;base64)?,", re.IGNORECASE)
_SUFFIX = {
    **{"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp", "image/gif": ".gif"},
    **{"image/apng": ".png", "video/mp4": ".mp4", "video/webm": ".webm", "video/mp2t": ".ts"},
    **{"video/quicktime": ".mov", "video/x-matroska": ".mkv", "video/x-msvideo": ".avi"},
}
_PIECE = 1 << 20
_UNSAFE = re.compile(r"[^\w.-]+")


def suffix_of(mime: str) -> str:
    """Return the suffix of files of that media type."""
    return _SUFFIX.get(mime, ".bin")


class Files(Protocol):
    """The folder or the archive that a file of conversations lies in."""

    def read(self, reference: str, most: int) -> bytes:
        """Return the bytes of the file at a path relative to the file of conversations."""

    def lasting(self, reference: str) -> Path | None:
        """Return the path that the same bytes can be read from again, if there is one."""

    def unpack(self, reference: str, target: Path, most: int) -> Path:
        """Return a path that the file can be read from: its own, or `target`, which is made."""

    def names(self) -> Iterable[str]:
        """Return the paths of all files, as `read` takes them."""


class Folder:
    """Files on the disk."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder = folder
        self._limits = limits

    def read(self, reference: str, most: int) -> bytes:
        """Return the bytes of a file.

        Raises:
            BadRow: missing, no regular file, not readable, or too large.
        """
        return read_file(self._folder / reference, most)

    def lasting(self, reference: str) -> Path | None:
        """Return where the file lies."""
        return self._folder.absolute() / reference

    def unpack(self, reference: str, target: Path, most: int) -> Path:
        """Return where the file lies.

        Raises:
            BadRow: missing, no regular file, or too large.
        """
        path = self._folder.absolute() / reference
        with _told(path):
            _check(path, most)
        return path

    def names(self) -> Iterable[str]:
        """Return the files of the folder and of the folders in it."""
        found: list[str] = []
        for pattern in ("*", "*/*", "*/*/*"):
            for path in self._folder.glob(pattern):
                found.append(str(path.relative_to(self._folder)))
                if len(found) > self._limits.max_files:
                    return found
        return found


def read_file(path: Path, most: int) -> bytes:
    """Return the bytes of the regular file at `path`.

    Raises:
        BadRow: missing, no regular file, not readable, or larger than `most`.
    """
    with _told(path):
        _check(path, most)
        return path.read_bytes()


def _check(path: Path, most: int) -> None:
    info = path.stat()
    if not stat.S_ISREG(info.st_mode):
        raise BadRow(f"“{short(path)}” is not a regular file.")
    if info.st_size > most:
        size, allowed = human_bytes(info.st_size), human_bytes(most)
        raise BadRow(f"“{short(path)}” has {size}; the most that is read is {allowed}.")


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what goes wrong with a file into a sentence."""
    try:
        yield
    except FileNotFoundError:
        raise BadRow(f"“{short(path)}” does not exist.") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise BadRow(f"“{short(path)}” cannot be read ({short(why)}).") from None


class Archive:
    """Files in a zip archive, none of which is trusted to be as small as it says."""

    def __init__(self, archive: zipfile.ZipFile, limits: Limits) -> None:
        self._archive = archive
        self._names = {item.filename for item in archive.infolist() if not item.is_dir()}
        if len(self._names) > limits.max_files:
            raise BadRow(f"The archive has more than {limits.max_files} files.")
        self.inside = ""

    def read(self, reference: str, most: int) -> bytes:
        """Return the bytes of a member.

        Raises:
            BadRow: not in the archive, damaged, encrypted, or too large unpacked.
        """
        with self._member(reference) as member:
            data = member.read(most + 1)
        if len(data) > most:
            raise self._too_large(reference, most)
        return data

    @contextmanager
    def _member(self, reference: str) -> Iterator[IO[bytes]]:
        """Yield an open member; what goes wrong while it is read becomes a sentence."""
        name = posixpath.normpath(posixpath.join(self.inside, reference))
        if name not in self._names:
            raise BadRow(f"“{short(reference)}” is not in the archive.")
        try:
            with self._archive.open(name) as member:
                yield member
        except BadRow:
            raise
        except (OSError, RuntimeError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
            raise BadRow(f"“{short(name)}” cannot be unpacked ({short(error)}).") from None
        except Exception as error:  # each compression has errors of its own
            raise BadRow(f"“{short(name)}” is damaged ({short(error)}).") from None

    def _too_large(self, reference: str, most: int) -> BadRow:
        return BadRow(f"“{short(reference)}” has more than {human_bytes(most)} unpacked.")

    def unpack(self, reference: str, target: Path, most: int) -> Path:
        """Write a member to `target`, piece by piece.

        Raises:
            BadRow: as `read`, or the disk is full.
        """
        written = 0
        try:
            with self._member(reference) as member, target.open("xb") as file:
                while piece := member.read(_PIECE):
                    written += len(piece)
                    if written > most:
                        raise self._too_large(reference, most)
                    file.write(piece)
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        return target

    def lasting(self, reference: str) -> Path | None:
        """Return nothing: archives are read once."""
        return None

    def names(self) -> Iterable[str]:
        """Return the members, relative to where the conversations are."""
        inside = f"{self.inside}/" if self.inside else ""
        return (name.removeprefix(inside) for name in self._names)


class Sources:
    """Makes media of what rows say about them; each is read and checked once.

    Args:
        files: what relative paths are relative to.
        make_media: checks bytes and makes a picture of them.
        limits: what is refused.
        videos: how videos are read; rows that have some are refused without.
        kept: an empty folder for pictures that lie in no file of their own; without one they are
            held in memory. It has to stay until they are stored.
    """

    def __init__(
        self,
        files: Files,
        make_media: MakeMedia,
        limits: Limits,
        videos: Videos | None = None,
        kept: Path | None = None,
    ) -> None:
        self._files = files
        self._make = make_media
        self._limits = limits
        self._videos = videos
        self._kept = kept
        self._by_place: dict[str, Media] = {}
        self._by_digest: dict[str, Media] = {}
        # By their place: where a video lies, what is known of it, and the frames by the rules.
        self._unpacked: dict[str, Path] = {}
        self._seen: dict[str, VideoPart] = {}
        self._sampled: dict[str, VideoPart] = {}
        self._assets: dict[str, str] | None = None
        self._held = 0
        self._on_disk = 0

    def get(self, reference: str, name: str | None = None) -> Media:
        """Return the picture that `reference` names: a data: or file: URL, or a path.

        Raises:
            BadRow: it is on the network, missing, or too large.
            MediaError: it is no picture.
        """
        if reference[:5].lower() == "data:":
            return self.from_bytes(*_data_url(reference, "picture"), name)
        reference = _local(reference, "picture")
        if reference not in self._by_place:
            self._by_place[reference] = self._from_file(reference)
        media = self._by_place[reference]
        return media if name is None else replace(media, name=name)

    def video(
        self, reference: str, name: str | None = None, times: tuple[float, ...] | None = None
    ) -> VideoPart:
        """Return the video that `reference` names; it is hashed, and never read whole.

        Args:
            reference: as in `get`.
            name: what it is called; by default what the file is called.
            times: the frames that are meant; those that the rules choose by default.

        Raises:
            BadRow: as `get`, or the times are none.
            MediaError: it is no video, or damaged.
        """
        if self._videos is None:
            raise BadRow("It has a video, and only pictures are read here.")
        if times is not None and len(times) > self._videos.max_frames:
            raise BadRow(
                f"A video names {len(times)} frames; the most are {self._videos.max_frames}."
            )
        if reference[:5].lower() == "data:":
            place, shown = sha256(reference.encode()).hexdigest(), None
        else:
            place = reference = _local(reference, "video")
            shown = posixpath.basename(reference.replace("\\", "/"))
        try:
            part = self._looked_into(self._videos, place, reference, times)
            clip = part.clip if times is None else Clip(times, part.clip.duration)
        except UsageError as error:
            raise error if isinstance(error, BadRow) else BadRow(str(error)) from None
        name = shown if name is None else name
        return VideoPart(part.media if name is None else replace(part.media, name=name), clip)

    def _looked_into(
        self, videos: Videos, place: str, reference: str, times: tuple[float, ...] | None
    ) -> VideoPart:
        known = self._seen if times is not None else self._sampled
        if place not in known:
            if place not in self._unpacked:
                self._unpacked[place] = self._on_the_disk(videos, reference)
            known[place] = videos.open(self._unpacked[place], times)
            self._seen.setdefault(place, known[place])
        return known[place]

    def _on_the_disk(self, videos: Videos, reference: str) -> Path:
        """Return where a video lies, unpacked if need be."""
        most = self._limits.max_video_bytes
        if reference[:5].lower() == "data:" or self._files.lasting(reference) is None:
            most = min(most, self._limits.max_unpacked_bytes - self._on_disk)
        folder = videos.scratch / str(len(self._unpacked))
        folder.mkdir(exist_ok=True)
        try:
            if reference[:5].lower() == "data:":
                data, suffix = _data_url(reference, "video")
                if len(data) > most:
                    raise BadRow(f"A video in the file has more than {human_bytes(most)}.")
                path = folder / f"video{suffix}"
                path.write_bytes(data)
            else:
                base = _UNSAFE.sub("_", posixpath.basename(reference))[-80:].strip(".")
                path = self._files.unpack(reference, folder / (base or "video"), most)
        except OSError as error:
            why = error.strerror or error
            raise BadRow(f"A video cannot be unpacked to {folder} ({why}).") from None
        if path.parent == folder:
            self._on_disk += path.stat().st_size
        return path

    def from_bytes(self, data: bytes, suffix: str, name: str | None = None) -> Media:
        """Return the picture in `data`.

        Raises:
            BadRow: there are too many pictures to hold in memory.
            MediaError: it is none.
        """
        name = f"picture{suffix}" if name is None else name
        digest = sha256(data).hexdigest()
        if digest not in self._by_digest:
            self._by_digest[digest] = self._keep(self._make(data, name))
        return replace(self._by_digest[digest], name=name)

    def asset(self, key: str) -> Media | None:
        """Return the picture whose file's name begins with `key`, if there is one."""
        if self._assets is None:
            self._assets = {}
            for name in sorted(self._files.names()):
                self._assets.setdefault(_asset_key(name), name)
        place = self._assets.get(key.lower())
        if place is None:
            return None
        base = posixpath.basename(place.replace("\\", "/"))
        kept = base[len(key) :].lstrip("-")
        return self.get(place, kept if "." in kept[1:] else base)

    def _from_file(self, reference: str) -> Media:
        data = self._files.read(reference, self._limits.max_picture_bytes)
        name = posixpath.basename(reference.replace("\\", "/"))
        media = self._make(data, name)
        path = self._files.lasting(reference)
        if path is None or media.sha256 != sha256(data).hexdigest():
            return self._keep(media)
        return replace(media, read=partial(_read_again, path, media.sha256, media.size))

    def _keep(self, media: Media) -> Media:
        """Return a picture that stays: in memory, or in the folder for such.

        Raises:
            BadRow: there are too many of them, or the disk is full.
        """
        self._held += media.size
        limits = self._limits
        allowed = limits.max_held_bytes if self._kept is None else limits.max_unpacked_bytes
        if self._held > allowed:
            most = human_bytes(allowed)
            raise BadRow(f"The pictures have more than {most} in all: import fewer at once.")
        if self._kept is None:
            return media
        path = self._kept / media.sha256
        try:
            path.write_bytes(media.data)
        except OSError as error:
            why = error.strerror or error
            raise BadRow(f"A picture cannot be unpacked to {self._kept} ({why}).") from None
        return replace(media, read=partial(_read_again, path, media.sha256, media.size))


def _asset_key(name: str) -> str:
    """Return the identifier that ChatGPT's export begins a file's name with."""
    base = posixpath.basename(name.replace("\\", "/")).lower()
    found = re.match(r"file-[a-z0-9]+|file_[a-z0-9]+", base)
    return found.group() if found else base


def _read_again(path: Path, digest: str, size: int) -> bytes:
    try:
        data = read_file(path, size)
    except BadRow as error:
        raise MediaError(str(error)) from None
    if sha256(data).hexdigest() != digest:
        raise MediaError(f"“{short(path)}” was changed while it was being imported: try again.")
    return data


def _local(reference: str, what: str) -> str:
    """Return the path in a file: URL or a path.

    Raises:
        BadRow: it is on the network, or no path.
    """
    scheme = reference[:8].lower()
    if scheme.startswith(("http:", "https:")):
        raise BadRow(
            f"The {what} {short(reference)} is on the network, and nothing is fetched: "
            "save it beside the file and name it there."
        )
    if scheme.startswith("file:"):
        from urllib.request import url2pathname

        reference = url2pathname(urlsplit(reference).path)
    if not reference or "\0" in reference:
        raise BadRow(f"A {what} has an empty or impossible path.")
    return reference


def _data_url(url: str, what: str) -> tuple[bytes, str]:
    found = _DATA_URL.match(url)
    if found is None:
        raise BadRow(f"A {what}'s data: URL is malformed.")
    payload = url[found.end() :]
    try:
        data = (
            base64.b64decode("".join(payload.split()), validate=True)
            if found.group(3)
            else unquote_to_bytes(payload)
        )
    except (binascii.Error, ValueError):
        raise BadRow(f"A {what}'s base64 text is damaged.") from None
    return data, suffix_of(found.group(1).lower())
