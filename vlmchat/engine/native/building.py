"""Compiling ``decode.cpp`` on first use, and finding what was compiled before.

The shared library lies in the cache folder under a name that says what it was made from: the
source, the flags, the compiler and what the processor can do. It ends with a checksum, so that a
file that was cut short is never loaded, and comes to its place by renaming, so that processes that
compile at the same time do not disturb each other. Whatever fails, the answer is one sentence and
the engine stays on its portable way.
"""

import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from vlmchat.engine.native.library import VERSION, Library
from vlmchat.errors import VlmchatError
from vlmchat.paths import native_dir

log = logging.getLogger(__name__)

_HERE = Path(__file__).parent
_SOURCE = "decode.cpp"
_COMPILERS = ("c++", "g++", "clang++")
_SECONDS = 180
_FLAGS = (
    *("-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math"),
    *("-shared", "-fPIC", "-fvisibility=hidden", "-pthread"),
)
_AVX2 = ("avx2", "fma", "f16c")
_AVX512 = ("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni")
# The best first: a variant of simd.h and what it needs, which are also the compiler's names.
VARIANTS = {"avx512": (*_AVX2, *_AVX512), "avx2": _AVX2}
_CHECK = (  # in a process of its own, so that a library that crashes takes nobody with it
    "import ctypes, sys; library = ctypes.CDLL(sys.argv[1]); print(library.vlmchat_version())"
)


@dataclass(frozen=True, slots=True)
class Found:
    """What came of looking for the library, or of compiling it.

    Attributes:
        library: if there is one.
        reason: why there is none, as a sentence.
    """

    library: Library | None = None
    reason: str = ""


class _BuildError(Exception):
    """Why there is no library, as a sentence."""


def processor_features() -> frozenset[str]:
    """Return what this processor can do, by the names of ``/proc/cpuinfo``."""
    ask = getattr(torch.cpu, "get_capabilities", None)  # not in the oldest torch we take
    if ask is not None:
        names = {name.replace("_", "") for name, has in ask().items() if has is True}
        return frozenset(names | ({"fma"} if "fma3" in names else set()))
    try:
        return frozenset(Path("/proc/cpuinfo").read_text("utf-8").replace("_", "").split())
    except OSError:
        return frozenset()


class Build:
    """One way to compile the decode step.

    Args:
        variant: one of `VARIANTS`; without it the best that this processor can do.
        compiler: the command; without it ``$CXX``, else the first of the usual ones.
        folder: of what was compiled; without it a folder in the program's cache.
    """

    def __init__(
        self, variant: str = "", compiler: Collection[str] = (), folder: Path | None = None
    ) -> None:
        self._variant, self._compiler, self._folder = variant, list(compiler), folder

    def find(self) -> Found:
        """Return what was compiled before; takes no longer than reading it."""
        try:
            path = self._path()
            if not path.exists():
                raise _BuildError("The native decode step is not compiled yet.")
            return Found(_load(path))
        except _BuildError as failure:
            return Found(reason=str(failure))

    def make(self) -> Found:
        """Return what was compiled before or else compile it, which takes some seconds."""
        found = self.find()
        if found.library:
            return found
        try:
            path = self._path()
            self._compile(path)
            found = Found(_load(path))
            log.info("The native decode step is compiled: %s", path)
        except _BuildError as failure:
            found = Found(reason=str(failure))
            log.warning("%s", failure)
        return found

    def _path(self) -> Path:
        """Return where the library is, or would be."""
        variant, command = self._chosen(), self._command()
        digest = hashlib.sha256()
        for source in sorted([*_HERE.glob("*.cpp"), *_HERE.glob("*.h")]):
            digest.update(source.name.encode() + source.read_bytes())
        # When a compiler's file was changed stands for its version, without the time to ask it.
        files = [Path(path).resolve().stat() for path in map(shutil.which, command) if path]
        compiler = [(file.st_size, file.st_mtime_ns) for file in files]
        key = (VERSION, variant, VARIANTS[variant], _FLAGS, platform.machine(), command, compiler)
        digest.update(repr(key).encode())
        try:
            folder = self._folder or native_dir()
        except VlmchatError as error:
            raise _BuildError(str(error)) from error
        return folder / f"decode-{variant}-{digest.hexdigest()[:24]}.so"

    def _chosen(self) -> str:
        have = processor_features()
        for variant, needs in VARIANTS.items():
            if have.issuperset(needs) and self._variant in ("", variant):
                return variant
        raise _BuildError(
            f"The native decode step needs a processor with {self._variant or 'AVX2'}."
        )

    def _command(self) -> list[str]:
        wanted = self._compiler or shlex.split(os.environ.get("CXX", ""))
        for command in [wanted] if wanted else [[name] for name in _COMPILERS]:
            program = shutil.which(command[0])
            if program is not None:
                return [program, *command[1:]]
        raise _BuildError(
            "The native decode step needs a C++ compiler: install g++ or clang++"
            + (f" ({' '.join(wanted)} is not there)." if wanted else ".")
        )

    def _compile(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, name = tempfile.mkstemp(".so", "making-", path.parent)
        except OSError as error:
            raise _BuildError(
                f"The native decode step cannot be kept in {path.parent} ({error.strerror})."
            ) from error
        os.close(handle)
        made = Path(name)
        try:
            flags = [*_FLAGS, *(f"-m{feature}" for feature in VARIANTS[self._chosen()])]
            _run(
                "the compiler",
                [*_gently(), *self._command(), *flags, str(_HERE / _SOURCE), "-o", name],
            )
            said = _run("its check", [sys.executable, "-I", "-S", "-c", _CHECK, name]).strip()
            if said != str(VERSION):
                raise _BuildError(f"The compiled decode step says {said!r}, not {VERSION}.")
            _seal(made)
            made.replace(path)
        except OSError as error:
            raise _BuildError(f"The native decode step cannot be kept: {error}.") from error
        finally:
            made.unlink(missing_ok=True)


def library() -> Found:
    """Return the decode step if it is compiled, else why it is not there."""
    return Build().find()


def compile_in_background(done: Callable[[Found], None]) -> threading.Thread:
    """Compile the decode step if need be, and say from a thread of its own what came of it."""
    thread = threading.Thread(
        target=lambda: done(Build().make()), name="compile-native", daemon=True
    )
    thread.start()
    return thread


def _gently() -> list[str]:
    """Return a prefix for a command that must not slow down the answers written meanwhile."""
    nice = shutil.which("nice")
    return [nice, "-n", "19"] if nice else []


def _run(name: str, command: list[str]) -> str:
    """Run a command, called `name` if it fails, and return what it prints."""
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _BuildError(f"The native decode step cannot be compiled: {error}.") from error
    if result.returncode:
        lines = [line for line in result.stderr.splitlines() if line.strip()]
        first = next((line for line in lines if "error" in line), lines[-1] if lines else "")
        raise _BuildError(
            f"The native decode step cannot be compiled: {name} ended with {result.returncode}"
            + (f" ({first.strip()[:200]})." if first else ".")
        )
    return result.stdout


def _seal(path: Path) -> None:
    """Append the checksum; who loads a shared library does not look behind its sections."""
    content = path.read_bytes()
    with path.open("ab") as file:
        file.write(hashlib.sha256(content).digest())
        file.flush()
        os.fsync(file.fileno())


@lru_cache(maxsize=8)
def _loaded(path: Path, _changed: int) -> Library:
    content = path.read_bytes()
    body, checksum = content[:-32], content[-32:]
    if hashlib.sha256(body).digest() != checksum:
        raise _BuildError(f"The compiled decode step {path} is damaged and is made anew.")
    return Library(path)


def _load(path: Path) -> Library:
    """Load a library that is whole."""
    try:
        return _loaded(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise _BuildError(f"The compiled decode step cannot be loaded: {error}.") from error
