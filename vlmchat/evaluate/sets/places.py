"""Where the pictures of a set lie."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from vlmchat.chat.formats.values import short
from vlmchat.errors import UsageError
from vlmchat.evaluate.items import Item

_LOOKED_FOR = 50  # pictures of a set that are looked for in each folder
_NAMED = 3


def within(root: Path, name: str, allowed: Callable[[Path], bool] = lambda path: False) -> Path:
    """Return the path of a file that a set names, which must lie in `root` unless it is allowed.

    Raises:
        UsageError: it leads elsewhere.
    """
    try:
        path = (root / name).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(f"“{short(name)}” is no path ({short(error)}).") from None
    if not path.is_relative_to(root.resolve()) and not allowed(path):
        raise UsageError(
            f"“{short(path)}” lies outside the set's folder “{short(root)}” and was not read: "
            "allow it (--allow-outside), or move it there."
        )
    return path


def folder_of(given: Path | None, beside: Path, usual: Iterable[str], names: Sequence[str]) -> Path:
    """Return the folder that a benchmark's pictures lie in.

    Args:
        given: the one that the person named.
        beside: the set's own file.
        usual: where they lie in the download, seen from the folder of that file or the one above.
        names: some of the pictures.

    Raises:
        UsageError: none of the pictures was found.
    """
    if given is not None:
        if not given.is_dir():
            raise UsageError(f"“{short(given)}” is no folder: give the one with the pictures.")
        folders = [given]
    else:
        above = (beside.parent, beside.parent.parent)
        folders = [root / name for root in above for name in usual]
    for folder in folders:
        if any(_found(folder, name) for name in names[:_LOOKED_FOR]):
            return folder
    where = ", ".join(f"“{short(folder)}”" for folder in folders[:_NAMED])
    raise UsageError(
        f"The pictures of {short(beside.name)} were not found in {where}: name their folder with "
        "--pictures."
    )


def _found(folder: Path, name: str) -> Path | None:
    """Return where a picture is: at its path below the folder, else there by its name alone."""
    for path in (folder / name, folder / Path(name).name):
        inside = path.resolve().is_relative_to(folder.resolve())
        if inside and path.is_file():
            return path
    return None


def placed(items: Sequence[tuple[Item, str]], folder: Path) -> tuple[list[Item], list[str]]:
    """Return items with the paths of their pictures, and a note if some have none there."""
    known: dict[str, Path | None] = {}
    found: list[Item] = []
    missing: list[str] = []
    for item, name in items:
        if name not in known:
            known[name] = _found(folder, name)
        if (path := known[name]) is None:
            missing.append(name)
        else:
            found.append(replace(item, pictures=(path,)))
    if not missing:
        return found, []
    many = len(missing)
    rows = "1 question is" if many == 1 else f"{many:,} questions are"
    return found, [f"{rows} left out, whose pictures are missing: {short(missing[0])} for one."]
