"""One conversation and the queue before it: what the chat shows, without the screen.

The session asks the engine, one question at a time, and tells a `SessionView` what happens. The
view only draws; everything that must not be lost lives here.
"""

import asyncio
import contextlib
import time
from dataclasses import dataclass, field

from vlmchat.chat.conversation import Conversation, Label, LabelKind
from vlmchat.chat.messages import Attachment, Detail, Message, TextPart, user_message
from vlmchat.client.protocol import Begun, Reading, Sampling, TextDelta
from vlmchat.errors import EngineError, UsageError, VlmchatError
from vlmchat.talk.engine_keeper import EngineKeeper
from vlmchat.talk.keeping.recorder import NoRecorder, Recorder, title_of
from vlmchat.talk.question import Question
from vlmchat.talk.session_view import SessionView
from vlmchat.talk.turns.leaving_out import left_out
from vlmchat.talk.turns.made import Asked, asked_of
from vlmchat.talk.turns.tree import Reply, Tree, Turn, entry_of, history, tree_of
from vlmchat.talk.turns.unlearned import unlearned
from vlmchat.text import visible_line


@dataclass(slots=True)
class Context:
    """How full the model's context is; zeros while unknown."""

    used: int = 0
    limit: int = 0


@dataclass(slots=True)
class _Answering:
    """What is being answered.

    Attributes:
        reply: the turn that grows.
        asked: what it is asked for with.
        before: the tip to go back to if nothing comes of it.
        question: what may have to go back to the person.
        going_on: the reply continues a text that was there already.
    """

    reply: Turn
    asked: Asked
    before: Turn | None
    question: Question | None = None
    going_on: bool = False


@dataclass(slots=True)
class ChatSession:
    """A conversation with one engine.

    Attributes:
        engine: what answers.
        view: what draws.
        sampling: parameters of the next answer.
        system: system prompt of the conversation; empty for none.
        detail: how finely the model looks at the pictures of the next question.
        title: what the person calls the conversation; empty until it has a name.
        recorder: what saves it.
        tree: what was said.
        queue: what waits to be said, in order.
    """

    engine: EngineKeeper
    view: SessionView
    sampling: Sampling = field(default_factory=Sampling)
    system: str = ""
    detail: Detail = "auto"
    title: str = ""
    recorder: Recorder = field(default_factory=NoRecorder)
    tree: Tree = field(default_factory=Tree)
    queue: list[Question] = field(default_factory=list)
    _again: Turn | None = None
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)
    _task: asyncio.Task[None] | None = None
    _current: _Answering | None = None
    _stopping: bool = False
    _numbers: int = 0

    @property
    def answering(self) -> bool:
        """Whether an answer is awaited or arriving."""
        return self._current is not None or self._again is not None

    @property
    def reading(self) -> str:
        """How far the engine has read what is being asked, in words; empty once it answers."""
        reply = self._current.reply.reply if self._current else None
        return reply.reading if reply else ""

    @property
    def path(self) -> list[Turn]:
        """The turns that are shown, oldest first."""
        return self.tree.path

    @property
    def context(self) -> Context:
        """Exact token counts as of the last answer."""
        model = self.engine.model
        context = Context(limit=model.context if model else 0)
        for turn in reversed(self.path):
            finished = turn.reply.finished if turn.reply else None
            if finished is not None and finished.usage is not None:
                context.used = finished.usage.prompt_tokens + finished.usage.completion_tokens
                break
        return context

    # Asking -----------------------------------------------------------------------------------

    def submit(
        self, text: str, attached: tuple[Attachment, ...] = (), instead_of: Turn | None = None
    ) -> bool:
        """Queue a question; false when there is nothing in it (only spaces, no media).

        Args:
            text: unchanged, as typed.
            attached: the pictures and videos that go with it.
            instead_of: the question it takes the place of, as a sibling of it.
        """
        if not text.strip() and not attached:
            return False
        self._numbers += 1
        asked = Question(text, attached, self.detail, self._numbers, instead_of=instead_of)
        self.queue.append(asked)
        self._wake.set()
        self._rouse()
        self.view.queue_changed()
        return True

    def _rouse(self) -> None:
        if self.engine.kind == "remote" and self.engine.status.stage == "failed":
            # A server may have come up meanwhile; our own engine is restarted on demand only.
            self.engine.restart()

    def withdraw(self, number: int) -> Question | None:
        """Take a question out of the queue and return it; none when it was sent already."""
        for index, question in enumerate(self.queue):
            if question.number == number:
                del self.queue[index]
                self.view.queue_changed()
                return question
        return None

    def stop(self) -> bool:
        """Stop the answer; what arrived of it stays. False when there is none."""
        if self._again is not None and self._current is None:
            self._again = None
            self.view.queue_changed()
            return True
        if self._current is None:
            return False
        self._stopping = True
        if self._task is not None:
            self._task.cancel()
        return True

    async def use_engine(self, engine: EngineKeeper) -> None:
        """Go on with another engine; an answer that is arriving is stopped, and stays."""
        self.stop()
        async with self._one_at_a_time:
            self.engine = engine

    def regenerate(self, reply: Turn) -> None:
        """Have the question of `reply` answered once more, as a sibling of it.

        Raises:
            UsageError: the model is answering, or this is no answer.
        """
        self._free_for("answer again")
        if reply.role != "assistant" or reply.parent is None:
            raise UsageError("Only an answer can be asked for again.")
        self._ask_again(Turn("assistant", (TextPart(""),), "model", parent=reply.parent))

    def go_on(self, reply: Turn) -> None:
        """Have a cut answer continued, as a sibling that begins with what there is.

        Raises:
            UsageError: the model is answering, or there is nothing to go on with.
        """
        self._free_for("continue an answer")
        if reply.role != "assistant" or reply.parent is None or not reply.text:
            raise UsageError("There is no answer to continue.")
        self._ask_again(Turn("assistant", (TextPart(reply.text),), "model", parent=reply.parent))

    def _ask_again(self, reply: Turn) -> None:
        self._again = reply
        self._wake.set()
        self._rouse()
        self.view.queue_changed()

    def _free_for(self, what: str) -> None:
        if self.answering:
            raise UsageError(f"The model is answering: stop it (/stop) to {what}.")

    # The tree ---------------------------------------------------------------------------------

    async def correct(self, reply: Turn, text: str) -> Turn:
        """Put an answer of the person's own beside `reply`, labelled as its correction.

        Raises:
            UsageError: the model is answering, the text is empty, or this is no answer.
        """
        self._free_for("edit an answer")
        if reply.role != "assistant" or not text.strip():
            raise UsageError("A corrected answer needs an answer to correct, and text.")
        turn = Turn("assistant", (TextPart(text),), "person", parent=reply.parent)
        async with self._one_at_a_time:
            self.tree.add(turn)
            self.recorder.added(turn, self.system, self.title)
            self._label(turn, Label("correction", reply.uid, time.time()), on=True)
            await self.view.path_changed()
        return turn

    async def switch(self, turn: Turn) -> None:
        """Show the branch that `turn` begins.

        Raises:
            UsageError: the model is answering.
        """
        self._free_for("go to another branch")
        async with self._one_at_a_time:
            self.tree.switch(turn)
            self.recorder.moved(self.tree.tip)
            await self.view.path_changed()

    async def go_to(self, turn: Turn) -> None:
        """Show a path on which `turn` lies, the present one if it does."""
        if turn not in self.path:
            await self.switch(turn)

    def rate(self, turn: Turn, kind: LabelKind, other: Turn | None = None) -> bool:
        """Say what the person thinks of a reply; the same once more takes it back.

        Returns:
            Whether it holds now.
        """
        name = other.uid if other else ""
        on = not any(label.kind == kind and label.other == name for label in turn.labels)
        if on and other is not None:  # of two siblings only one is the better one
            other.labels = [x for x in other.labels if (x.kind, x.other) != (kind, turn.uid)]
        self._label(turn, Label(kind, name, time.time()), on=on)
        return on

    def _label(self, turn: Turn, label: Label, *, on: bool) -> None:
        gone = {"good", "bad"} if label.kind in ("good", "bad") else {label.kind}
        turn.labels = [x for x in turn.labels if not (x.kind in gone and x.other == label.other)]
        if on:
            turn.labels.append(label)
        self.recorder.labelled(turn, label, on)

    # Conversations ----------------------------------------------------------------------------

    def value(self) -> Conversation:
        """Return the whole conversation as it stands."""
        turns = list(self.tree.walk())
        created = min((turn.created for turn in turns), default=time.time())
        tip = self.tree.tip.uid if self.tree.tip else None
        return Conversation(
            self.recorder.uid,
            self.title,
            self.system,
            created,
            max((turn.created for turn in turns), default=created),
            tip=tip,
            entries=tuple(entry_of(turn) for turn in turns),
        )

    async def reset(self, system: str | None = None) -> None:
        """Begin a new conversation; queued questions stay queued."""
        await self._replace(Tree(), "", self.system if system is None else system)

    async def open(self, conversation: Conversation, thread: int | None) -> None:
        """Show a conversation that was saved, to go on with it.

        Args:
            conversation: all of it.
            thread: its number in the store, for what is added to be saved there.
        """
        tree = await asyncio.to_thread(tree_of, conversation)
        about = (conversation.title, conversation.system, conversation.uid)
        await self._replace(tree, *about, thread)

    async def _replace(
        self, tree: Tree, title: str, system: str, uid: str = "", thread: int | None = None
    ) -> None:
        self.stop()
        # Nothing queued may begin before the view is cleared too.
        async with self._one_at_a_time:
            self.tree, self.title, self.system = tree, title, system
            self.recorder.turned_to(uid, thread)
            await self.view.path_changed()

    def name(self, title: str) -> None:
        """Give the conversation a title."""
        self.title = title
        self.recorder.changed(title=title)

    def set_system(self, text: str) -> None:
        """Set the system prompt from here on."""
        self.system = text
        self.recorder.changed(system=text)

    async def close(self) -> None:
        """Stop what is being answered and wait until its end is noted."""
        self.queue.clear()
        self.stop()
        async with self._one_at_a_time:
            pass

    # Answering --------------------------------------------------------------------------------

    async def run(self) -> None:
        """Answer what is queued, in order, until cancelled."""
        while True:
            engine = self.engine
            await engine.wait_ready()
            if engine is not self.engine:
                continue  # it was replaced meanwhile
            question = next((item for item in self.queue if not item.held), None)
            if question is None and self._again is None:
                self._wake.clear()
                await self._wake.wait()
                continue
            async with self._one_at_a_time:
                if engine is not self.engine:
                    continue
                again, self._again = self._again, None
                if again is None and question not in self.queue:
                    continue
                model = self.engine.model
                reply = again or Turn("assistant", (TextPart(""),), "model")
                reply.state, reply.reply = "waiting", Reply(model.title if model else "Model")
                asked = asked_of(engine, self.sampling, self.system, reply.text)
                self._current = _Answering(reply, asked, self.tree.tip, going_on=bool(reply.text))
                try:
                    if again is None and question is not None:
                        await self._put(question, reply)
                    await self._ask(self._current)
                finally:
                    self._current = self._task = None
                    self._stopping = False
            self.view.queue_changed()

    async def _put(self, question: Question, reply: Turn) -> None:
        """Make a turn of the question, with `reply` below it."""
        assert self._current is not None
        self.queue.remove(question)
        place = question.instead_of
        parent = self.tree.tip
        if place is not None and place in self.tree.siblings(place):
            parent = place.parent
            self.tree.tip = parent
        parts = user_message(question.text, question.parts).parts
        asked = Turn("user", parts, parent=parent)
        self.tree.add(asked)
        self._current.question = question
        reply.parent = asked
        self.title = self.title or title_of(asked)
        self.recorder.added(asked, self.system, self.title)
        if place is not None:
            await self.view.path_changed()
        else:
            await self.view.turn_added(asked)
        if sentence := unlearned(self.engine.model, asked):
            self.view.notice(sentence, "note")

    async def _ask(self, current: _Answering) -> None:
        """Carry one answer through to its end, whatever that is."""
        reply = current.reply
        sibling = bool(self.tree.siblings(reply))
        self.tree.add(reply)
        self.recorder.added(reply, self.system, self.title)
        self.view.queue_changed()
        if sibling:
            await self.view.path_changed()
        else:
            await self.view.turn_added(reply)
        deaths = self.engine.deaths
        self._task = asyncio.create_task(self._stream(current))
        if self._stopping:
            self._task.cancel()
        try:
            await asyncio.wait((self._task,))
        except asyncio.CancelledError:
            # The chat is being closed: what was said so far is what there is.
            self._task.cancel()
            self._note_end(current, "stopped")
            raise
        if self._task.cancelled():
            await self._end(current, None, deaths)
            return
        error = self._task.exception()
        if error is not None and not isinstance(error, VlmchatError):
            # Servers that nobody vouches for can break any assumption of the client's.
            what = f"{type(error).__name__}: {visible_line(str(error))}"
            error = EngineError(f"The engine's answer could not be understood ({what}).")
        await self._end(current, error, deaths)

    def _note_end(self, current: _Answering, state: str) -> None:
        reply = current.reply
        assert reply.reply is not None
        reply.state = "done" if state == "done" else "failed" if state == "failed" else "stopped"
        reply.reply.made = current.asked.made(reply.reply)
        self.recorder.ended(reply)

    async def _end(self, current: _Answering, error: VlmchatError | None, deaths: int) -> None:
        """Draw the end, tell an error once, and return what was never taken."""
        reply = current.reply
        assert self._task is not None
        state = "stopped" if self._task.cancelled() else "failed" if error else "done"
        self._note_end(current, state)
        await self.view.turn_ended(reply)
        if error is None:
            return
        # When the process died, its keeper tells that, and better.
        if not isinstance(error, EngineError) or not await self.engine.died_since(deaths):
            self.view.notice(str(error), "error")
        if not reply.text:
            await self._take_back(current)

    async def _take_back(self, current: _Answering) -> None:
        """Undo what came to nothing, and return its question to the person."""
        gone = current.reply.parent if current.question is not None else current.reply
        assert gone is not None
        self.tree.drop(gone)
        self.tree.tip = current.before
        self.recorder.moved(self.tree.tip)
        await self.view.path_changed()
        if current.question is None:
            return
        if not self.view.give_back(current.question):
            current.question.held = True
            self.queue.insert(0, current.question)

    def _messages(self, current: _Answering) -> list[Message]:
        path = self.path if current.going_on else self.path[:-1]
        return history(current.asked.system, path)

    async def _stream(self, current: _Answering) -> None:
        turn, answer = current.reply, current.reply.reply
        assert answer is not None
        began = time.perf_counter()
        first = began
        model = self.engine.model
        adapter = current.asked.adapter
        # Ours has one model, which is named where its adapter is not wanted.
        named = self.engine.kind == "remote" or adapter is not None
        name = model.id if model and named else ""
        stream = self.engine.client.chat(
            self._messages(current),
            current.asked.sampling,
            name,
            going_on=current.going_on,
            videos=bool(model and model.video),
            adapter=adapter,
            progress=self._read_so_far,
        )
        text = turn.text
        async with contextlib.aclosing(stream) as events:
            async for event in events:
                now = time.perf_counter()
                if isinstance(event, TextDelta):
                    if answer.first_token_seconds is None:
                        first = now
                        answer.first_token_seconds = now - began
                        turn.state, answer.reading = "streaming", ""
                    text += event.text
                    turn.say(text)
                    answer.seconds = now - first
                    self.recorder.grew(turn)
                    await self.view.turn_grew(turn, event.text)
                elif isinstance(event, Begun):
                    answer.told = event.provenance
                else:
                    answer.finished, answer.told = event, event.provenance
                    answer.seconds = now - first
                    if sentence := left_out(event):
                        self.view.notice(sentence, "note")

    def _read_so_far(self, reading: Reading) -> None:
        reply = self._current.reply.reply if self._current else None
        if reply is not None:
            reply.reading = str(reading)
            self.view.queue_changed()
