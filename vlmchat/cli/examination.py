"""What ``vlmchat doctor`` looks at; packages are asked for their versions, not imported."""

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from vlmchat import __version__, paths
from vlmchat.errors import VlmchatError
from vlmchat.text import human_bytes, visible_line

# The engine cannot run without these; the rest is for some options only.
_NEEDED = ("torch", "transformers", "safetensors", "textual", "pillow", "uvicorn", "starlette")
_OPTIONAL = ("bitsandbytes", "peft", "accelerate", "gguf", "av")
_LITTLE_DISK = 1_000_000_000
_LITTLE_MEMORY = 1_500_000_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        topic: the heading it stands under.
        text: what was found.
        state: ``good``, ``note`` (worth knowing) or ``bad``.
        advice: what to do about it; empty when nothing.
        fatal: whether vlmchat cannot answer because of it.
    """

    topic: str
    text: str
    state: Literal["good", "note", "bad"] = "good"
    advice: str = ""
    fatal: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return the finding as a JSON object."""
        return asdict(self)


def examine() -> Iterator[Finding]:
    """Look at everything, the slowest last."""
    yield from _versions()
    yield from _device()
    yield from _engine()
    yield from _terminal()
    yield from _folders()
    yield from _settings()
    yield from _models()


def _versions() -> Iterator[Finding]:
    topic = "Versions"
    yield Finding(topic, f"vlmchat {__version__}, Python {platform.python_version()}")
    for name in (*_NEEDED, *_OPTIONAL):
        try:
            yield Finding(topic, f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            needed = name in _NEEDED
            yield Finding(
                topic,
                f"{name} is not installed",
                "bad" if needed else "note",
                f"{sys.executable} -m pip install {name}",
                fatal=needed,
            )


def _device() -> Iterator[Finding]:
    import psutil

    topic = "Device"
    yield from _gpus(topic)
    cores, threads = psutil.cpu_count(logical=False), psutil.cpu_count()
    yield Finding(topic, f"{_cpu_name()}: {cores} cores, {threads} threads")
    flags = _cpu_flags()
    known = ("amx_bf16", "avx512_bf16", "avx512_vnni", "avx512f", "avx2")
    has = [name for name in known if name in flags]
    if any(name.endswith("bf16") for name in has):
        text = f"multiplies bfloat16 in hardware ({', '.join(has)}): models run in bfloat16"
        yield Finding(topic, text)
    elif flags:
        text = f"no bfloat16 units ({', '.join(has) or 'no AVX2'}): models run in float32"
        yield Finding(topic, text, "note", "pictures take about three times as long; all works")
    memory = psutil.virtual_memory()
    text = f"memory: {human_bytes(memory.available)} of {human_bytes(memory.total)} free"
    if memory.available < _LITTLE_MEMORY:
        advice = "close other programs, or use --model smolvlm2-256m --quant 8bit"
        yield Finding(topic, text, "bad", advice)
    else:
        yield Finding(topic, text)


def _gpus(topic: str) -> Iterator[Finding]:
    program = shutil.which("nvidia-smi")
    if program is None:
        yield Finding(topic, "no NVIDIA GPU found: the engine uses the processor", "note")
        return
    query = ["--query-gpu=name,memory.total,memory.free", "--format=csv,noheader"]
    try:
        out = subprocess.run(
            [program, *query], capture_output=True, text=True, timeout=10, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        advice = "see whether the NVIDIA driver is loaded; --device cpu works meanwhile"
        yield Finding(topic, "nvidia-smi does not answer", "bad", advice)
        return
    for line in out.splitlines():
        name, total, free = (part.strip() for part in (*line.split(","), "?", "?")[:3])
        yield Finding(topic, f"GPU: {visible_line(name)}, {free} of {total} free")
    if "+cpu" in _version("torch"):
        yield Finding(
            topic,
            "this PyTorch is a CPU build and cannot use the GPU",
            "bad",
            "install PyTorch with CUDA as pytorch.org says",
        )


def _engine() -> Iterator[Finding]:
    """Ask the engine itself what it would compute with, in a process of its own."""
    from vlmchat.settings import load_settings

    topic = "Engine"
    compiler = next(filter(None, map(shutil.which, _compilers())), None)
    if compiler is None:
        advice = "install g++ or clang++ for answers several times as fast; all works without"
        yield Finding(topic, "no C++ compiler found", "note", advice)
    else:
        yield Finding(topic, f"C++ compiler: {visible_line(compiler)}")
    try:
        settings = load_settings().engine
        native, wanted = settings.native, settings.threads
    except VlmchatError:  # of which is told below
        native, wanted = "auto", 0
    command = [sys.executable, "-m", "vlmchat.engine.examining"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        advice = "see Versions above; vlmchat serve shows what goes wrong"
        yield Finding(topic, "the engine's libraries do not start", "bad", advice)
        return
    if native == "off":
        yield Finding(topic, "answers are computed by PyTorch: engine.native is off", "note")
    elif found["native"]:
        yield Finding(topic, "answers on the processor are computed by the native step")
    else:
        text = f"answers are computed by PyTorch: {visible_line(found['reason'])}"
        advice = "" if compiler is None else "it is compiled while the first model answers"
        yield Finding(topic, text, "note", advice)
    yield Finding(topic, f"pictures and prompts are multiplied in {found['products']}")
    count = f"{wanted} threads, as set" if wanted else f"{found['threads']} threads"
    more = "" if wanted else ", fewer while other programs are busy"
    yield Finding(topic, f"{count} (of {found['cores']} cores it may use){more}")


def _compilers() -> tuple[str, ...]:
    """Return the compilers that are tried, as `vlmchat.engine.native.building` does."""
    chosen = os.environ.get("CXX", "").split()
    return tuple(chosen[:1]) or ("c++", "g++", "clang++")


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _cpu_name() -> str:
    for line in _cpuinfo():
        if line.startswith("model name"):
            return visible_line(line.partition(":")[2].strip())
    return platform.processor() or platform.machine()


def _cpu_flags() -> set[str]:
    for line in _cpuinfo():
        if line.startswith(("flags", "Features")):
            return set(line.partition(":")[2].split())
    return set()


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return []


def _terminal() -> Iterator[Finding]:
    topic = "Terminal"
    size = shutil.get_terminal_size()
    name = os.environ.get("TERM_PROGRAM") or os.environ.get("TERM") or "unknown"
    yield Finding(topic, f"{visible_line(name)}, {size.columns}×{size.lines}")
    if os.environ.get("TERM", "dumb") == "dumb":
        advice = "the chat needs a full terminal; vlmchat ask works in any"
        yield Finding(topic, "TERM names no terminal with a cursor", "note", advice)
    if os.environ.get("COLORTERM") not in ("truecolor", "24bit"):
        advice = "set COLORTERM=truecolor if your terminal shows 16 million colours"
        yield Finding(topic, "colours may be coarse (COLORTERM is not set)", "note", advice)
    yield Finding(topic, f"pictures can be drawn with: {picture_protocol(dict(os.environ))}")
    if "utf" not in (sys.stdout.encoding or "").lower():
        advice = "set LANG to a UTF-8 locale, as C.UTF-8"
        yield Finding(topic, f"the encoding is {sys.stdout.encoding}", "bad", advice)


def picture_protocol(environment: dict[str, str]) -> str:
    """Return how this terminal can draw pictures, guessed from the environment alone."""
    program = environment.get("TERM_PROGRAM", "").lower()
    term = environment.get("TERM", "")
    if "KITTY_WINDOW_ID" in environment or "kitty" in term or program == "ghostty":
        return "kitty graphics"
    if program in ("wezterm", "iterm.app", "mintty") or term.startswith(("foot", "mlterm")):
        return "sixel"
    return "half blocks"


def _folders() -> Iterator[Finding]:
    topic = "Folders"
    yield Finding(topic, f"configuration: {paths.config_file()}")
    for name, make in (
        ("data", paths.data_dir),
        ("cache", paths.cache_dir),
        ("logs", paths.log_dir),
    ):
        try:
            folder = make()
        except VlmchatError as error:
            yield Finding(topic, f"{name}: {error}", "bad", "do as it says", fatal=True)
            continue
        if not os.access(folder, os.W_OK):
            advice = "mend its permissions, or set VLMCHAT_HOME to a folder of yours"
            yield Finding(topic, f"{name}: {folder} cannot be written", "bad", advice, fatal=True)
        else:
            yield _space(topic, name, folder)
    from vlmchat.models.local import hub_cache

    cache = hub_cache()
    existing = next(parent for parent in (cache, *cache.parents) if parent.exists())
    yield _space(topic, "models", cache, shutil.disk_usage(existing).free)


def _space(topic: str, name: str, folder: Path, free: int | None = None) -> Finding:
    free = shutil.disk_usage(folder).free if free is None else free
    text = f"{name}: {folder} ({human_bytes(free)} free)"
    if free < _LITTLE_DISK:
        return Finding(topic, text, "bad", "make room: a model takes 0.3 to 9 GB")
    return Finding(topic, text)


def _settings() -> Iterator[Finding]:
    from vlmchat.settings import load_settings

    try:
        load_settings()
    except VlmchatError as error:
        yield Finding("Settings", str(error), "bad", "mend or remove it", fatal=True)
    else:
        yield Finding("Settings", "can be read")


def _models() -> Iterator[Finding]:
    from vlmchat.models import demo_model, hub
    from vlmchat.models.local import catalogue_on_this_machine

    topic = "Models"
    here = catalogue_on_this_machine()
    for name, folder in here.items():
        yield Finding(topic, f"{name}: {folder}")
    if not here:
        advice = "vlmchat models pull smolvlm2-500m, where there is a network"
        yield Finding(topic, "no SmolVLM is on this machine", "note", advice)
    try:
        built = demo_model.is_built()
    except VlmchatError:  # its folder, which has been told of
        built = False
    wanted = "is ready" if built else "will be fetched when it is needed (93 MB)"
    yield Finding(topic, f"the demo model {wanted}")
    if hub.is_offline():
        advice = "unset HF_HUB_OFFLINE to fetch models"
        yield Finding(topic, "the Hugging Face Hub is switched off", "note", advice)
    elif hub.reachable():
        yield Finding(topic, "the Hugging Face Hub answers")
    else:
        advice = "models on this machine and the demo work without it; HTTPS_PROXY names a proxy"
        yield Finding(topic, f"the Hub at {hub.endpoint()} does not answer", "note", advice)
