"""A desktop's clipboard: small programs that speak the real ones' arguments."""

from pathlib import Path

import pytest

# The content lies in a folder, one file a kind, its name with ! for the slash.
_WL_PASTE = """
kinds() { for f in "$CLIP"/*; do [ -e "$f" ] && basename "$f" | tr '!' '/'; done; }
case "$*" in
  "--list-types") [ -n "$(kinds)" ] || { echo "Nothing is copied" >&2; exit 1; }; kinds ;;
  "--no-newline --type "*) cat "$CLIP/$(echo "$3" | tr '/' '!')" ;;
  *) exit 64 ;;
esac
"""
_WL_COPY = 'cat > "$CLIP/copied"'
_XCLIP = """
case "$*" in
  "-selection clipboard -t TARGETS -o")
    echo TARGETS; echo MULTIPLE
    for f in "$CLIP"/*; do [ -e "$f" ] && basename "$f" | tr '!' '/'; done ;;
  "-selection clipboard -t "*" -o") cat "$CLIP/$(echo "$4" | tr '/' '!')" ;;
  "-selection clipboard") cat > "$CLIP/copied" ;;
  *) exit 64 ;;
esac
"""


class Desktop:
    """A clipboard, and the programs that are installed."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.programs, self.clip = folder / "bin", folder / "clip"
        self.programs.mkdir()
        self.clip.mkdir()
        self._set = monkeypatch.setenv
        monkeypatch.setenv("CLIP", str(self.clip))
        monkeypatch.setenv("PATH", str(self.programs))
        for name in ("WAYLAND_DISPLAY", "DISPLAY", "WSL_DISTRO_NAME"):
            monkeypatch.delenv(name, raising=False)
        for tool in ("cat", "tr", "basename", "sleep", "head"):
            (self.programs / tool).symlink_to(f"/usr/bin/{tool}")

    def install(self, name: str, body: str) -> None:
        program = self.programs / name
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)

    def wayland(self) -> None:
        self._set("WAYLAND_DISPLAY", "wayland-1")
        self.install("wl-paste", _WL_PASTE)
        self.install("wl-copy", _WL_COPY)

    def x11(self) -> None:
        self._set("DISPLAY", ":0")
        self.install("xclip", _XCLIP)

    def hold(self, kind: str, data: bytes) -> None:
        for old in self.clip.iterdir():
            old.unlink()
        self.add(kind, data)

    def add(self, kind: str, data: bytes) -> None:
        (self.clip / kind.replace("/", "!")).write_bytes(data)

    @property
    def copied(self) -> str:
        file = self.clip / "copied"
        return file.read_text("utf-8") if file.exists() else ""
