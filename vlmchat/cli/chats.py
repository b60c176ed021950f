"""``vlmchat chats``: the saved conversations, listed, read, searched, taken out and put in."""

import json
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vlmchat.cli.endings import quiet_endings
from vlmchat.errors import UsageError
from vlmchat.text import visible, visible_line

if TYPE_CHECKING:
    from vlmchat.chat.conversation import Conversation
    from vlmchat.chat.formats.writing import Format
    from vlmchat.store.records import Thread
    from vlmchat.store.store import Store

app = typer.Typer(
    help="List, read, search, export, import and remove saved conversations.",
    no_args_is_help=True,
)

_SHORTEST_PREFIX = 4
Id = Annotated[str, typer.Argument(metavar="ID", help="Number, or the beginning of the uid.")]
Ids = Annotated[
    list[str] | None, typer.Argument(metavar="ID…", help="Numbers, or beginnings of uids.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@contextmanager
def _opened() -> "Iterator[Store]":
    """Yield the store; what is printed is flushed where a reader that has gone does no harm."""
    from vlmchat import paths
    from vlmchat.store.store import Store

    with quiet_endings(), Store(paths.data_dir()) as store:
        yield store
        sys.stdout.flush()


def _find(store: "Store", text: str, *, deleted: bool = False) -> "Thread":
    """Return the conversation that `text` names.

    Raises:
        UsageError: there is none, or there are several.
    """
    found = [item for item in store.named(text) if deleted or item.deleted is None]
    exact = [item for item in found if text in (str(item.id), item.uid)]
    if exact:
        return exact[0]
    shown = visible_line(text)
    if len(text) < _SHORTEST_PREFIX or not found:
        raise UsageError(f"There is no conversation “{shown}”: `vlmchat chats list` has them.")
    if len(found) > 1:
        raise UsageError(f"“{shown}” begins several uids: write more of it.")
    return found[0]


def _safe(text: str) -> str:
    """Return text as it may be printed: a terminal obeys control sequences, a pipe does not."""
    return visible(text) if sys.stdout.isatty() else text


def _note(text: str) -> None:
    print(text, file=sys.stderr)


def _print_json(value: object) -> None:
    print(_safe(json.dumps(value, ensure_ascii=False, indent=1)))


def _row(thread: "Thread", messages: int, pictures: int) -> dict[str, Any]:
    names = ("id", "uid", "title", "created", "updated", "pinned", "archived", "deleted")
    counts = {"messages": messages, "pictures": pictures}
    return {name: getattr(thread, name) for name in names} | counts


@app.command("list")
def list_(
    archived: Annotated[bool, typer.Option("--archived", help="Those in the archive.")] = False,
    deleted: Annotated[bool, typer.Option("--deleted", help="Those that were deleted.")] = False,
    as_json: AsJson = False,
    limit: Annotated[int, typer.Option(min=1, help="The most that are listed.")] = 1000,
) -> None:
    """List conversations: number, date, messages, pictures, title; pinned first, then newest."""
    from vlmchat.chat.formats.described import date_of

    if archived and deleted:
        raise UsageError("--archived and --deleted are two lists: ask for one.")
    kind: Literal["open", "archived", "deleted"] = "open"
    kind = "archived" if archived else "deleted" if deleted else kind
    with _opened() as store:
        rows = store.overview(kind, limit)
        if as_json:
            _print_json([_row(*row) for row in rows])
            return
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        for thread, messages, pictures in rows:
            title = visible_line(thread.title) or "Untitled conversation"
            mark = " (pinned)" if thread.pinned else ""
            counts = f"{messages:>5}  {pictures:>4}"
            line = f"{thread.id:>5}  {date_of(thread.updated)}  {counts}  {title}{mark}"
            print(line if width is None or len(line) <= width else f"{line[: width - 1]}…")
        if not rows:
            _note("There is no conversation." if kind == "open" else f"None is {kind}.")


@app.command()
def show(
    which: Id,
    as_json: AsJson = False,
    tree: Annotated[bool, typer.Option("--tree", help="All branches, a line a message.")] = False,
) -> None:
    """Print a conversation: the path it was left at."""
    from vlmchat.chat.formats import own
    from vlmchat.chat.formats.plain import plain_lines, tree_lines

    with _opened() as store:
        conversation = store.conversation(_find(store, which, deleted=True).id)
        if as_json:
            media = {
                item.sha256: own.media_row(item)
                for entry in conversation.entries
                for item in entry.message.media
            }
            _print_json(own.record(conversation) | {"media": media})
            return
        lines = tree_lines(conversation) if tree else plain_lines(conversation, _safe)
        for line in lines:
            print(line)


@app.command()
def search(
    words: Annotated[list[str], typer.Argument(help="All of them must be in a message.")],
    as_json: AsJson = False,
    limit: Annotated[int, typer.Option(min=1, help="The most that are shown.")] = 20,
) -> None:
    """Search everything that was ever said; the best hits first."""
    from vlmchat.chat.formats.described import date_of

    with _opened() as store:
        hits = store.search(" ".join(words), limit=limit)
        if as_json:
            _print_json(
                [
                    {
                        **{"id": hit.thread, "uid": store.thread(hit.thread).uid},
                        **{"title": hit.title, "message": hit.message, "role": hit.role},
                        "created": hit.created,
                        "excerpt": "".join(text for text, _ in hit.excerpt),
                        "matches": [text for text, matched in hit.excerpt if matched],
                    }
                    for hit in hits
                ]
            )
            return
        bold, plain = ("\x1b[1m", "\x1b[0m") if sys.stdout.isatty() else ("", "")
        for hit in hits:
            title = visible_line(hit.title) or "Untitled conversation"
            print(f"{hit.thread:>5}  {date_of(hit.created)}  {hit.role:<9}  {title}")
            pieces = ((visible_line(re.sub(r"\s+", " ", t)), m) for t, m in hit.excerpt)
            print("       " + "".join(f"{bold}{t}{plain}" if m else t for t, m in pieces))
        if not hits:
            _note("Nothing was found.")


@app.command()
def export(
    ids: Ids = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every conversation, the archived ones too.")
    ] = False,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            help="markdown, html, json, jsonl, or for training: sft, kto, preference. "
            "By default what the file's suffix says, else markdown.",
        ),
    ] = None,
    out: Annotated[str, typer.Option("--out", "-o", help="The file; - is standard output.")] = "-",
    media: Annotated[
        Literal["embed", "beside"] | None,
        typer.Option(help="Pictures and videos inside the file, or in a folder beside it."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    every: Annotated[
        bool,
        typer.Option("--every-reply", help="sft: each reply that is not rated bad or corrected."),
    ] = False,
) -> None:
    """Write conversations to a file. JSON and JSONL lose nothing: import brings all back."""
    from vlmchat.chat.formats import writing
    from vlmchat.media.for_formats import views
    from vlmchat.settings import load_settings

    if bool(ids) == everything:
        raise UsageError("Name conversations by their numbers, or all of them with --all.")
    load_settings().put_in_force()
    kind = writing.format_named(form) if form else _by_suffix(out)
    if every and kind != "sft":
        raise UsageError("--every-reply is for --format sft.")
    with _opened() as store:
        chosen = conversations(store, ids or [])
        if not chosen:
            raise UsageError("There is no conversation to export.")
        if out != "-":
            path = Path(out).expanduser()
            options = {"force": force, "every": every}
            shown = views() if kind == "html" else None
            try:
                done = writing.export_to(path, kind, chosen, media=media, views=shown, **options)
            except writing.FileExistsAlreadyError as error:
                raise UsageError(f"{error} --force replaces it.") from None
            _note(str(done))
            return
        if media == "beside":
            raise UsageError("Media beside need a file to lie beside: --out FILE.")
        _to_stdout(kind, chosen, every)


def _by_suffix(out: str) -> "Format":
    from vlmchat.chat.formats.writing import SUFFIXES

    suffix = Path(out).suffix.lower()
    return next((form for form, own in SUFFIXES.items() if own == suffix), "markdown")


def conversations(store: "Store", ids: Iterable[str]) -> "list[Conversation]":
    """Return those that `ids` name, else all, the archived ones too.

    Raises:
        UsageError: one of them does not exist.
    """
    numbers = list(dict.fromkeys(_find(store, text).id for text in ids))
    if not numbers:
        most = 1_000_000
        kinds: tuple[Literal["open", "archived"], ...] = ("open", "archived")
        numbers = [item.id for kind in kinds for item, _, _ in store.overview(kind, most)]
    return [store.conversation(number) for number in numbers]


def _to_stdout(kind: "Format", conversations: "list[Conversation]", every: bool) -> None:
    from vlmchat.chat.formats import writing
    from vlmchat.media.for_formats import views

    rows = 0
    shown = views() if kind == "html" else None
    for chunk in writing.chunks(kind, conversations, writing.embedded, every=every, views=shown):
        if sys.stdout.isatty():
            print(visible(chunk), end="")
        else:  # files are UTF-8 with \n, whatever the locale and the system say
            sys.stdout.buffer.write(chunk.encode("utf-8"))
        rows += 1
    writing.check_rows(kind, rows)


@app.command("import")
def import_(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Recognised by content.")],
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Import what can be read, leave out the rest.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Also those that are here already, as copies.")
    ] = False,
) -> None:
    """Import conversations: all or none.

    Reads vlmchat's JSON and JSONL, chat messages (OpenAI, TRL, the SmolVLM course), ShareGPT,
    LLaVA JSON, and ChatGPT's data export, also as a zip file.
    """
    from vlmchat.settings import load_settings
    from vlmchat.store.imports import BadImportError, import_from

    load_settings().put_in_force()
    with _opened() as store:
        try:
            done = import_from(files, store, skip_bad=skip_bad, again=again, dry=dry_run)
        except BadImportError as error:
            for problem in error.problems:
                _note(str(problem))
            many = len(error.problems)
            raise UsageError(
                f"Nothing was imported: {many} {'row' if many == 1 else 'rows'} cannot be read; "
                "mend them, or import the rest with --skip-bad."
            ) from None
        for line in (*map(str, done.problems), *done.notes, str(done)):
            _note(line)
        for number in done.threads:
            print(f"{number:>5}  {visible_line(store.thread(number).title)}")


@app.command()
def rm(
    ids: Annotated[list[str], typer.Argument(metavar="ID…", help="Numbers or uids.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    purge: Annotated[bool, typer.Option("--purge", help="For good; cannot be undone.")] = False,
) -> None:
    """Delete conversations; `vlmchat chats restore` brings them back, unless purged."""
    import time

    with _opened() as store:
        threads = {item.id: item for item in (_find(store, text, deleted=purge) for text in ids)}
        if not yes:
            _ask(list(threads.values()), purge)
        now = time.time()
        for thread in threads.values():
            if thread.deleted is None:
                store.change_thread(thread.id, deleted=now)
        if purge:
            store.purge(now + 1, list(threads))
            _note(f"{len(threads)} removed for good.")
            return
        back = " ".join(map(str, threads))
        _note(f"{len(threads)} deleted; `vlmchat chats restore {back}` undoes it.")


def _ask(threads: "list[Thread]", purge: bool) -> None:
    """Ask whether the conversations are to go.

    Raises:
        UsageError: no, or there is nobody to ask and it could not be undone.
    """
    if not sys.stdin.isatty():
        if purge:
            raise UsageError("--purge cannot be undone, and there is nobody to ask: add --yes.")
        return
    for thread in threads:
        _note(f"{thread.id:>5}  {visible_line(thread.title)}")
    what = "Remove for good?" if purge else "Delete?"
    if not typer.confirm(what, err=True):
        raise UsageError("Nothing was deleted.")


@app.command()
def restore(ids: Annotated[list[str], typer.Argument(metavar="ID…", help="Numbers.")]) -> None:
    """Bring deleted conversations back."""
    with _opened() as store:
        threads = [_find(store, text, deleted=True) for text in ids]
        for thread in threads:
            if thread.deleted is None:
                raise UsageError(f"Conversation {thread.id} is not deleted.")
        for thread in threads:
            store.change_thread(thread.id, deleted=None)
        _note(f"{len(threads)} restored.")


def register(parent: typer.Typer) -> None:
    """Add the commands to `parent`."""
    parent.add_typer(app, name="chats")
