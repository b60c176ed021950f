"""A model with and without an adapter on the same questions, judged by a person.

What a person says is written down at once, in a folder for each adapter:

    comparisons/NAME-HASH/
      picks.jsonl         each judgement, ties too
      preferences.jsonl   a row for each answer that was better, as TRL takes them
      media/              the pictures and videos of those rows, by SHA-256

so that comparing can be left and gone on with, and its rows are something to learn from.
"""

import json
import math
import os
import random
import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from vlmchat import paths
from vlmchat.chat.formats.own import dumps
from vlmchat.chat.formats.sources import suffix_of
from vlmchat.chat.formats.training import typed
from vlmchat.chat.formats.values import short
from vlmchat.chat.messages import Attachment, Media, Message, TextPart
from vlmchat.errors import UsageError
from vlmchat.finetune.examples import Example, content_key
from vlmchat.finetune.files import JobError, safe_name, sync_folder, told, write_whole
from vlmchat.finetune.job import open_job
from vlmchat.finetune.reading import ExampleReader
from vlmchat.finetune.shelf import Adapter, digest_of, note_evaluation

Who: TypeAlias = Literal["adapter", "base"]
# Whose answer was better, that they were as good, or that neither was any good.
Verdict: TypeAlias = Literal["adapter", "base", "tie", "bad"]
_Z = 1.959963984540054  # of the normal distribution, 95 % two-sided


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question that both answer.

    Attributes:
        messages: up to the question.
        reference: the answer that the data have, if they have one.
    """

    messages: tuple[Message, ...]
    reference: str = ""

    @property
    def key(self) -> str:
        """What tells it from others: a hash of what the model gets."""
        import hashlib

        return hashlib.sha256(json.dumps(content_key(self.messages)).encode()).hexdigest()

    @property
    def text(self) -> str:
        """The question."""
        return self.messages[-1].text

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """The pictures and videos of all its messages."""
        return tuple(
            part
            for message in self.messages
            for part in message.parts
            if not isinstance(part, TextPart)
        )


def prompt_of(example: Example) -> Prompt:
    """Return what is asked in an example: in a conversation, its last question that is learned."""
    if example.kind == "sft":
        last = max(example.trained)
        return Prompt(example.messages[:last], example.messages[last].text)
    good = example.chosen or (example.completion if example.label else ())
    return Prompt(example.messages, good[-1].text if good else "")


def prompts_of(examples: Iterable[Example]) -> list[Prompt]:
    """Return what is asked in examples, each once, in order."""
    found = [prompt_of(example) for example in examples]
    return list({prompt.key: prompt for prompt in reversed(found)}.values())[::-1]


def held_out(adapter: Adapter) -> list[Prompt]:
    """Return the prompts that an adapter's own run only measured on; blocking.

    Raises:
        UsageError: it has none, or its job is gone; the sentence says what to do.
    """
    name = short(adapter.name)
    instead = f"name a file of questions: /judge {name} questions.jsonl."
    if not adapter.card.job:
        raise UsageError(f"“{name}” was made elsewhere: {instead}")
    try:
        found = prompts_of(open_job(adapter.card.job).examples("validation"))
    except JobError:
        raise UsageError(f"The job that made “{name}” is gone: {instead}") from None
    if not found:
        raise UsageError(f"The job that made “{name}” held no rows back: {instead}")
    return found


def in_files(reader: ExampleReader, files: Sequence[Path]) -> list[Prompt]:
    """Return the prompts of logs; blocking. Their media can be read until `reader` is closed.

    Raises:
        UsageError: there is none.
    """
    found = [item for path in files for item in reader.read(path)]
    prompts = prompts_of(item for item in found if isinstance(item, Example))
    if not prompts:
        why = f": {found[0]}" if found else "."
        raise UsageError(f"There is no question in {short(files[0])}{why}")
    return prompts


# What was said -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pick:
    """One judgement.

    Attributes:
        key: of the prompt.
        verdict: what was said.
        left: whose answer stood on the left.
        blind: whether the person did not know.
        base: the answer without the adapter.
        adapter: the answer with it.
        time: seconds since 1970.
    """

    key: str
    verdict: Verdict
    left: Who
    blind: bool
    base: str
    adapter: str
    time: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class Tally:
    """How often which was better."""

    adapter: int = 0
    base: int = 0
    tie: int = 0
    bad: int = 0

    @classmethod
    def of(cls, picks: Iterable[Pick]) -> "Tally":
        """Count judgements."""
        said = [pick.verdict for pick in picks]
        return cls(*(said.count(verdict) for verdict in get_args(Verdict)))

    @property
    def decided(self) -> int:
        """Judgements that say which was better."""
        return self.adapter + self.base

    @property
    def judged(self) -> int:
        """All judgements."""
        return self.decided + self.tie + self.bad

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the adapter's share of what was decided (see `wilson`)."""
        return wilson(self.adapter, self.decided)

    @property
    def chance(self) -> float:
        """How likely so uneven a result is if neither is better (see `sign_test`)."""
        return sign_test(self.adapter, self.base)

    def sentence(self) -> str:
        """Return the result for a person."""
        if not self.judged:
            return "Nothing was judged yet."
        even = f", {self.tie} as good, {self.bad} both bad" if self.tie or self.bad else ""
        counts = f"The adapter was better {self.adapter} times, the model without it {self.base}"
        if not self.decided:
            return f"{counts}{even}."
        low, high = self.interval
        return (
            f"{counts}{even}: {self.adapter / self.decided:.0%} for the adapter (95 % interval "
            f"{low:.0%} to {high:.0%}, p = {self.chance:.2g})."
        )

    def as_evaluation(self) -> dict[str, float | str]:
        """Return the result as the card of an adapter holds it."""
        low, high = self.interval
        values: dict[str, float | str] = {
            "judged": self.judged,
            "wins": self.adapter,
            "losses": self.base,
            "ties": self.tie,
            "both_bad": self.bad,
        }
        if self.decided:
            values |= {"win_share": round(self.adapter / self.decided, 4)}
            values |= {"win_share_low": round(low, 4), "win_share_high": round(high, 4)}
            values |= {"sign_test_p": round(self.chance, 4)}
        return values


def wilson(wins: int, count: int) -> tuple[float, float]:
    """Return the 95 % score interval of a share; from 0 to 1 where there is nothing to count.

    E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22
    (1927); it stays within 0 and 1 and holds for few counts (Brown, Cai, DasGupta 2001).
    """
    if not count:
        return 0.0, 1.0
    share, square = wins / count, _Z * _Z
    middle = share + square / (2 * count)
    spread = _Z * math.sqrt(share * (1 - share) / count + square / (4 * count * count))
    whole = 1 + square / count
    return max(0.0, (middle - spread) / whole), min(1.0, (middle + spread) / whole)


def sign_test(one: int, other: int) -> float:
    """Return the two-sided p of the exact sign test: chance alone, ties left out."""
    count = one + other
    tail = sum(math.comb(count, k) for k in range(min(one, other) + 1))
    return float(min(1.0, 2 * tail / 2**count))


# The folder --------------------------------------------------------------------------------------


class Contest:
    """Prompts, and what a person said of the answers to them.

    Args:
        adapter: that is compared with its base.
        prompts: that both answer.
        seed: another one puts the answers on other sides.

    Attributes:
        adapter: that is compared.
        picks: all judgements of this adapter, by prompt; those of other prompts too.
    """

    def __init__(self, adapter: Adapter, prompts: Sequence[Prompt], seed: int = 0) -> None:
        self.adapter = adapter
        self.prompts = tuple(prompts)
        self._seed = seed
        self._folder = _folder_of(adapter)
        self.picks = _picks_in(self._folder / "picks.jsonl")

    @property
    def preferences(self) -> Path:
        """The file of what can be learned from the judgements."""
        return self._folder / "preferences.jsonl"

    @property
    def waiting(self) -> list[Prompt]:
        """The prompts that were not judged, in order."""
        return [prompt for prompt in self.prompts if prompt.key not in self.picks]

    @property
    def tally(self) -> Tally:
        """How it stands."""
        return Tally.of(self.picks.values())

    def left(self, prompt: Prompt) -> Who:
        """Return whose answer stands on the left: the same each time."""
        drawn = random.Random(f"{self._seed}:{prompt.key}")  # noqa: S311 - nothing secret
        return "adapter" if drawn.random() < 0.5 else "base"

    def judge(
        self, prompt: Prompt, base: str, adapter: str, verdict: Verdict, *, blind: bool = True
    ) -> Pick:
        """Write a judgement down; it is on the disk when this returns; blocking.

        Args:
            prompt: that was answered.
            base: the answer without the adapter.
            adapter: the answer with it.
            verdict: what the person said.
            blind: whether the person did not know which is which.

        Raises:
            JobError: it cannot be written.
            VlmchatError: a picture cannot be read any more.
        """
        pick = Pick(prompt.key, verdict, self.left(prompt), blind, base, adapter)
        with told("The judgement cannot be written down"):
            if row := self._preference(prompt, pick):
                self._keep_media(prompt)
                _append(self.preferences, row)
            _append(self._folder / "picks.jsonl", asdict(pick))
        self.picks[pick.key] = pick
        return pick

    def note(self) -> None:
        """Write the result on the adapter's card; blocking.

        Raises:
            VlmchatError: the adapter is gone, or its card cannot be written.
        """
        note_evaluation(self.adapter.name, self.tally.as_evaluation())

    def _preference(self, prompt: Prompt, pick: Pick) -> dict[str, Any] | None:
        """Return what there is to learn; nothing where neither is better, or one says nothing."""
        answers = {"adapter": pick.adapter, "base": pick.base}
        if pick.verdict not in answers:
            return None
        chosen = answers.pop(pick.verdict)
        (rejected,) = answers.values()
        if not chosen.strip() or not rejected.strip() or chosen == rejected:
            return None
        asked, images = typed(prompt.messages, _place)
        row: dict[str, Any] = {"prompt": asked}
        for name, text in (("chosen", chosen), ("rejected", rejected)):
            row[name] = typed([Message("assistant", (TextPart(text),))], _place)[0]
        return row | {
            "images": images,
            "source": {"adapter": self.adapter.name, "chosen": pick.verdict, "blind": pick.blind},
        }

    def _keep_media(self, prompt: Prompt) -> None:
        for part in prompt.attachments:
            target = self._folder / _place(part.media)
            if target.exists():
                continue
            target.parent.mkdir(mode=0o700, exist_ok=True)
            if part.media.file is None:
                write_whole(target, part.media.data)
                continue
            temporary = target.with_name(f".{target.name}.part")
            shutil.copyfile(part.media.file, temporary)
            temporary.replace(target)


def _place(media: Media) -> str:
    return f"media/{media.sha256}{suffix_of(media.mime)}"


def comparisons_dir() -> Path:
    """Return the folder of all comparisons, created if missing."""
    folder = paths.data_dir() / "comparisons"
    with told(f"The folder {folder} cannot be made"):
        folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _folder_of(adapter: Adapter) -> Path:
    """Return the folder for an adapter, which keeps it when it gets another name."""
    digest = digest_of(adapter)
    root = comparisons_dir()
    known = next((item for item in sorted(root.glob(f"*-{digest}")) if item.is_dir()), None)
    if known is not None:
        return known
    folder = root / f"{safe_name(adapter.name)}-{digest}"
    with told(f"The folder {folder} cannot be made"):
        folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _append(path: Path, row: dict[str, Any]) -> None:
    """Write a line at the end; a line that a kill cut off does not swallow it."""
    fresh = not path.exists()
    with path.open("a+b") as file:
        end = file.seek(0, os.SEEK_END)
        if end:
            file.seek(end - 1)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write((dumps(row) + "\n").encode())
        file.flush()
        os.fsync(file.fileno())
    if fresh:
        sync_folder(path.parent)


def _picks_in(path: Path) -> dict[str, Pick]:
    """Return the judgements of a file; a line that is none is passed over."""
    if not path.exists():
        return {}
    with told(f"“{short(path)}” cannot be read"):
        lines = path.read_bytes().split(b"\n")
    found: dict[str, Pick] = {}
    for line in lines:
        try:
            pick = Pick(**json.loads(line))
        except (ValueError, TypeError):
            continue
        if pick.verdict in get_args(Verdict):
            found[pick.key] = pick
    return found
