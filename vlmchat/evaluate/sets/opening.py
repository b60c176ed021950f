"""Opens a set, whatever it is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vlmchat.chat.formats.values import short
from vlmchat.errors import UsageError
from vlmchat.evaluate.items import EvalSet
from vlmchat.evaluate.sets import own, public

_MAX_ROW = 200_000_000


@dataclass(frozen=True, slots=True)
class Opening:
    """How a set is opened.

    Attributes:
        pictures: the folder of a benchmark's pictures; ``None`` looks where its download has them.
        allowed: whether a file outside the folder of a set of our own may be read.
    """

    pictures: Path | None = None
    allowed: Callable[[Path], bool] = lambda path: False


@contextmanager
def opened(path: Path, how: Opening | None = None) -> Iterator[EvalSet]:
    """Yield the set in a file; blocking. Its pictures can be read until the block ends.

    Args:
        path: a benchmark's file, rows of questions, a log as fine-tuning reads them, or a
            database of this program's conversations.
        how: it is opened.

    Raises:
        UsageError: it is none of these, or there is no question in it.
    """
    from vlmchat.finetune.reading import ExampleReader, ReadOptions

    how = how or Opening()
    if not path.is_file():
        what = "is a folder: name a file in it" if path.is_dir() else "does not exist"
        raise UsageError(f"“{short(path)}” {what}.")
    if path.suffix.lower() == ".json":
        value = public.read_json(path)
        if public.recognised(value):
            yield public.benchmark(path, value, how.pictures)
            return
    if how.pictures is not None:
        raise UsageError(
            "--pictures is for the public benchmarks: rows of other sets name their pictures."
        )
    if _has_questions(path):
        yield own.questions(path, how.allowed)
        return
    with ExampleReader(ReadOptions(outside=how.allowed)) as reader:
        yield own.log(path.name, reader.read(path))


def _has_questions(path: Path) -> bool:
    from vlmchat.finetune.rows import rows_of

    try:
        good = (row.value for row in rows_of(path, _MAX_ROW, _MAX_ROW) if not row.error)
        return own.is_question(next(good, None))
    except OSError as error:
        raise UsageError(f"“{short(path)}” cannot be read ({error.strerror}).") from error


@contextmanager
def rated_chats() -> Iterator[EvalSet]:
    """Yield the replies of saved conversations that the person rated good or wrote; blocking.

    Raises:
        UsageError: there is none.
    """
    from vlmchat import paths
    from vlmchat.finetune.reading import ExampleReader
    from vlmchat.store.store import Store

    with Store(paths.data_dir()) as store:
        threads = [*store.threads(), *store.threads(archived=True)]
        numbers = dict.fromkeys(thread.id for thread in threads)
        found = [store.conversation(number) for number in numbers]
    with ExampleReader() as reader:
        yield own.log("rated conversations", reader.conversations(found))
