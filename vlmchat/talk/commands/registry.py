"""All commands. What the screen makes of them is in `vlmchat.tui.bindings`, which knows Textual."""

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

from vlmchat.errors import UsageError
from vlmchat.talk.commands import (
    adapter,
    batch,
    branches,
    compose,
    conversation,
    describe,
    engine,
    evaluate,
    files,
    finetune,
    frames,
    judge,
    locate,
    media,
    program,
    synth,
    system,
    threads,
    why,
)
from vlmchat.talk.commands.base import Command

if TYPE_CHECKING:
    from vlmchat.talk.front import Front

COMMANDS: tuple[Command, ...] = (
    conversation.Attach(),
    conversation.Detach(),
    describe.Describe(),
    conversation.New(),
    system.System(),
    conversation.Stop(),
    conversation.SetParameter(),
    engine.Model(),
    engine.Quant(),
    adapter.Adapter(),
    engine.DetailLevel(),
    frames.Frames(),
    engine.Parameters(),
    engine.SettingsCommand(),
    engine.KeysCommand(),
    compose.Editor(),
    compose.PasteImage(),
    compose.History(),
    branches.Edit(),
    branches.Regenerate(),
    branches.Continue(),
    branches.Fork(),
    branches.PreviousVersion(),
    branches.NextVersion(),
    branches.TreeView(),
    branches.Compare(),
    branches.Good(),
    branches.Bad(),
    branches.Better(),
    branches.Provenance(),
    branches.Copy(),
    branches.CopyCode(),
    threads.Chats(),
    threads.Search(),
    threads.Find(),
    threads.Rename(),
    threads.Pin(),
    threads.Archive(),
    threads.Delete(),
    threads.Undelete(),
    files.Export(),
    files.Import(),
    finetune.Finetune(),
    finetune.Jobs(),
    judge.Judge(),
    evaluate.Evaluate(),
    batch.Batch(),
    synth.Synth(),
    why.Why(),
    locate.Locate(),
    media.View(),
    media.Crop(),
    media.Gallery(),
    media.Watch(),
    program.Restart(),
    program.Log(),
    program.Theme(),
    program.Help(),
    program.Quit(),
)
# A name directly behind the slash: paths have a second slash, and prose has a space before.
_SLASH = re.compile(r"/([A-Za-z?][\w-]*)(?:\s+(.*))?\Z", re.DOTALL)


def barred(chat: "Front") -> dict[str, str]:
    """Return why commands cannot be used that what answers does not allow, by name."""
    reasons = {item.name: item.available(chat) for item in COMMANDS if item.engines}
    return {name: reason for name, reason in reasons.items() if reason}


def names() -> dict[str, Command]:
    """Return every name and alias with its command."""
    table: dict[str, Command] = {}
    for command in COMMANDS:
        for name in (command.name, *command.aliases):
            table[name] = command
    return table


def find(name: str) -> Command:
    """Return the command called `name`.

    Raises:
        UsageError: there is none; the sentence has the nearest name.
    """
    table = names()
    if command := table.get(name.lower()):
        return command
    near = get_close_matches(name.lower(), table, n=1, cutoff=0.4)
    hint = f"did you mean /{table[near[0]].name}?" if near else "/help lists what there is."
    raise UsageError(
        f"There is no command /{name}: {hint} A space before the slash sends it as text."
    )


def parse(text: str) -> tuple[Command, str] | None:
    """Return the command and argument that `text` is, or ``None`` when it is no command.

    Raises:
        UsageError: it looks like a command, but there is no such.
    """
    match = _SLASH.match(text)
    if match is None:
        return None
    return find(match.group(1)), (match.group(2) or "").strip()


def default_keys() -> dict[str, tuple[str, ...]]:
    """Return the keys of each command that has any, before anybody changed them."""
    found = {item.name: item.key for item in COMMANDS if item.key}
    found |= {f"turn.{item.name}": item.turn_key for item in COMMANDS if item.turn_key}
    return {name: tuple(keys.split(",")) for name, keys in found.items()}
