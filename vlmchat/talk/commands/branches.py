"""Commands about the tree: other versions of what was said, and what the person thinks of them."""

from typing import TYPE_CHECKING

from vlmchat.errors import UsageError
from vlmchat.talk.commands import completing
from vlmchat.talk.commands.base import Command, Found
from vlmchat.talk.turns.tree import Turn
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.talk.front import Front


def last_reply(chat: "Front") -> Turn | None:
    """Return the answer a command is about.

    It is the selected one, the one to the selected question, or the last.
    """
    turn = chat.selected()
    path = chat.session.path
    if turn is not None and turn.role == "assistant":
        return turn
    if turn is not None and turn in path[:-1]:
        following = path[path.index(turn) + 1]
        return following if following.role == "assistant" else None
    return next((item for item in reversed(path) if item.role == "assistant"), None)


def _chosen(chat: "Front") -> Turn | None:
    """Return the selected turn, or the last question."""
    turn = chat.selected()
    if turn is not None:
        return turn
    return next((item for item in reversed(chat.session.path) if item.role == "user"), None)


def required_reply(chat: "Front") -> Turn:
    """Return the answer a command is about.

    Raises:
        UsageError: nothing was answered yet.
    """
    reply = last_reply(chat)
    if reply is None:
        raise UsageError("Nothing was answered yet.")
    return reply


class _AboutReply(Command):
    """A command that needs an answer."""

    def available(self, chat: "Front") -> str | None:
        """Need an answer."""
        return None if last_reply(chat) is not None else "Nothing was answered yet."


class _WhileIdle(_AboutReply):
    """A command that needs an answer, and the model at rest."""

    def available(self, chat: "Front") -> str | None:
        """Need an answer that is complete."""
        if chat.session.answering:
            return f"The model is answering: stop it first ({chat.key_or_command('stop')})."
        return super().available(chat)


class Edit(Command):
    """Say it differently."""

    name = "edit"
    help = (
        "Edit the selected turn and send it again, beside the old one; an answer that you edit "
        "becomes what the model said"
    )
    turn_key = "e"
    turn_label = "Edit"

    def available(self, chat: "Front") -> str | None:
        """Need a turn, and the model at rest."""
        if chat.session.answering:
            return f"The model is answering: stop it first ({chat.key_or_command('stop')})."
        return None if _chosen(chat) is not None else "Nothing was said yet."

    async def run(self, chat: "Front", argument: str) -> None:
        """Put the turn into the composer."""
        turn = _chosen(chat)
        assert turn is not None
        if turn.role == "user" and not chat.attachments:
            chat.attachments.items = turn.attachments
        chat.write(turn.text, turn)


class Regenerate(_WhileIdle):
    """Ask again."""

    name = "regenerate"
    aliases = ("retry", "again")
    help = "Have the question answered once more; the present answer stays as a sibling"
    key = "alt+r"
    turn_key = "r"
    turn_label = "Regenerate"

    async def run(self, chat: "Front", argument: str) -> None:
        """Ask again."""
        chat.session.regenerate(required_reply(chat))


class Continue(_WhileIdle):
    """Go on with a cut answer."""

    name = "continue"
    help = "Continue an answer that was stopped or cut short"
    turn_key = "o"

    async def run(self, chat: "Front", argument: str) -> None:
        """Go on."""
        chat.session.go_on(required_reply(chat))


class Fork(Command):
    """Another conversation with the same beginning."""

    name = "fork"
    help = "Go on from the selected turn in a conversation of its own"
    turn_key = "f"
    turn_label = "Fork"

    def available(self, chat: "Front") -> str | None:
        """Need something said, and the model at rest."""
        if chat.session.answering:
            return f"The model is answering: stop it first ({chat.key_or_command('stop')})."
        return None if chat.session.path else "Nothing was said yet."

    async def run(self, chat: "Front", argument: str) -> None:
        """Copy the path up to there and open it."""
        turn = chat.selected() or chat.session.path[-1]
        await chat.conversations.fork(turn)
        chat.compose_on()  # what comes next is written, and the turn with the focus is gone
        chat.notice("This is a fork: the conversation it came from is unchanged.", "note")


class _Sibling(_WhileIdle):
    """Another version of a turn."""

    step = 0

    def available(self, chat: "Front") -> str | None:
        """Need a turn with siblings."""
        if reason := super().available(chat):
            return reason
        return None if self._next(chat) is not None else "There is no other version there."

    def _next(self, chat: "Front") -> Turn | None:
        turn = chat.selected()
        tree = chat.session.tree
        if turn is not None:
            return tree.beside(turn, self.step)
        versions = (tree.beside(item, self.step) for item in reversed(chat.session.path))
        return next((item for item in versions if item is not None), None)

    async def run(self, chat: "Front", argument: str) -> None:
        """Go there."""
        turn = self._next(chat)
        assert turn is not None
        await chat.session.switch(turn)
        await chat.go_to(turn)


class PreviousVersion(_Sibling):
    """The version before."""

    name = "previous"
    help = "Show the version of the turn before this one (‹1/3›)"
    key = "alt+left"
    turn_key = "left"
    step = -1


class NextVersion(_Sibling):
    """The version after."""

    name = "next"
    help = "Show the version of the turn after this one (‹3/3›)"
    key = "alt+right"
    turn_key = "right"
    step = 1


class TreeView(Command):
    """Where am I."""

    name = "tree"
    help = "Show all branches of the conversation, and where you are"
    turn_key = "t"
    turn_label = "Tree"

    def available(self, chat: "Front") -> str | None:
        """Need something said."""
        return None if chat.session.path else "Nothing was said yet."

    async def run(self, chat: "Front", argument: str) -> None:
        """Show it."""
        chat.open_tree()


class Compare(_AboutReply):
    """Two versions side by side."""

    name = "compare"
    aliases = ("diff",)
    help = "Show this version of the turn and another one side by side"
    arguments = "[NUMBER]"
    turn_key = "d"
    turn_label = "Compare"

    def available(self, chat: "Front") -> str | None:
        """Need siblings."""
        turn = self._turn(chat)
        if turn is None or len(chat.session.tree.siblings(turn)) < 2:
            return "There is only one version: /regenerate or /edit makes another."
        return None

    def _turn(self, chat: "Front") -> Turn | None:
        tree = chat.session.tree
        turns = [chat.selected()] if chat.selected() else list(reversed(chat.session.path))
        many = (turn for turn in turns if turn is not None and len(tree.siblings(turn)) > 1)
        return next(many, None)

    async def run(self, chat: "Front", argument: str) -> None:
        """Compare with the sibling of that number, the one before by default."""
        turn = self._turn(chat)
        assert turn is not None
        tree = chat.session.tree
        siblings = tree.siblings(turn)
        if argument:
            if not argument.isdecimal() or not 1 <= int(argument) <= len(siblings):
                raise UsageError(f"There are versions 1 to {len(siblings)}.")
            other: Turn | None = siblings[int(argument) - 1]
        else:
            other = tree.beside(turn, -1) or tree.beside(turn, 1)
        if other is None or other is turn:
            raise UsageError("That is this very version: name another one.")
        chat.open_comparison(*sorted((turn, other), key=siblings.index))

    def completions(self, chat: "Front", argument: str) -> Found:
        """Offer the other versions."""
        turn = self._turn(chat)
        return _versions(chat, turn, argument) if turn else ()


class _Rate(_AboutReply):
    """A thumb."""

    kind = ""

    async def run(self, chat: "Front", argument: str) -> None:
        """Put it on the answer; the second time, take it off."""
        reply = required_reply(chat)
        chat.session.rate(reply, "good" if self.kind == "good" else "bad")
        chat.changed(reply)


class Good(_Rate):
    """A good answer."""

    name = "good"
    help = "Rate the answer as good, to learn from; once more takes it back"
    turn_key = "plus"
    kind = "good"


class Bad(_Rate):
    """A bad answer."""

    name = "bad"
    help = "Rate the answer as bad, to learn from; once more takes it back"
    turn_key = "minus"
    kind = "bad"


class Better(_AboutReply):
    """The better of two."""

    name = "better"
    help = "Say that this version of the answer is better than the others, or than one of them"
    arguments = "[NUMBER]"
    turn_key = "asterisk"

    def available(self, chat: "Front") -> str | None:
        """Need an answer with siblings."""
        reply = last_reply(chat)
        if reply is None or len(chat.session.tree.siblings(reply)) < 2:
            return "There is only one version of the answer: /regenerate makes another."
        return None

    async def run(self, chat: "Front", argument: str) -> None:
        """Prefer it."""
        reply = required_reply(chat)
        siblings = chat.session.tree.siblings(reply)
        others = [item for item in siblings if item is not reply]
        if argument:
            if not argument.isdecimal() or not 1 <= int(argument) <= len(siblings):
                raise UsageError(f"There are versions 1 to {len(siblings)}.")
            others = [item for item in (siblings[int(argument) - 1],) if item is not reply]
        held = {label.other for label in reply.labels if label.kind == "better"}
        all_held = all(item.uid in held for item in others)
        for item in others:
            if all_held or item.uid not in held:
                chat.session.rate(reply, "better", item)
                chat.changed(item)
        chat.changed(reply)

    def completions(self, chat: "Front", argument: str) -> Found:
        """Offer the other versions."""
        reply = last_reply(chat)
        return _versions(chat, reply, argument) if reply else ()


class Provenance(_AboutReply):
    """Where an answer comes from."""

    name = "info"
    aliases = ("provenance",)
    help = "Show what produced the answer: model, parameters, seed, tokens, times"
    turn_key = "i"
    turn_label = "Info"

    async def run(self, chat: "Front", argument: str) -> None:
        """Show it."""
        chat.open_provenance(required_reply(chat))


class Copy(_AboutReply):
    """Take it along."""

    name = "copy"
    help = "Copy the answer, one of its code blocks (code, code 2), or the whole conversation (all)"
    arguments = "[code [NUMBER] | all]"
    turn_key = "c"
    turn_label = "Copy"

    async def run(self, chat: "Front", argument: str) -> None:
        """Copy it."""
        word, _, number = argument.partition(" ")
        if word == "all":
            turns = [f"{turn.role}: {turn.text}" for turn in chat.session.path]
            chat.copy("\n\n".join(turns))
        elif word == "code":
            chat.copy(_block(required_reply(chat).text, number.strip() or "1"))
        elif word:
            raise UsageError("Copy takes nothing, “code”, “code NUMBER” or “all”.")
        else:
            chat.copy((chat.selected() or required_reply(chat)).text)

    def completions(self, chat: "Front", argument: str) -> Found:
        """Offer what can be copied."""
        choices = {"code": "The first code block, or that of a number", "all": "Everything said"}
        return completing.words(argument, choices)


class CopyCode(_AboutReply):
    """The code of it."""

    name = "copy-code"
    help = "Copy the next code block of the answer; each time another one"
    turn_key = "b"
    _seen: tuple[str, int] = ("", 0)

    async def run(self, chat: "Front", argument: str) -> None:
        """Copy the next one."""
        reply = required_reply(chat)
        count = len(code_blocks(reply.text))
        last = self._seen[1] if self._seen[0] == reply.uid else 0
        number = last % count + 1 if count else 1
        chat.copy(_block(reply.text, str(number)))
        self._seen = (reply.uid, number)
        chat.notice(f"Code block {number} of {count} is copied.", "note")


def _versions(chat: "Front", turn: Turn, argument: str) -> Found:
    """Return the numbers of the siblings of `turn`, with how each begins."""
    siblings = enumerate(chat.session.tree.siblings(turn), 1)
    others = {str(number): visible_line(x.text[:80]) for number, x in siblings if x is not turn}
    return completing.words(argument, others)


def _block(text: str, number: str) -> str:
    blocks = code_blocks(text)
    if not blocks:
        raise UsageError("There is no code block in this answer.")
    if not number.isdecimal() or not 1 <= int(number) <= len(blocks):
        raise UsageError(f"The answer has code blocks 1 to {len(blocks)}.")
    return blocks[int(number) - 1]


def code_blocks(text: str) -> list[str]:
    """Return the contents of the code blocks in a Markdown text, in order."""
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("gfm-like").parse(text)
    return [token.content for token in tokens if token.type in ("fence", "code_block")]
