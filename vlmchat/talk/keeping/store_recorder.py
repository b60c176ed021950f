"""Saves the conversation as it happens: text is at most `SAVE_SECONDS` and one write behind."""

import asyncio
import uuid
from dataclasses import dataclass, field

from vlmchat.chat.conversation import Label
from vlmchat.store.store import Store
from vlmchat.talk.keeping.library import Library
from vlmchat.talk.turns.tree import Turn, saved_state

SAVE_SECONDS = 0.2
# Under this the store remembers the draft of a conversation that has not begun.
DRAFT = "draft"


@dataclass(slots=True)
class _Place:
    """Where a conversation lies in the store; only the writer's thread looks inside.

    Attributes:
        thread: its number; ``None`` before its first turn was written.
        rows: the number of each message by its uid; ``None`` before they were read.
        waiting: what is to be set once there is a thread.
        draft: what stands in the composer, until it is written.
    """

    thread: int | None = None
    rows: dict[str, int] | None = field(default_factory=dict)
    waiting: dict[str, str | int | float | None] = field(default_factory=dict)
    draft: str | None = None

    def row(self, store: Store, uid: str) -> int:
        if self.rows is None:
            assert self.thread is not None
            self.rows = store.message_ids(self.thread)
        return self.rows[uid]


class StoreRecorder:
    """Saves to a library's store.

    Args:
        library: where conversations are kept.
    """

    def __init__(self, library: Library) -> None:
        self._library = library
        self._place = _Place()
        self._timer: asyncio.TimerHandle | None = None
        self.uid = uuid.uuid4().hex

    @property
    def thread(self) -> int | None:
        """The number of the present conversation, once its first turn was written."""
        return self._place.thread

    def turned_to(self, uid: str, thread: int | None) -> None:
        """Go on in that conversation; begin one with the next turn without a number."""
        self._stop_timer()
        self.uid = uid or uuid.uuid4().hex
        self._place = _Place() if thread is None else _Place(thread, None)

    def added(self, turn: Turn, system: str, title: str) -> None:
        """Save a turn, and the place of a reply that is awaited."""
        place, uid = self._place, self.uid
        message, author, parent = turn.message, turn.author, turn.parent
        awaited = turn.state in ("waiting", "streaming")

        def write(store: Store) -> None:
            if place.thread is None:
                place.thread = store.new_thread(title, system, uid=uid)
                store.remember(DRAFT, "")
                if place.waiting:
                    store.change_thread(place.thread, **place.waiting)
            before = place.row(store, parent.uid) if parent else None
            number = store.add(
                *(place.thread, before, message),
                author=author,
                state="streaming" if awaited else "complete",
                uid=turn.uid,
            )
            assert place.rows is not None
            place.rows[turn.uid] = number

        if self._place.rows is None:
            self._library.post(lambda store: self._read_rows(store, place))
        self._library.post(write)

    @staticmethod
    def _read_rows(store: Store, place: _Place) -> None:
        if place.rows is None and place.thread is not None:
            place.rows = store.message_ids(place.thread)

    def grew(self, turn: Turn) -> None:
        """Save the text so far, soon."""
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(SAVE_SECONDS, self._save_text, turn, self._place)

    def _save_text(self, turn: Turn, place: _Place) -> None:
        self._timer = None
        text = turn.text
        self._library.post(lambda store: store.grow(place.row(store, turn.uid), text))

    def ended(self, turn: Turn) -> None:
        """Save how the answer ended and what produced it."""
        self._stop_timer()
        place, text, state = self._place, turn.text, saved_state(turn)
        made = turn.reply.made if turn.reply else None
        self._library.post(
            lambda store: store.finish(place.row(store, turn.uid), text, state, made)
        )

    def moved(self, tip: Turn | None) -> None:
        """Save where in the tree the person is."""
        place = self._place

        def write(store: Store) -> None:
            if place.thread is not None:
                row = place.row(store, tip.uid) if tip else None
                store.change_thread(place.thread, tip=row)

        self._library.post(write)

    def changed(self, **values: str | int | float | None) -> None:
        """Save title, system prompt, draft and the like; those of a new conversation wait."""
        place = self._place

        def write(store: Store) -> None:
            if place.thread is None:
                place.waiting |= values
            else:
                store.change_thread(place.thread, **values)

        self._library.post(write)

    def drafted(self, text: str) -> None:
        """Save what stands in the composer; of what is typed quickly, only the last."""
        place = self._place
        waits, place.draft = place.draft is not None, text

        def write(store: Store) -> None:
            text, place.draft = place.draft or "", None
            if place.thread is None:
                store.remember(DRAFT, text)
            else:
                store.change_thread(place.thread, draft=text)

        if not waits:
            self._library.post(write)

    def labelled(self, turn: Turn, label: Label, on: bool) -> None:
        """Save a label, or that it was taken off."""
        place = self._place

        def write(store: Store) -> None:
            other = place.row(store, label.other) if label.other else None
            do = store.label if on else store.unlabel
            do(place.row(store, turn.uid), label.kind, other)

        self._library.post(write)

    async def close(self) -> None:
        """Write what is still to be written and close the store."""
        self._stop_timer()
        await self._library.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
