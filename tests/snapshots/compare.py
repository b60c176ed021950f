"""Compares screens with stored ones.

A screen is stored as the SVG that the app exports, without what is the same in all of them (fonts)
or says nothing (names made from a checksum), packed with gzip: about 4 kB a screen.
"""

import gzip
import html
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

FOLDER = Path(__file__).parent / "svg"
FAILED = Path(__file__).parent / "failed"
# What draws the screen: with other versions of these it may rightly look different.
_DRAWN_BY = ("textual", "rich", "pygments", "markdown-it-py", "pillow")
_VERSIONS = FOLDER / "drawn-by.json"
_TEXT = re.compile(r'<text class="([\w-]+)" x="([\d.]+)" y="([\d.]+)"[^>]*>(.*?)</text>')
_MOST_LINES = 6


def stripped(svg: str) -> str:
    """Return an exported SVG without fonts, and with the same names in it every time."""
    svg = re.sub(r"\s*@font-face \{.*?\n\s*\}", "", svg, flags=re.DOTALL)
    svg = re.sub(r"terminal-\d+-", "t-", svg)
    return "\n".join(line.strip() for line in svg.splitlines() if line.strip()) + "\n"


def packed(svg: str) -> bytes:
    """Return the SVG as the same bytes every time."""
    return gzip.compress(svg.encode(), 9, mtime=0)


def lines_of(svg: str) -> list[str]:
    """Return the text of an SVG, line by line."""
    rows: dict[float, list[tuple[float, str]]] = {}
    for _, x, y, text in _TEXT.findall(svg):
        rows.setdefault(float(y), []).append((float(x), html.unescape(text)))
    return ["".join(text for _, text in sorted(row)) for _, row in sorted(rows.items())]


def differences(stored: str, new: str) -> Iterator[str]:
    """Yield the first lines that differ, or say that only the looks do."""
    before, after = lines_of(stored), lines_of(new)
    found = 0
    for number in range(max(len(before), len(after))):
        old = before[number] if number < len(before) else ""
        now = after[number] if number < len(after) else ""
        if old != now and found < _MOST_LINES:
            found += 1
            yield f"  line {number + 1}\n    - {old}\n    + {now}"
    if not found:
        yield "  the text is the same; colours or styles differ"


@dataclass
class Snapshots:
    """The stored screens of one theme and size.

    Attributes:
        name: of the folder.
        accept: the screens are stored anew instead of being compared.
    """

    name: str
    accept: bool
    seen: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)

    def check(self, screen: str, svg: str) -> None:
        """Compare a screen, or store it."""
        assert screen not in self.seen, screen
        self.seen.add(screen)
        svg = stripped(svg)
        path = FOLDER / self.name / f"{screen}.svgz"
        stored = gzip.decompress(path.read_bytes()).decode() if path.exists() else ""
        if svg == stored:
            return
        if self.accept:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(packed(svg))
            return
        folder = FAILED / self.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{screen}.new.svg").write_text(svg, "utf-8")
        if stored:
            (folder / f"{screen}.old.svg").write_text(stored, "utf-8")
        what = "\n".join(differences(stored, svg)) if stored else "  it was never stored"
        self.faults.append(f"{self.name}/{screen}\n{what}")

    def report(self) -> str:
        """Return what differs and what to do about it; nothing when all is as it was."""
        stored = {path.stem for path in (FOLDER / self.name).glob("*.svgz")}
        if self.accept:
            for gone in stored - self.seen:
                (FOLDER / self.name / f"{gone}.svgz").unlink()
            _VERSIONS.write_text(json.dumps(drawn_by(), indent=1) + "\n", "utf-8")
            return ""
        faults = [*self.faults, *(f"{x}: no such screen any more" for x in stored - self.seen)]
        if not faults:
            return ""
        return "\n".join(
            (
                f"{len(faults)} screens look different:",
                *faults,
                f"Look at them in {FAILED / self.name}; if they are as they should be, run "
                "pytest tests/tui/test_snapshots.py --accept-screens",
            )
        )


def drawn_by() -> dict[str, str]:
    """Return the versions of what draws the screens."""
    return {name: version(name) for name in _DRAWN_BY}


def other_versions() -> str:
    """Return which versions differ from those the stored screens were drawn by."""
    stored = json.loads(_VERSIONS.read_text("utf-8")) if _VERSIONS.exists() else {}
    now = drawn_by()
    pairs = ((name, stored.get(name), now[name]) for name in _DRAWN_BY)
    return ", ".join(f"{name} {now} for {old}" for name, old, now in pairs if old != now)
