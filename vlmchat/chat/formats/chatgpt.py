"""ChatGPT's data export: ``conversations.json``, an array of trees.

There is no official description. Known from published exports and parsers: each conversation has
``mapping`` (node id → ``message``, ``parent``, ``children``), ``current_node``, ``title``,
``create_time``, ``update_time``; a message has ``author.role``, ``content`` (``content_type``,
``parts``), ``recipient``, ``status`` and ``metadata``; pictures are ``image_asset_pointer`` parts
that name a file of the export by the beginning of its name.

Only what was said is taken: nodes of tools, of the program itself, hidden and empty ones are left
out, and what follows them is joined to what came before. How many is told in a note.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from vlmchat.chat.conversation import Conversation, Entry, Provenance
from vlmchat.chat.formats.sources import Sources
from vlmchat.chat.formats.values import BadRow, dict_of, short, text_of, time_of
from vlmchat.chat.messages import ImagePart, Message, Part, Role, TextPart
from vlmchat.errors import VlmchatError

_POINTER = re.compile(r"^[\w-]+://")
_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant"}


@dataclass(slots=True)
class _Tree:
    """What is made of one conversation."""

    mapping: dict[str, Any]
    sources: Sources
    entries: list[Entry] = field(default_factory=list)
    # For each node that was passed, the entry that what follows it hangs below.
    nearest: dict[str, str | None] = field(default_factory=dict)
    left_out: int = 0
    missing: int = 0


def from_chatgpt(row: dict[str, Any], sources: Sources) -> tuple[Conversation, list[str]]:
    """Return the conversation in an element of ``conversations.json``, and what was left out.

    Raises:
        BadRow: it is malformed, or has a cycle.
    """
    tree = _Tree(dict_of(row.get("mapping"), "“mapping”"), sources)
    _walk(tree)
    uid = row.get("conversation_id") or row.get("id")
    if not isinstance(uid, str) or not uid:
        raise BadRow("It has no “conversation_id”.")
    title = row.get("title")
    created = time_of(row, "create_time")
    current = row.get("current_node")
    tip = tree.nearest.get(current) if isinstance(current, str) else None
    if tip is None and tree.entries:
        tip = tree.entries[-1].uid
    conversation = Conversation(
        uid,
        title if isinstance(title, str) else "",
        "",
        created,
        time_of(row, "update_time") or created,
        pinned=row.get("is_starred") is True,
        archived=row.get("is_archived") is True,
        tip=tip,
        entries=tuple(tree.entries),
    )
    return conversation, _notes(conversation, tree)


def _notes(conversation: Conversation, tree: _Tree) -> list[str]:
    about = f"“{short(conversation.title or conversation.uid)}”"
    notes = []
    if tree.left_out:
        many = "messages" if tree.left_out > 1 else "message"
        notes.append(f"{about}: {tree.left_out} {many} of tools or hidden ones were left out.")
    if tree.missing:
        many = "pictures are" if tree.missing > 1 else "picture is"
        notes.append(f"{about}: {tree.missing} {many} not in the export; a remark stands there.")
    return notes


def _walk(tree: _Tree) -> None:
    """Visit the nodes, parents first, siblings in the order they were made."""
    roots = [key for key, node in tree.mapping.items() if _parent(node) not in tree.mapping]
    waiting = list(reversed(roots))
    while waiting:
        key = waiting.pop()
        node = dict_of(tree.mapping[key], "A node of “mapping”")
        if key in tree.nearest:
            raise BadRow(f"The node “{short(key)}” is reached twice.")
        parent = _parent(node)
        above = tree.nearest.get(parent) if isinstance(parent, str) else None
        tree.nearest[key] = _take(tree, key, node, above)
        children = node.get("children", [])
        if not isinstance(children, list) or not all(
            isinstance(child, str) and _parent(tree.mapping.get(child)) == key for child in children
        ):
            raise BadRow(f"The children of the node “{short(key)}” are not in “mapping”.")
        waiting += reversed(children)
    if len(tree.nearest) != len(tree.mapping):
        raise BadRow("“mapping” has nodes that nothing leads to.")


def _parent(node: object) -> object:
    return node.get("parent") if isinstance(node, dict) else None


def _take(tree: _Tree, key: str, node: dict[str, Any], above: str | None) -> str | None:
    """Make an entry of a node if it says something; return what its children hang below."""
    message = node.get("message")
    if message is None:
        return above
    message = dict_of(message, "A message")
    author = text_of(dict_of(message.get("author"), "“author”"), "role")
    metadata = message.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    hidden = metadata.get("is_visually_hidden_from_conversation") is True
    spoken = author in _ROLES and message.get("recipient", "all") == "all" and not hidden
    parts = _parts(tree, dict_of(message.get("content"), "“content”")) if spoken else None
    if not parts:
        # The program's own empty system message begins every conversation: no loss to tell of.
        tree.left_out += author != "system" and parts is None
        return above
    model = metadata.get("model_slug")
    made = None
    if author == "assistant":
        ended = metadata.get("finish_details")
        reason = ended.get("type") if isinstance(ended, dict) else None
        engine = {"model": model} if isinstance(model, str) else {}
        made = Provenance(engine, finish_reason=reason if isinstance(reason, str) else None)
    done = message.get("status", "finished_successfully") == "finished_successfully"
    tree.entries.append(
        Entry(
            key,
            above,
            Message(_ROLES[author], parts),
            "model" if author == "assistant" else "person",
            "complete" if done else "stopped",
            time_of(message, "create_time"),
            made,
        )
    )
    return key


def _parts(tree: _Tree, content: dict[str, Any]) -> tuple[Part, ...] | None:
    """Return what a person would have seen; ``None`` for kinds that are no speech."""
    kind = content.get("content_type")
    if kind == "code":
        text = text_of(content, "text")
        language = content.get("language")
        name = language if isinstance(language, str) and language != "unknown" else ""
        return (TextPart(f"```{name}\n{text}\n```"),) if text else ()
    if kind not in ("text", "multimodal_text"):
        return None
    parts: list[Part] = []
    found = content.get("parts", [])
    for item in found if isinstance(found, list) else []:
        if isinstance(item, str):
            if item:
                parts.append(TextPart(item))
        elif isinstance(item, dict):
            made = _piece(tree, item)
            parts += [made] if made is not None else []
    return tuple(parts)


def _piece(tree: _Tree, item: dict[str, Any]) -> Part | None:
    kind = item.get("content_type")
    if kind == "audio_transcription" and isinstance(item.get("text"), str):
        return TextPart(item["text"])
    if kind != "image_asset_pointer":
        tree.left_out += 1
        return None
    pointer = item.get("asset_pointer")
    key = _POINTER.sub("", pointer).split("#")[0] if isinstance(pointer, str) else ""
    try:
        media = tree.sources.asset(key) if key else None
    except VlmchatError:
        media = None  # damaged, or no picture after all: the talk about it is worth keeping
    if media is None:
        tree.missing += 1
        return TextPart(f"[a picture that is not in the export: {short(key)}]")
    return ImagePart(media)
