"""Which examples a method learns from."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from vlmchat.errors import UsageError
from vlmchat.finetune.examples import Example, ExampleKind
from vlmchat.finetune.settings import Method

KINDS: dict[Method, ExampleKind] = {
    "sft": "sft",
    "dpo": "preference",
    "mpo": "preference",
    "kto": "kto",
}
_NEEDS: dict[ExampleKind, str] = {
    "sft": "answers to learn: rows with messages, or replies rated good or corrected",
    "preference": "pairs of a better and a worse answer: rows with chosen and rejected, or replies "
    "marked as better than another, or corrected",
    "kto": "answers that are good or bad: rows with a label, or rated replies",
}


def for_method(examples: Iterable[Example], method: Method) -> list[Example]:
    """Return what `method` learns from.

    Those of its own kind. Only where there are none, others are turned into them: for SFT the
    chosen answers of preferences and the good ones of KTO, for KTO both answers of preferences.

    Args:
        examples: of any kind.
        method: of the run.

    Raises:
        UsageError: there is nothing for it; the sentence says what it needs.
    """
    wanted, there = KINDS[method], list(examples)
    found = [example for example in there if example.kind == wanted]
    if not found:
        turned = {one.digest: one for example in there for one in _turned(example, wanted)}
        found = list(turned.values())
    if not found:
        raise UsageError(f"{method.upper()} needs {_NEEDS[wanted]}.")
    return found


def _turned(example: Example, wanted: ExampleKind) -> Iterator[Example]:
    """Yield what an example of another kind says in terms of this one."""
    if wanted == "sft" and (example.kind == "preference" or example.label):
        messages, trained = example.branches()[0]
        yield Example("sft", messages, example.source, example.group, trained)
    elif wanted == "kto" and example.kind == "preference":
        bare = replace(example, kind="kto", chosen=(), rejected=())
        yield replace(bare, completion=example.chosen, label=True)
        yield replace(bare, completion=example.rejected, label=False)
