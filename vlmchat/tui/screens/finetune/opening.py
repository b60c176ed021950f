"""Opens the steps from the chat."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vlmchat.errors import VlmchatError

if TYPE_CHECKING:
    from vlmchat.talk.finetuning.flow import Origin
    from vlmchat.tui.screens.chat import ChatScreen


def open_finetune(chat: "ChatScreen", files: Sequence[Path]) -> None:
    """Begin with the data: these logs, or what the person chooses."""
    from vlmchat.talk.finetuning.flow import begun, of_files
    from vlmchat.tui.screens.finetune.data import DataScreen
    from vlmchat.tui.screens.finetune.sources import Sources

    def show(origin: "Origin | None") -> None:
        if origin is not None:
            chat.app.push_screen(DataScreen(chat, begun(chat, origin)))

    if files:
        show(of_files(files))
    else:
        chat.app.push_screen(Sources(chat), show)


def open_jobs(chat: "ChatScreen", name: str) -> None:
    """Show the jobs, or the one of that name."""
    chat.run_worker(_open_jobs(chat, name), group="opening")


async def _open_jobs(chat: "ChatScreen", name: str) -> None:
    from vlmchat.finetune.job import open_job
    from vlmchat.tui.screens.finetune.jobs import JobsScreen
    from vlmchat.tui.screens.finetune.run import RunScreen

    try:
        if not name:
            await chat.app.push_screen(JobsScreen(chat))
            return
        job = await asyncio.to_thread(open_job, name)
    except VlmchatError as error:
        chat.notice(str(error), "error")
        return
    await chat.app.push_screen(RunScreen(chat, job))
