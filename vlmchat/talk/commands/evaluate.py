"""The command that asks a set of questions and says how good the answers are."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from vlmchat.errors import UsageError
from vlmchat.talk.commands import completing
from vlmchat.talk.commands.base import Command, Completion, Completions, Found
from vlmchat.talk.desktop.pasted import last_word, split_words

if TYPE_CHECKING:
    from vlmchat.talk.front import Front

_SUFFIXES = (".jsonl", ".json")


class Evaluate(Command):
    """How good is it?"""

    name = "eval"
    help = (
        "Ask the model a set of questions whose answers are known, and see how good it is: a file "
        "and, if you like, a metric and how many; or “rated”: what you rated good; “stop” ends it"
    )
    arguments = "[SET] [METRIC] [NUMBER]"

    async def run(self, chat: "Front", argument: str) -> None:
        """Begin, stop, or show how it stands."""
        from vlmchat.talk.evaluating import RATED, parse

        words = split_words(argument)
        if words == ["stop"]:
            if not chat.beside.evaluating.stop():
                raise UsageError("Nothing is being evaluated.")
            chat.notice("The evaluation stops after the answer that is under way.")
            return
        if words:
            wish = parse(words)
            if wish.source is not None and not await asyncio.to_thread(wish.source.is_file):
                raise UsageError(
                    f"There is no file {words[0]}: name a set of questions, or “{RATED}” for what "
                    "you rated good."
                )
            chat.beside.evaluating.start(wish)
        elif not chat.beside.evaluating.active and chat.beside.evaluating.report is None:
            raise UsageError(f"Name a set of questions: /eval questions.jsonl, or /eval {RATED}.")
        chat.open_evaluation()

    def completions(self, chat: "Front", argument: str) -> Found:
        """Offer files, then metrics."""
        begin, word = last_word(argument)
        if not argument[:begin].strip():
            if word and "stop".startswith(word) and chat.beside.evaluating.active:
                return completing.words(word, ["stop"])
            return completing.paths(argument, _is_set)
        return _metrics(argument[:begin], word)


def _metrics(before: str, word: str) -> Completions:
    from vlmchat.evaluate.metrics.registry import METRICS

    helps = {name: metric.title for name, metric in METRICS.items()}
    return [
        Completion(f"{before}{item.text}", item.text, item.help)
        for item in completing.words(word, helps)
    ]


def _is_set(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES
