"""Fonts and pictured objects from package registries: `python -m vlmchat.demo.drawing.sources`.

They are collected once into the cache folder (``demo-drawing``; ``VLMCHAT_DRAWING_DIR`` names
another), by the registries' own clients, each archive checked by its SHA-256. Drawing works
without them: then texts have one font, and three objects can be pictured. What is drawn from a
seed is the same wherever the same packages were collected.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from vlmchat import paths
from vlmchat.errors import ModelError
from vlmchat.text import visible_line

_LIMIT = 300.0  # seconds that a client may take for one package


@dataclass(frozen=True, slots=True)
class Package:
    """A package of a registry that something is taken from.

    Attributes:
        registry: whose client fetches it.
        name: how the registry calls it.
        version: the one that is taken.
        sha256: of the archive that the client brings.
        licence: of what is taken from it.
        taken: what that is, for a person.
        pick: a pattern of the files that are taken, matched with the end of their path.
        installed: a file of the package that may stand on the machine already, with its SHA-256.
    """

    registry: Literal["npm", "debian"]
    name: str
    version: str
    sha256: str
    licence: str
    taken: str
    pick: str
    installed: tuple[str, str] | None = None

    @property
    def folder(self) -> str:
        """The name of the folder that holds what was taken."""
        return f"{re.sub(r'[^a-z0-9-]+', '-', self.name).strip('-')}-{self.version}"


def _font(name: str, sha256: str, licence: str) -> Package:
    title = name.replace("-", " ").title()
    return Package(
        "npm", f"@fontsource/{name}", "5.3.0", sha256, licence,
        f"the font {title}, regular and bold", r"-latin-[47]00-normal\.woff",
    )  # fmt: skip


FONTS = (
    _font(
        "dejavu-sans",
        "e5b56597f3d5d198428a2fbd0281ab0119867cdbeb6f3ea6c747196f84f8717d",
        "Bitstream Vera and public domain",
    ),
    _font(
        "open-sans", "95e6dd90f5860d0de22f791b6d802598743762c62e4894bfa26f80b1ea0cf3f5", "OFL-1.1"
    ),
    _font("roboto", "77620f437249772e381698224ea1bddd01c985ecd60267a63ddc96b9eb9348f7", "OFL-1.1"),
    _font("lato", "50db251f16e9a6c35fe0177b4692b7ec78478b9734c9272d980a75343638aa5c", "OFL-1.1"),
    _font("arimo", "df44945077a74905969f15bba3b442f9fb6773818b2b59c970911deace01132f", "OFL-1.1"),
    _font("nunito", "4d8e1fb4f4a40c125c7a302b21e5c6810b86569b60bac0fa0405c04380f4c77b", "OFL-1.1"),
    _font("tinos", "218a9f3dfc1f43e595835ba84ffb1f69723f27cab54a50b5acd64c0fe067dbe2", "OFL-1.1"),
    _font(
        "noto-serif", "846d219c2c9c668ebe2b5ca0e76c403a35f847d83c4c441c107f9bdc152830df", "OFL-1.1"
    ),
    _font("cousine", "a450d4756b5b9e666464df668728dbf1c6d62548b61324d4ac5778a5da27a3b8", "OFL-1.1"),
)
"""The fonts; those without serifs first. Arimo, Tinos and Cousine are drawn like Liberation."""
NOTO = Package(
    "debian",
    "fonts-noto-color-emoji",
    "2.042-0+deb12u1",
    "a5ab0f69c7938423862320d9aca5dd187b3fd879d6a9a57dd52e17c3fa8d2751",
    "OFL-1.1",
    "pictured objects of Noto Color Emoji",
    r"/NotoColorEmoji\.ttf",
    (
        "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf",
        "e5899ed38b8ed83e08bd3ac5de09791e9d19d288333a796de1d35ad17396f1ec",
    ),
)
FLUENT = Package(
    "npm",
    "@lobehub/fluent-emoji-3d",
    "1.1.0",
    "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58",
    "MIT",
    "pictured objects of Microsoft's Fluent Emoji",
    r"/[0-9a-f-]+\.webp",
)
PACKAGES = (*FONTS, NOTO, FLUENT)
_PLAIN = len(FONTS) - 3  # that many fonts have no serifs and letters of several widths


def home() -> Path:
    """Return the folder of what is collected, made if missing."""
    return _home(os.environ.get("VLMCHAT_DRAWING_DIR", ""), os.environ.get("VLMCHAT_HOME", ""))


@lru_cache(maxsize=8)
def _home(folder: str, _vlmchat_home: str) -> Path:
    path = Path(folder).expanduser() if folder else paths.cache_dir() / "demo-drawing"
    path.mkdir(parents=True, exist_ok=True)
    return path


def missing() -> list[Package]:
    """Return the packages that were not collected yet."""
    return [package for package in PACKAGES if not (home() / package.folder).is_dir()]


def forget() -> None:
    """Look at the folder anew: what was found there is kept for speed."""
    _home.cache_clear()
    _files.cache_clear()


@lru_cache(maxsize=64)
def _files(folder: Path, names: tuple[str, ...], suffix: str) -> tuple[str, ...]:
    found = (sorted((folder / name).glob(f"*{suffix}")) for name in names)
    return tuple(str(path) for group in found for path in group)


def fonts() -> tuple[str, ...]:
    """Return the files of all fonts that were collected, in a fixed order."""
    return _files(home(), tuple(package.folder for package in FONTS), ".woff")


def plain_fonts() -> tuple[str, ...]:
    """Return the files of the fonts for charts: without serifs."""
    return _files(home(), tuple(package.folder for package in FONTS[:_PLAIN]), ".woff")


def noto() -> Path | None:
    """Return the font of Noto's objects, None where it was not collected."""
    found = _files(home(), (NOTO.folder,), ".ttf")
    return Path(found[0]) if found else None


def fluent() -> Path | None:
    """Return the folder of the Fluent objects, None where they were not collected."""
    folder = home() / FLUENT.folder
    return folder if _files(home(), (FLUENT.folder,), ".webp") else None


# Collecting ------------------------------------------------------------------------------------


def collect(say: Callable[[str], None]) -> list[str]:
    """Collect what is missing; return one sentence for each package that could not be had.

    Args:
        say: is told each package as it comes.
    """
    problems = []
    for package in missing():
        say(f"{package.taken[0].upper()}{package.taken[1:]} ({package.licence})")
        try:
            _collect(package)
        except ModelError as error:
            problems.append(str(error))
    forget()
    return problems


def _collect(package: Package) -> None:
    """Put what is taken from a package in its folder, whole or not at all.

    Raises:
        ModelError: its client is missing or finds no network, or the content is another one.
    """
    with tempfile.TemporaryDirectory(dir=home(), prefix="making-") as scratch:
        work, ready = Path(scratch), Path(scratch) / "ready"
        ready.mkdir()
        if not _installed(package, ready):
            archive = _download(package, work)
            _check(package, archive, package.sha256)
            taken = _unpack(package, archive, work)
            for path in taken:
                shutil.move(path, ready / path.name)
        if not any(ready.iterdir()):
            raise ModelError(
                f"The package {package.name} {package.version} holds no {package.pick}."
            )
        if not (home() / package.folder).exists():  # another process may have been faster
            ready.rename(home() / package.folder)


def _installed(package: Package, ready: Path) -> bool:
    if package.installed is None:
        return False
    path, sha256 = Path(package.installed[0]), package.installed[1]
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        return False
    shutil.copyfile(path, ready / path.name)
    return True


def _download(package: Package, work: Path) -> Path:
    """Let the registry's client bring the archive into `work`."""
    if package.registry == "npm":
        command = ["npm", "pack", f"{package.name}@{package.version}", "--silent"]
    else:
        command = ["apt-get", "download", "-qq", f"{package.name}={package.version}"]
    if shutil.which(command[0]) is None:
        raise ModelError(
            f"{package.taken[0].upper()}{package.taken[1:]} need the program {command[0]}, which "
            f"is not installed: put {package.name} {package.version}'s files into "
            f"“{visible_line(str(home() / package.folder))}” by hand."
        )
    try:
        done = subprocess.run(
            command, cwd=work, stdin=subprocess.DEVNULL, capture_output=True, timeout=_LIMIT,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise _unreachable(package, command[0]) from error
    archives = [path for path in work.iterdir() if path.suffix in {".tgz", ".deb"}]
    if done.returncode != 0 or len(archives) != 1:
        raise _unreachable(package, command[0])
    return archives[0]


def _unreachable(package: Package, client: str) -> ModelError:
    return ModelError(
        f"{client} could not bring {package.name} {package.version} ({package.taken}): try again "
        "where there is a network; until then drawing does without."
    )


def _check(package: Package, archive: Path, sha256: str) -> None:
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != sha256:
        raise ModelError(
            f"{package.name} {package.version} arrived with other contents than it was published "
            f"with (its SHA-256 is {found[:12]}…): try again."
        )


def _unpack(package: Package, archive: Path, work: Path) -> list[Path]:
    """Return the files that are taken from the archive, licences included."""
    target = work / "unpacked"
    if package.registry == "npm":
        with tarfile.open(archive) as packed:
            packed.extractall(target, filter="data")
    else:
        subprocess.run(["dpkg-deb", "-x", str(archive), str(target)], check=True)
    wanted = re.compile(rf"{package.pick}$|/LICENSE(\.\w+)?$|/copyright$")
    return [path for path in target.rglob("*") if path.is_file() and wanted.search(str(path))]


def main() -> int:
    """Collect what is missing; exit status 1 where something could not be had."""

    def say(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    problems = collect(say)
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    if not problems:
        say(f"All there, in {home()}.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
