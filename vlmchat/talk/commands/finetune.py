"""Commands that make a better model of what was corrected."""

import asyncio
from typing import TYPE_CHECKING

from vlmchat.talk.commands import completing
from vlmchat.talk.commands.base import Command, Completion, Completions, Found
from vlmchat.talk.desktop.pasted import parse_paths

if TYPE_CHECKING:
    from pathlib import Path

    from vlmchat.talk.front import Front

_LOGS = frozenset({".jsonl", ".json", ".ndjson", ".sqlite3"})
REMOTE = (
    "Fine-tuning needs a model on this machine, and the one that answers is on a server: start "
    "vlmchat without --engine-url for it."
)


class Finetune(Command):
    """From logs or ratings to an adapter."""

    name = "finetune"
    engines = True
    aliases = ("tune",)
    help = "Fine-tune the model on logs, or on the replies that you rated; shows the job that runs"
    arguments = "[FILES…]"
    key = "f9"

    def available(self, chat: "Front") -> str | None:
        """Need a model of ours."""
        if chat.session.engine.kind == "remote":
            return REMOTE
        if chat.engine_changer.settings is None:
            return "The settings are still being read: try again in a moment."
        return None

    async def run(self, chat: "Front", argument: str) -> None:
        """Begin with the data; with a job that runs and no files, show that."""
        running = chat.following.running
        if not argument and running is not None:
            chat.open_jobs(running.id)
        else:
            chat.open_finetune(parse_paths(argument) if argument else ())

    def completions(self, chat: "Front", argument: str) -> Found:
        """Offer logs."""
        return completing.paths(argument, _is_log)


def _is_log(path: "Path") -> bool:
    return path.suffix.lower() in _LOGS


class Jobs(Command):
    """What was trained, and what is being trained."""

    name = "jobs"
    help = "Show the fine-tuning jobs: open, resume, delete; with a name, that one"
    arguments = "[NAME]"

    async def run(self, chat: "Front", argument: str) -> None:
        """Show them, or one."""
        chat.open_jobs(argument)

    def completions(self, chat: "Front", argument: str) -> Found:
        """Offer the jobs."""
        return _jobs(argument)


async def _jobs(argument: str) -> Completions:
    def known() -> dict[str, str]:
        from vlmchat.talk.finetuning.following import all_watches

        return {watch.job.id: watch.where() for watch in all_watches()}

    found = completing.words(argument.strip(), await asyncio.to_thread(known))
    return [item for item in found if item != Completion(argument)]
