"""The chat in plain lines: it writes what the session tells and reads what the person says."""

import asyncio
from collections import deque
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from vlmchat.errors import UsageError
from vlmchat.plain.adjusting import Adjusting
from vlmchat.talk.beside import Beside
from vlmchat.talk.commands import registry
from vlmchat.talk.commands.base import Command
from vlmchat.talk.desktop.pasted import split_paths
from vlmchat.talk.engine_change import EngineChanger
from vlmchat.talk.engine_keeper import EngineEvent, EngineFailed, NoEngine
from vlmchat.talk.finetuning.following import Following
from vlmchat.talk.plan import Plans
from vlmchat.talk.session import ChatSession
from vlmchat.talk.watching import Watcher
from vlmchat.text import visible_line

if TYPE_CHECKING:
    from vlmchat.client.protocol import EngineStatus
    from vlmchat.plain.out import Out
    from vlmchat.plain.reading import Reader
    from vlmchat.settings import Settings
    from vlmchat.talk.engine_keeper import EngineKeeper
    from vlmchat.talk.front import Front
    from vlmchat.talk.question import Question
    from vlmchat.talk.turns.tree import Turn

PROMPT = "You: "
MORE = "More: "
_BLOCK = '"""'
_SHOWN_AGAIN = 4
READY = "Ready. Type a question, /help for commands."


class PlainFront(Adjusting):
    """The whole of plain mode (see `vlmchat.talk.front.Front` and `SessionView`).

    Args:
        out: where everything is written.
        reader: where lines come from.
        overrides: what the command line gave.

    Attributes:
        failed: a question was left without its answer.
    """

    def __init__(
        self, out: "Out", reader: "Reader", overrides: Mapping[str, Mapping[str, Any]]
    ) -> None:
        super().__init__(out, reader, overrides)
        self.session = ChatSession(NoEngine(), self)
        self.engine_changer = EngineChanger(self.session, self.notice, self.then)
        self.watching = Watcher(self)
        self.following = Following(self, self._behind, self._tell_tuning)
        self.beside = Beside(self)
        self.beside.evaluating.changed = self._tell_evaluation
        self.beside.locating.changed = self._tell_locating
        self.beside.batching.changed = self._tell_batch
        self.beside.synthesizing.changed = self._tell_synth
        self.plans = Plans(self.session, lambda: self.attachments.items, self._behind, lambda: None)
        self.plans.settings = lambda: self.settings
        self.plans.wanted = lambda: self.engine_changer.model
        self.attachments.room = self.plans.frames_room
        self.failed = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._moved = asyncio.Event()
        self._speaking: Turn | None = None
        self._stage: tuple[str, int] = ("", 0)
        self._tenth = -1
        self._tenths: dict[str, int] = {}
        self._greeted = False
        self._told: set[str] = set()
        self._failures = 0
        self._known_failures = 0
        self._echoes: deque[bool] = deque()
        self._interrupts = 0
        self._shown_tree = self.session.tree
        self._editing = False

    @property
    def front(self) -> "Front":
        """This, as commands see it."""
        return self

    def connect(self, engine: "EngineKeeper", settings: "Settings", system: str = "") -> None:
        """Take the engine, the settings, and the system prompt that they stand for."""
        self.take(settings)
        session = self.session
        session.engine = engine
        session.sampling = settings.as_sampling()
        session.detail = settings.media.detail
        if not session.tree.roots:  # a conversation that was brought back has its own
            session.system = system
        elif "system" in self.overrides.get("chat", {}):
            session.set_system(system)
        engine.listen(self._on_engine_event)
        self.engine_changer.begin(settings)
        self.plans.begin()
        self.following.begin()
        engine.start()

    # What the session tells (see SessionView) -------------------------------------------------

    async def turn_added(self, turn: "Turn") -> None:
        """Repeat a question that had to wait, now that its answer follows."""
        if turn.role == "user" and self.watching.asked(turn):
            self.tell(turn)
        elif turn.role == "user" and self._echoes and self._echoes.popleft():
            self.out.line(f"{PROMPT}{turn.text}")

    async def turn_grew(self, turn: "Turn", piece: str) -> None:
        """Write on at an answer."""
        if self._speaking is not turn:
            self._speaking = turn
            going_on = ", going on" if len(turn.text) > len(piece) else ""
            self.out.begin(f"{self.speaker(turn)}{going_on}")
            piece = piece.lstrip()
        self.out.piece(piece)

    async def turn_ended(self, turn: "Turn") -> None:
        """End the answer, and say if it is not whole."""
        if self._speaking is turn:
            self._speaking = None
            self.out.end()
        elif turn.state == "done":
            self.out.line(f"{self.speaker(turn)}: (no words)")
        if turn.state == "stopped":
            self.notice("Stopped. What was said stays; /continue goes on with it.")
        elif turn.state == "failed":
            self.failed = True
        elif turn.cut_short:
            self.notice("The answer reached max_tokens: /continue goes on with it.")
        if self.figures and (note := turn.footnote()):
            self.notice(note)
        self._behind(self.plans.learn(turn))

    async def path_changed(self) -> None:
        """Say which conversation this is, when it is another one."""
        if self._shown_tree is self.session.tree:
            return
        self._shown_tree = self.session.tree
        self._selected = None
        self.remembered.begin()
        path = self.session.path
        if not path:
            self.notice("This is a new conversation.")
            return
        title = visible_line(self.session.title) or "untitled"
        count = f"{len(path)} {'turn' if len(path) == 1 else 'turns'}"
        last = f", the last {_SHOWN_AGAIN} are" if len(path) > _SHOWN_AGAIN else ""
        self.notice(f"Conversation “{title}”, {count}{last}:")
        for turn in path[-_SHOWN_AGAIN:]:
            self.tell(turn)

    def queue_changed(self) -> None:
        """Know whether anything is being answered or waits for it."""
        session = self.session
        waiting = bool(session.queue) and not self._given_up()
        if session.answering or waiting:
            self._idle.clear()
        else:
            self._idle.set()
        self._moved.set()

    def _given_up(self) -> bool:
        """Whether the engine cannot answer what waits."""
        engine = self.session.engine
        if engine.status.stage == "unloaded":
            return True
        if engine.status.stage != "failed":
            return False
        # A server is asked once more for each question, which takes a moment to tell.
        return engine.kind == "local" or self._failures > self._known_failures

    def give_back(self, question: "Question") -> bool:
        """Let the person repeat a question that was not taken."""
        self.failed = True
        if not self.attachments:
            self.attachments.items = list(question.attached)
        if self.reader.interactive:
            self.reader.remember(question.text)
            self.notice("The question was not taken: repeat it (arrow up) or write another.")
        return True

    def changed(self, turn: "Turn") -> None:
        """Say what the person now thinks of an answer."""
        siblings = self.session.tree.siblings(turn)
        which = f"Version {siblings.index(turn) + 1}" if len(siblings) > 1 else "The answer"
        kinds = sorted({label.kind for label in turn.labels})
        self.notice(f"{which} is marked: {', '.join(kinds) or 'nothing'}.")

    # What the engine tells --------------------------------------------------------------------

    def _on_engine_event(self, event: EngineEvent) -> None:
        if isinstance(event, EngineFailed):
            self._failures += 1
            advice = "It is being restarted." if event.restarting else "/restart tries again."
            if self.session.engine.kind == "local":
                advice += " /log shows the last lines of its log."
            self.notice(f"{event.sentence} {advice}", "error")
        else:
            self._tell_status(event.status)
        self.queue_changed()

    def _tell_status(self, status: "EngineStatus") -> None:
        tenth = 10 * status.done // status.total if status.total else 0
        before, self._stage = self._stage, (status.stage, tenth)
        if self._stage == before or status.stage == "failed":
            return
        if status.stage != "ready":
            share = f", {10 * tenth} %" if status.total else ""
            self.notice(f"{visible_line(status.text).rstrip('. …')}{share}.")
            return
        if status.model is not None:
            self.notice(f"{visible_line(status.model.title)} answers.")
            notice = status.model.notice
            if notice and notice not in self._told:
                self._told.add(notice)
                self.notice(notice)
        self.out.line("Ready." if self._greeted else READY)
        self._greeted = True

    def _tell_tuning(self) -> None:
        """Say how far a job is, at each tenth of it."""
        said = self.following.label.partition(" ")[2].removesuffix(" %")
        tenth = int(said) // 10 if said.isdigit() else -1
        if tenth > self._tenth:
            self.notice(f"The job is at {said} %.")
        self._tenth = tenth

    def _tell_evaluation(self) -> None:
        """Say how far an evaluation is."""
        work = self.beside.evaluating
        self._tell_tenth(work.done, work.total, "questions are answered")

    def _tell_locating(self) -> None:
        """Say how far a search for pictures is."""
        work = self.beside.locating
        self._tell_tenth(work.done, work.total, "files are looked at")

    def _tell_batch(self) -> None:
        """Say how far a batch is."""
        work = self.beside.batching
        self._tell_tenth(work.done, work.total, "files are asked about")

    def _tell_synth(self) -> None:
        """Say how far a set is."""
        work = self.beside.synthesizing
        self._tell_tenth(work.done, work.total, "pieces of work are done")

    def _tell_tenth(self, done: int, total: int, what: str) -> None:
        """Say how far something is, at each tenth of it."""
        tenth = 10 * done // total if total else 0
        if self._tenths.get(what, 0) < tenth < 10:
            self.notice(f"{done:,} of {total:,} {what}.")
        self._tenths[what] = tenth

    # What the person says ---------------------------------------------------------------------

    async def converse(self) -> None:
        """Read lines and do what they say, until the end."""
        while not self.quitting.is_set():
            try:
                text = await self._next()
            except EOFError:
                text = None
            if text is None:
                return
            self._interrupts = 0
            await self.handle(text)
            if not self.reader.interactive:
                await self.watching.ended()
                await self.beside.ended()
                await self._all_answered()

    async def _next(self) -> str | None:
        """Return the next text of one or several lines."""
        if self._pushed:
            return self._pushed.pop()
        while self.reader.interactive and not self._idle.is_set():
            text = await self.reader.line_until(self._idle)
            if text is not None:
                return text
        text = await self.next_line(PROMPT)
        if text is not None and text.lstrip().startswith(_BLOCK):
            return await self._block(text.lstrip().removeprefix(_BLOCK))
        while text is not None and text.endswith("\\") and not text.endswith("\\\\"):
            more = await self.next_line(MORE)
            text = text[:-1] + ("" if more is None else f"\n{more}")
        return text

    async def _block(self, text: str) -> str:
        while not text.rstrip().endswith(_BLOCK):
            more = await self.next_line(MORE)
            if more is None:
                return text
            text = f"{text}\n{more}"
        return text.rstrip().removesuffix(_BLOCK).strip("\n")

    async def handle(self, text: str) -> None:
        """Do what was written: a command, pictures, a question."""
        if text.strip():
            self.remembered.remember(text)
        before = self.attachments.items
        await self.in_order(self._handle(text))
        if self.attachments.items != before and not self.quitting.is_set():
            self.tell_attachments()

    async def _handle(self, text: str) -> None:
        paths, text = split_paths(text)
        command = None if paths else registry.parse(text.rstrip())
        if command is not None:
            await self.run_command(*command)
            return
        if paths:
            await self.attachments.read(paths)
        if text.strip() or (self.attachments and not paths):
            await self._submit(text, None)

    async def run_command(self, command: Command, argument: str) -> None:
        """Run a command.

        Raises:
            VlmchatError: it cannot be done.
        """
        if reason := command.available(self):
            raise UsageError(reason)
        await command.run(self, argument)

    def tell_attachments(self) -> None:
        """Say what goes with the next question."""
        items = self.attachments.items
        if not items:
            if not self.session.answering and not self.session.queue:
                self.notice("Nothing is attached.")
            return
        several = len(items) > 1
        named = "; ".join(
            f"{number}. {self.plans.sentence(item)}" if several else self.plans.sentence(item)
            for number, item in enumerate(items, 1)
        )
        self.notice(f"With the next question goes: {named}.")
        if warning := self.plans.warning():
            self.notice(f"What is attached {warning}.".replace("\u00a0", ""))

    def _behind(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work` while the person goes on."""
        task = asyncio.create_task(self.carefully(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def ask(self, text: str) -> None:
        """Send a question, with what is attached."""
        self.then(self._submit(text, None))

    async def _submit(self, text: str, instead_of: "Turn | None") -> None:
        session = self.session
        waits = session.answering or bool(session.queue) or session.engine.status.stage != "ready"
        async with self.attachments.settled():
            self._known_failures = self._failures
            self._selected = None
            if not session.submit(text, self.attachments.take(), instead_of):
                return
        if instead_of is None:
            self._echoes.append(waits and self.reader.interactive)
        if self.reader.interactive and session.engine.status.stage != "ready":
            self.notice("The question waits until the model is ready.")
        self.queue_changed()

    async def _all_answered(self) -> None:
        """Wait until nothing waits any more; say what cannot be answered."""
        self.queue_changed()
        while not self._idle.is_set() and not self.quitting.is_set():
            self._moved.clear()
            await self._moved.wait()
        if self.session.queue:
            self.failed = True
            self.notice("The question is not answered: there is no model.", "error")
            for question in list(self.session.queue):
                self.session.withdraw(question.number)
            self._echoes.clear()

    def write(self, text: str, instead_of: "Turn | None" = None) -> None:
        """Write a turn out, and ask for what shall stand in its place."""
        self.then(self._rewrite(text, instead_of))

    async def _rewrite(self, text: str, instead_of: "Turn | None") -> None:
        answer = instead_of is not None and instead_of.role == "assistant"
        what = "answer" if answer else "question" if instead_of else "line"
        self.out.line(f"The {what} is: {text}")
        self.reader.remember(text)
        new = await self.next_line("New text, /editor for your editor, or Enter to leave it: ")
        try:
            if new is not None and new.strip() in ("/editor", "/e"):
                self._editing = True
                new = await self.edited(text)
        finally:
            self._editing = False
        if new is None or not new.strip() or new == text:
            self.attachments.items = []
            self.notice("It stays as it was.")
        elif instead_of is None:
            # A command that is written anew: its name may be left out.
            name = text.partition(" ")[0] if text.startswith("/") else ""
            self._pushed.append(new if new.startswith("/") or not name else f"{name} {new}")
        elif answer:
            await self.session.correct(instead_of, new)
            self.notice("The model will take that for its answer; /previous shows the one before.")
        else:
            await self._submit(new, instead_of)

    async def edited(self, text: str) -> str:
        """Return `text` as the person made it in their editor, to which Ctrl+C belongs."""
        self._editing = True
        try:
            return await super().edited(text)
        finally:
            self._editing = False

    def compose_on(self) -> None:
        """Do nothing: the next line is written anyway."""

    async def new_conversation(self) -> None:
        """Begin a new conversation; attachments and the queue stay."""
        await self.session.reset(await self.begin_conversation())

    async def show_system(self) -> None:
        """Write the system prompt."""
        system = self.session.system
        self.notice(f"The system prompt is: {system}" if system else "There is no system prompt.")

    def interrupt(self) -> None:
        """Take Ctrl+C: stop the answer; a second one quits."""
        if self._editing:
            return
        if self.leave is not None:
            self.leave()
            return
        self._interrupts += 1
        beside = [work.stop() for work in (self.watching, self.beside)]
        if self.session.stop() or any(beside):
            return
        if self._interrupts > 1:
            self.quit()
        else:
            self.notice("Nothing is being answered: Ctrl+C once more quits.")

    def quit(self) -> None:
        """End the program."""
        self.quitting.set()
        self._moved.set()

    async def close(self) -> None:
        """Leave no engine behind, and nothing unsaved."""
        await self.watching.close()
        await self.beside.close()
        await self.session.close()
        await self.session.engine.close()
        await self.session.recorder.close()
