"""What came of a run, for a person and as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmchat.synth.ledger import Ledger, dropped_file
from vlmchat.synth.recipe import WHYS
from vlmchat.text import visible_line

_SHOWN = 5  # pictures that are named


@dataclass(frozen=True, slots=True)
class Summary:
    """What is in the files, this run's rows and those before.

    Attributes:
        out: the file of the rows.
        kept: rows in it.
        dropped: how many were left out, by why (keys of `WHYS`).
        unreadable: a sentence for each picture that was passed over.
        same: pictures that were passed over since another file holds the same.
        notes: what more is to be said.
        finished: nothing is left to be made.
    """

    out: Path
    kept: int
    dropped: Mapping[str, int]
    unreadable: tuple[str, ...] = ()
    same: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    finished: bool = True

    @classmethod
    def of(cls, ledger: Ledger, **more: Any) -> "Summary":  # noqa: ANN401 - the fields above
        """Return what is in the files of a ledger."""
        return cls(ledger.out, ledger.kept, dict(ledger.dropped), **more)

    @property
    def left_out(self) -> int:
        """How many were left out."""
        return sum(self.dropped.values())

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "out": str(self.out),
            "dropped_out": str(dropped_file(self.out)),
            "made": self.kept + self.left_out,
            "kept": self.kept,
            "dropped": dict(self.dropped),
            "unreadable": list(self.unreadable),
            "same": list(self.same),
            "notes": list(self.notes),
            "finished": self.finished,
        }

    def lines(self) -> list[str]:
        """Return it line by line."""
        out = visible_line(str(self.out))
        found = [f"{self.kept + self.left_out} made, {self.kept} kept in {out}"]
        if self.left_out:
            found[0] += f", {self.left_out} left out ({visible_line(dropped_file(self.out).name)}):"
        ranked = sorted(self.dropped.items(), key=lambda item: -item[1])
        found += [f"  {count:>6}  {WHYS.get(why, why)}" for why, count in ranked]
        if self.same:
            found.append(f"{_pictures(len(self.same))} there more than once, asked about once.")
        if self.unreadable:
            found.append(f"{_pictures(len(self.unreadable))} passed over:")
            found += [f"  {one}" for one in self.unreadable[:_SHOWN]]
            if len(self.unreadable) > _SHOWN:
                found.append(f"  and {len(self.unreadable) - _SHOWN} more")
        found += self.notes
        if not self.finished:
            found.append("It is not finished: the same command goes on.")
        return found


def _pictures(count: int) -> str:
    return "1 picture is" if count == 1 else f"{count} pictures are"
