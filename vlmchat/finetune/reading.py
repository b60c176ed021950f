"""Reads examples from log files of any known format, recognised by what is in each row.

Every row becomes examples or one `Dropped` with its reason; nothing is left out silently, and
nothing outside the log's own folder is read unasked. Pictures that are written in the log itself
are kept on the disk meanwhile, so that a large log needs no large memory.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, TypeAlias

from vlmchat.chat.conversation import Conversation
from vlmchat.chat.formats import chatgpt, foreign, own
from vlmchat.chat.formats.sources import Folder, Sources
from vlmchat.chat.formats.values import BadRow, Limits, dict_of, list_of, role_of, short
from vlmchat.chat.messages import Media, Message, TextPart
from vlmchat.errors import MediaError, VlmchatError
from vlmchat.finetune.examples import Dropped, Example, Source, check, group_of
from vlmchat.finetune.labelled import from_conversation
from vlmchat.finetune.rows import Row, rows_of
from vlmchat.media.for_formats import import_limits, videos
from vlmchat.media.images import decode, media_from_bytes

_SQLITE = b"SQLite format 3\0"
_ZIP = b"PK\x03\x04"
_MARKS = ("<image>", "<video>")
_MAX_ROW = 200_000_000
KNOWN = (
    "chat messages (SmolVLM course, OpenAI, TRL), ShareGPT, LLaVA, prompt and completion, "
    "prompt with chosen and rejected, KTO rows with a label, or vlmchat's own exports"
)
_Raw: TypeAlias = dict[str, Any]


class _MissingError(BadRow):
    """A picture or video does not exist."""

    def __init__(self, message: str, path: Path) -> None:
        super().__init__(message)
        self.path = path


class _OutsideError(BadRow):
    """A picture or video lies outside the log's folder, and reading it was not allowed."""

    def __init__(self, path: Path, folder: Path) -> None:
        super().__init__(
            f"“{short(path)}” lies outside the log's folder “{short(folder)}” and was not read: "
            "allow it, or move it there."
        )
        self.path = path


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How logs are read.

    Attributes:
        outside: whether a file outside the log's folder may be read; asked once for each, with
            its resolved path, before it is opened.
        unrated: replies of this program's conversations teach without being rated.
        verify: each picture is decoded once, so that a damaged one is told now.
        limits: what files may cost; those of the rules in force by default.
    """

    outside: Callable[[Path], bool] = lambda path: False
    unrated: bool = False
    verify: bool = True
    limits: Limits | None = None


class _Guarded(Folder):
    """The log's folder; what leaves it is asked about before it is opened."""

    def __init__(self, folder: Path, limits: Limits, allowed: Callable[[Path], bool]) -> None:
        super().__init__(folder, limits)
        self._root = folder.resolve()
        self._allowed = allowed
        self._answers: dict[Path, bool] = {}

    def _checked(self, reference: str) -> Path:
        try:
            path = (self._root / reference).resolve()
            there = path.exists()
        except (OSError, ValueError, RuntimeError) as error:
            raise BadRow(f"“{short(reference)}” is no path ({short(error)}).") from None
        if not path.is_relative_to(self._root):
            if path not in self._answers:
                self._answers[path] = self._allowed(path)
            if not self._answers[path]:
                raise _OutsideError(path, self._root)
        if not there:
            raise _MissingError(f"“{short(reference)}” does not exist.", path)
        return path

    def read(self, reference: str, most: int) -> bytes:
        """Return the bytes of a file, if it may be read (see `Folder`)."""
        return super().read(str(self._checked(reference)), most)

    def unpack(self, reference: str, target: Path, most: int) -> Path:
        """Return where the file lies, if it may be read (see `Folder`)."""
        return super().unpack(str(self._checked(reference)), target, most)


class ExampleReader:
    """Reads examples; a context manager, as videos written into a log are unpacked meanwhile.

    The examples' media can be read until it is closed.

    Attributes:
        found: SHA-256 of every picture and video that was read.
    """

    def __init__(self, options: ReadOptions | None = None) -> None:
        self._options = options or ReadOptions()
        self._stack = ExitStack()
        self.found: set[str] = set()

    def __enter__(self) -> Self:
        """Return the reader itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove what was unpacked."""
        self.close()

    def close(self) -> None:
        """Remove what was unpacked."""
        self._stack.close()

    def read(self, path: Path) -> Iterator[Example | Dropped]:
        """Yield what is in a log file, row by row; blocking.

        A database of this program (``chats.sqlite3``) is read as the conversations in it.
        """
        shown = str(path)
        try:
            if path.is_dir():
                raise BadRow("it is a folder: name a file in it.")
            if path.exists() and not path.is_file():
                raise BadRow("it is not a regular file.")
            with path.open("rb") as file:
                head = file.read(16)
            if head.startswith(_ZIP):
                raise BadRow("it is an archive: unpack it, and name the file in it.")
            if head == _SQLITE:
                yield from self._database(path)
                return
            yield from self._rows(path)
        except FileNotFoundError:
            yield Dropped(shown, None, "it does not exist: check the path.")
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            yield Dropped(shown, None, f"it cannot be read ({short(why)}).")
        except VlmchatError as error:
            yield Dropped(shown, None, str(error))

    def conversations(
        self, found: Iterable[Conversation], name: str = "this program's conversations"
    ) -> Iterator[Example | Dropped]:
        """Yield the examples in what was thought of the replies of conversations."""
        for conversation in found:
            title = conversation.title or conversation.uid
            source = Source(f"{name}: {title}", form="vlmchat")
            yield from self._noted(
                from_conversation(conversation, source, unrated=self._options.unrated)
            )

    def _database(self, path: Path) -> Iterator[Example | Dropped]:
        from vlmchat.store.store import Store

        if path.name != "chats.sqlite3":
            raise BadRow("it is a database, and not one of vlmchat's (chats.sqlite3).")
        with Store(path.parent) as store:
            threads = [*store.threads(), *store.threads(archived=True)]
            numbers = dict.fromkeys(thread.id for thread in threads)
            yield from self.conversations((store.conversation(n) for n in numbers), str(path))

    def _rows(self, path: Path) -> Iterator[Example | Dropped]:
        limits = self._options.limits or import_limits()
        scratch = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="vlmchat-")))
        files = _Guarded(path.parent, limits, self._options.outside)
        kept = scratch / "pictures"
        kept.mkdir()
        sources = Sources(files, self._make, limits, videos(scratch), kept)
        for row in _conversations_whole(rows_of(path, _MAX_ROW, limits.max_bytes)):
            if row.error:
                yield Dropped(str(path), row.line, row.error, row.item)
            else:
                yield from self._noted(self._of_row(row, str(path), sources))

    def _make(self, data: bytes, name: str) -> Media:
        media = media_from_bytes(data, name)
        if self._options.verify:
            decode(data, name)
        return media

    def _noted(self, found: Iterator[Example | Dropped]) -> Iterator[Example | Dropped]:
        for item in found:
            if isinstance(item, Example):
                self.found.update(medium.sha256 for medium in item.media)
            yield item

    def _of_row(self, row: Row, file: str, sources: Sources) -> Iterator[Example | Dropped]:
        def dropped(reason: object, **about: Any) -> Dropped:  # noqa: ANN401
            return Dropped(file, row.line, str(reason), row.item, **about)

        try:
            yield from _examples(row, file, sources, self._options.unrated)
        except _MissingError as error:
            yield dropped(error, why="missing", path=error.path)
        except _OutsideError as error:
            yield dropped(error, why="outside", path=error.path)
        except MediaError as error:
            yield dropped(error, why="unreadable")
        except VlmchatError as error:
            yield dropped(error)
        except RecursionError:
            yield dropped("it is nested too deeply.")


def _conversations_whole(rows: Iterator[Row]) -> Iterator[Row]:
    """Yield rows; a list whose first item is a message is one conversation, and one row."""
    first = next(rows, None)
    if first is None:
        return
    value = first.value
    if not (first.item and isinstance(value, dict) and "role" in value and "content" in value):
        yield first
        yield from rows
        return
    items = [value]
    for row in rows:
        if row.error:
            yield Row(1, error=f"the conversation breaks off in line {row.line}: {row.error}")
            return
        items.append(row.value)
    yield Row(1, value={"messages": items})


# Formats ---------------------------------------------------------------------------------------


def _examples(row: Row, file: str, sources: Sources, unrated: bool) -> Iterator[Example | Dropped]:
    value = dict_of(_with_messages(row.value), "The row")
    source = Source(file, row.line, row.item)
    ours = replace(source, form="vlmchat")
    if value.get("format") == "vlmchat":
        yield from _record(value, ours, sources, unrated)
    elif isinstance(value.get("vlmchat"), dict):
        yield from from_conversation(own.from_jsonl(value, sources), ours, unrated=unrated)
    elif "mapping" in value:
        conversation, _ = chatgpt.from_chatgpt(value, sources)
        about = replace(source, form="chatgpt")
        yield from from_conversation(conversation, about, unrated=unrated)
    else:
        yield check(_foreign(value, source, sources))


def _with_messages(value: object) -> object:
    """Return a row that is nothing but the list of its messages as one that names them."""
    turns = value if isinstance(value, list) else []
    if turns and all(isinstance(turn, dict) and "role" in turn for turn in turns):
        return {"messages": turns}
    return value


def _record(
    value: _Raw, source: Source, sources: Sources, unrated: bool
) -> Iterator[Example | Dropped]:
    own.check_version(value)
    media = own.MediaTable(dict_of(value.get("media", {}), "“media”"), sources)
    for number, item in enumerate(list_of(value.get("conversations"), "“conversations”"), 1):
        about = replace(source, item=number)
        try:
            conversation = own.from_record(dict_of(item, "It"), media)
        except VlmchatError as error:
            yield Dropped(about.file, about.line, str(error), number)
        else:
            yield from from_conversation(conversation, about, unrated=unrated)


def _foreign(value: _Raw, source: Source, sources: Sources) -> Example:
    label = _label(value)
    if "chosen" in value or "rejected" in value:
        return _preference(value, source, sources)
    if "prompt" in value and "completion" in value:
        prompt, ends = _split(value, sources, ("completion",))
        return _answered(value, source, prompt, ends[0], label, "prompt-completion")
    if "conversations" in value:
        messages, form = _linear(foreign.turns_in(value, sources)), "sharegpt"
    elif "messages" in value:
        messages, form = _linear(foreign.messages_in(value, sources)), "messages"
    else:
        keys = ", ".join(short(key) for key in list(value)[:5])
        raise BadRow(f"The row has {keys or 'nothing'}; what is read is {KNOWN}.")
    _check_marks(messages)
    if label is not None:
        return _answered(value, source, messages[:-1], messages[-1:], label, form)
    left_out = _untrained(value, messages)
    trained = tuple(
        place
        for place, message in enumerate(messages)
        if message.role == "assistant" and place not in left_out
    )
    if _is_export(value):
        trained = trained[-1:]  # the reply that was rated; those before it may have been bad
    group = _group(value, messages)
    return Example("sft", messages, replace(source, form=form), group, trained=trained)


def _answered(
    value: _Raw,
    source: Source,
    prompt: tuple[Message, ...],
    end: tuple[Message, ...],
    label: bool | None,
    form: str,
) -> Example:
    """Return a prompt with its completion: KTO's if it has a label, else to be learned."""
    group = _group(value, (*prompt, *end))
    _check_marks((*prompt, *end))
    if label is not None:
        about = replace(source, form="kto")
        return Example("kto", prompt, about, group, completion=end, label=label)
    trained = tuple(
        place for place, turn in enumerate(end, len(prompt)) if turn.role == "assistant"
    )
    return Example("sft", (*prompt, *end), replace(source, form=form), group, trained=trained)


def _preference(value: _Raw, source: Source, sources: Sources) -> Example:
    row = dict(value)
    for side in ("chosen", "rejected"):
        if side not in row:
            raise BadRow(f"It has no “{side}”.")
        row[side] = _turns(row[side], "assistant")
    if "prompt" in row:
        row["prompt"] = _turns(row["prompt"], "user")
    elif "messages" in row or "conversations" in row:
        row["prompt"] = _turns(row.get("messages", row.get("conversations")), "user")
    elif "question" in row:
        row["prompt"] = _turns(row["question"], "user")
    else:
        row |= _without_prompt(row["chosen"], row["rejected"])
    prompt, (chosen, rejected) = _split(row, sources, ("chosen", "rejected"))
    _check_marks((*prompt, *chosen, *rejected))
    about = replace(source, form="preference")
    group = _group(value, prompt or chosen)
    return Example("preference", prompt, about, group, chosen=chosen, rejected=rejected)


def _turns(value: object, role: str) -> list[_Raw]:
    """Return messages, whether they come as a text, one turn or a list, in any dialect."""
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    items = value if isinstance(value, list) else [value]
    found: list[_Raw] = []
    for item in items:
        turn = dict_of(item, "A turn")
        if "role" not in turn and "from" in turn:
            turn = {"role": role_of(turn["from"]), "content": turn.get("value")}
        found.append(turn)
    return found


def _without_prompt(chosen: list[_Raw], rejected: list[_Raw]) -> _Raw:
    """Return prompt and answers of two whole conversations: what they share is the prompt."""
    shared = 0
    while shared < min(len(chosen), len(rejected)) and chosen[shared] == rejected[shared]:
        shared += 1
    while shared and chosen[shared - 1].get("role") == "assistant":
        shared -= 1  # equal answers, or one that differs later: it is no part of the question
    return {"prompt": chosen[:shared], "chosen": chosen[shared:], "rejected": rejected[shared:]}


def _split(
    row: _Raw, sources: Sources, sides: Sequence[str]
) -> tuple[tuple[Message, ...], tuple[tuple[Message, ...], ...]]:
    """Return prompt and answers of a row, read by the formats' own reader of such rows.

    It makes one conversation of them in which the answers are branches; they are taken apart
    again by how many messages each has.
    """
    counts = [1 if isinstance(row[side], str) else len(_turns(row[side], "")) for side in sides]
    about = {key: value for key, value in row.items() if key != "label"}
    conversation = foreign.from_training(about, sources)
    messages = [entry.message for entry in conversation.entries]
    if conversation.system:
        messages.insert(0, Message("system", (TextPart(conversation.system),)))
    ends: list[tuple[Message, ...]] = []
    for count in reversed(counts):
        ends.insert(0, tuple(messages[len(messages) - count :]))
        del messages[len(messages) - count :]
    return tuple(messages), tuple(ends)


def _linear(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Return messages with the system prompt as one text, or without it if it says nothing."""
    if not messages:
        raise BadRow("There is no message in it.")
    first = messages[0]
    if first.role != "system" or first.media:
        return tuple(messages)
    system = (Message("system", (TextPart(first.text),)),) if first.text else ()
    return (*system, *messages[1:])


def _label(value: _Raw) -> bool | None:
    """Return KTO's label of a row, if it has one."""
    label = value.get("label", value.get("kto_tag"))
    if label is None or isinstance(label, bool):
        return label
    if label in (0, 1):
        return bool(label)
    raise BadRow(f"“label” is {short(label)}: it must be true or false.")


def _untrained(value: _Raw, messages: Sequence[Message]) -> set[int]:
    """Return the turns that a row says are not learned: OpenAI's ``weight``, or ``loss``."""
    turns = value.get("messages", value.get("conversations"))
    raw: list[Any] = turns if isinstance(turns, list) else []
    shift = len(messages) - len(raw)  # a system prompt beside the turns stands before them
    return {
        place + shift
        for place, turn in enumerate(raw)
        if isinstance(turn, dict) and (turn.get("weight") == 0 or turn.get("loss") is False)
    }


def _group(value: _Raw, messages: Sequence[Message]) -> str:
    """Return which conversation a row belongs to, as it says itself or by its beginning."""
    if _is_export(value):
        return str(value["source"]["conversation"])
    named = value.get("conversation_id")
    if isinstance(named, str | int) and not isinstance(named, bool):
        return f"id:{named}"
    return group_of(messages)


def _is_export(value: _Raw) -> bool:
    """Return whether a row says which reply of this program it was made of."""
    source = value.get("source")
    return isinstance(source, dict) and all(
        isinstance(source.get(key), str) for key in ("conversation", "message")
    )


def _check_marks(messages: Sequence[Message]) -> None:
    """Refuse a row whose text has a place for a picture that it does not name."""
    if any(message.attachments for message in messages):
        return
    for message in messages:
        text = message.text
        for mark in _MARKS:
            if mark in text:
                what = "picture" if mark == "<image>" else "video"
                raise BadRow(f"{mark} stands in its text, and the row names no {what}.")
