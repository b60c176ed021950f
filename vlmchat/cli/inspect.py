"""``vlmchat inspect``: what a file is, and what each model would get of it."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmchat.cli import looking
from vlmchat.cli.endings import quiet_endings
from vlmchat.errors import UsageError, VlmchatError
from vlmchat.text import visible, visible_line

if TYPE_CHECKING:
    from vlmchat.chat.messages import Detail
    from vlmchat.cli.inspected import Inspected
    from vlmchat.media.choosing import Wishes
    from vlmchat.models.looks import Eyes

_FAILED = 1
_SAVED_FOR = "smolvlm2-500m"


def inspect(
    files: Annotated[list[Path], typer.Argument(help="Pictures and videos.")],
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="Catalogue name, Hub id or folder of a model that is here; repeatable. "
            "Without it, all models of the catalogue.",
        ),
    ] = None,
    detail: looking.Detail = None,
    crop: looking.Crop = None,
    fps: looking.Fps = None,
    max_frames: looking.MaxFrames = None,
    start: looking.From = None,
    end: looking.To = None,
    frames: looking.Frames = None,
    save: Annotated[
        Path | None,
        typer.Option(help="Folder to write to: the tiles and frames that one model gets."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """Show what files are, and what the models would get of them."""
    from vlmchat.media.choosing import wishes
    from vlmchat.settings import load_settings

    wished = wishes(fps, max_frames, start, end, frames, detail, crop)
    with quiet_endings():
        settings = load_settings()
        settings.put_in_force()
        _check(files, wished)
        eyes = _eyes(model)
        keeper = _eyes_to_save(model, settings.engine.model, eyes) if save else None
        shown = _each(files, wished, settings.media.detail, eyes, save, keeper)
        failed = 0
        rows: list[dict[str, Any]] = []
        for path, found in shown:
            if isinstance(found, VlmchatError):
                failed += 1
                rows.append({"file": str(path), "error": str(found)})
                sys.stdout.flush()
                print(f"vlmchat: {found}", file=sys.stderr)
            elif as_json:
                rows.append(found.as_json())
            else:
                _print(found, first=path is files[0])
        if as_json:
            print(json.dumps(rows, ensure_ascii=False, indent=1))
        raise typer.Exit(_FAILED if failed else 0)


def _check(files: Sequence[Path], wished: "Wishes") -> None:
    """Check that every option given is about one of the files.

    Raises:
        UsageError: one is not.
    """
    from vlmchat.media.attaching import video_kind

    videos = 0
    for path in files:
        try:
            videos += bool(video_kind(path))
        except VlmchatError:
            return  # one of them is broken: who can say what it is
    wished.check(len(files) - videos, videos)


def _eyes(names: list[str] | None) -> "list[Eyes]":
    from vlmchat.models.looks import catalogue_eyes, eyes_of

    return [eyes_of(name) for name in names] if names else catalogue_eyes()


def _eyes_to_save(names: list[str] | None, configured: str | None, eyes: "list[Eyes]") -> "Eyes":
    """Return the one model whose tiles are written.

    Raises:
        UsageError: several are named.
    """
    from vlmchat.models.looks import eyes_of, known_eyes

    if names and len(eyes) > 1:
        raise UsageError("--save writes what one model gets: name one --model.")
    if names:
        return eyes[0]
    chosen = known_eyes(configured) or eyes_of(_SAVED_FOR)
    print(f"What {visible_line(chosen.id)} gets is saved; --model names another.", file=sys.stderr)
    return chosen


def _each(
    files: Sequence[Path],
    wished: "Wishes",
    detail: "Detail",
    eyes: "list[Eyes]",
    save: Path | None,
    keeper: "Eyes | None",
) -> "Iterator[tuple[Path, Inspected | VlmchatError]]":
    """Yield each file with what was found or what is wrong with it."""
    from vlmchat.cli.inspected import inspected
    from vlmchat.cli.saving import save_seen

    for path in files:
        try:
            found = inspected(path, wished, detail, eyes)
            if save is not None and keeper is not None:
                found.saved = save_seen(found.item_for(keeper), keeper, path, save)
            yield path, found
        except VlmchatError as error:
            yield path, error


def _print(found: "Inspected", *, first: bool) -> None:
    if not first:
        print()
    for line in found.lines():
        shown = visible(line)
        encoding = sys.stdout.encoding or "utf-8"
        print(shown.encode(encoding, "replace").decode(encoding))


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(inspect)
