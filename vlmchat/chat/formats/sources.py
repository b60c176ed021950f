"""The files that come with a file of conversations: pictures beside it, or in its archive."""

import base64
import binascii
import posixpath
import re
import stat
import zipfile
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote_to_bytes, urlsplit

from vlmchat.chat.formats.values import BadRow, Limits, MakeMedia, short
from vlmchat.chat.messages import Media
from vlmchat.errors import MediaError
from vlmchat.text import human_bytes

_DATA_URL = re.compile(r"data:([\w.+/-]*)((?:;[\w=.+-]*)*?)(;base64)?,", re.IGNORECASE)
_SUFFIX = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp", "image/gif": ".gif"}


def suffix_of(mime: str) -> str:
    """Return the suffix of files of that media type."""
    return _SUFFIX.get(mime, ".bin")


class Files(Protocol):
    """The folder or the archive that a file of conversations lies in."""

    def read(self, reference: str, most: int) -> bytes:
        """Return the bytes of the file at a path relative to the file of conversations."""

    def lasting(self, reference: str) -> Path | None:
        """Return the path that the same bytes can be read from again, if there is one."""

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
    name = short(path)
    try:
        info = path.stat()
        if not stat.S_ISREG(info.st_mode):
            raise BadRow(f"“{name}” is not a regular file.")
        if info.st_size > most:
            size, allowed = human_bytes(info.st_size), human_bytes(most)
            raise BadRow(f"“{name}” has {size}; the most that is read is {allowed}.")
        return path.read_bytes()
    except FileNotFoundError:
        raise BadRow(f"“{name}” does not exist.") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise BadRow(f"“{name}” cannot be read ({short(why)}).") from None


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
        name = posixpath.normpath(posixpath.join(self.inside, reference))
        if name not in self._names:
            raise BadRow(f"“{short(reference)}” is not in the archive.")
        try:
            with self._archive.open(name) as member:
                data = member.read(most + 1)
        except (OSError, RuntimeError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
            raise BadRow(f"“{short(name)}” cannot be unpacked ({short(error)}).") from None
        except Exception as error:  # each compression has errors of its own
            raise BadRow(f"“{short(name)}” is damaged ({short(error)}).") from None
        if len(data) > most:
            raise BadRow(f"“{short(name)}” has more than {human_bytes(most)} unpacked.")
        return data

    def lasting(self, reference: str) -> Path | None:
        """Return nothing: archives are read once."""
        return None

    def names(self) -> Iterable[str]:
        """Return the members, relative to where the conversations are."""
        inside = f"{self.inside}/" if self.inside else ""
        return (name.removeprefix(inside) for name in self._names)


class Pictures:
    """Makes pictures of what rows say about them; each is read and checked once.

    Args:
        files: what relative paths are relative to.
        make_media: checks bytes and makes a picture of them.
        limits: what is refused.
    """

    def __init__(self, files: Files, make_media: MakeMedia, limits: Limits) -> None:
        self._files = files
        self._make = make_media
        self._limits = limits
        self._by_place: dict[str, Media] = {}
        self._by_digest: dict[str, Media] = {}
        self._assets: dict[str, str] | None = None
        self._held = 0

    def get(self, reference: str, name: str | None = None) -> Media:
        """Return the picture that `reference` names: a data: or file: URL, or a path.

        Raises:
            BadRow: it is on the network, missing, or too large.
            MediaError: it is no picture.
        """
        scheme = reference[:8].lower()
        if scheme.startswith("data:"):
            return self.from_bytes(*_data_url(reference), name)
        if scheme.startswith(("http:", "https:")):
            raise BadRow(
                f"The picture {short(reference)} is on the network, and nothing is fetched: "
                "save it beside the file and name it there."
            )
        if scheme.startswith("file:"):
            from urllib.request import url2pathname

            reference = url2pathname(urlsplit(reference).path)
        if not reference or "\0" in reference:
            raise BadRow("A picture has an empty or impossible path.")
        if reference not in self._by_place:
            self._by_place[reference] = self._from_file(reference)
        media = self._by_place[reference]
        return media if name is None else replace(media, name=name)

    def from_bytes(self, data: bytes, suffix: str, name: str | None = None) -> Media:
        """Return the picture in `data`.

        Raises:
            BadRow: there are too many pictures to hold in memory.
            MediaError: it is none.
        """
        name = f"picture{suffix}" if name is None else name
        digest = sha256(data).hexdigest()
        if digest not in self._by_digest:
            self._hold(len(data))
            self._by_digest[digest] = self._make(data, name)
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
            self._hold(media.size)
            return media
        return replace(media, read=partial(_read_again, path, media.sha256, media.size))

    def _hold(self, size: int) -> None:
        self._held += size
        if self._held > self._limits.max_held_bytes:
            most = human_bytes(self._limits.max_held_bytes)
            raise BadRow(f"The pictures have more than {most} in all: import fewer at once.")


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


def _data_url(url: str) -> tuple[bytes, str]:
    found = _DATA_URL.match(url)
    if found is None:
        raise BadRow("A picture's data: URL is malformed.")
    payload = url[found.end() :]
    try:
        data = (
            base64.b64decode("".join(payload.split()), validate=True)
            if found.group(3)
            else unquote_to_bytes(payload)
        )
    except (binascii.Error, ValueError):
        raise BadRow("A picture's base64 text is damaged.") from None
    return data, suffix_of(found.group(1).lower())
