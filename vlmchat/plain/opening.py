"""What opens a screen elsewhere is written here, and asks for a number."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from vlmchat.errors import UsageError, VlmchatError
from vlmchat.plain.base import MOST_LISTED, Base, excerpt, kind_of, part_facts
from vlmchat.talk.attachments import sampling
from vlmchat.talk.pictures import medium_of
from vlmchat.text import visible, visible_line

if TYPE_CHECKING:
    from vlmchat.chat.messages import Attachment, ImagePart
    from vlmchat.store.records import Hit, MediaUse, Thread
    from vlmchat.talk.framing import Wish
    from vlmchat.talk.turns.tree import Turn


class Opening(Base):
    """The part of the plain front that lists and asks."""

    # Conversations ----------------------------------------------------------------------------

    def toggle_sidebar(self) -> None:
        """List the conversations."""
        self.then(self._chats())

    async def _chats(self) -> None:
        threads = await self.conversations.threads()
        if not threads:
            self.notice("There is no conversation yet.")
            return
        for thread in threads[:MOST_LISTED]:
            self.out.line(self._row(thread))
        if len(threads) > MOST_LISTED:
            rest = len(threads) - MOST_LISTED
            self.notice(f"{rest} older ones are not listed: /chats WORDS or /search finds them.")
        number = await self.choose([thread.id for thread in threads], "Number to open")
        if number is not None:
            await self.conversations.open(number)

    def _row(self, thread: "Thread") -> str:
        pinned = ", pinned" if thread.pinned else ""
        here = ", this one" if thread.id == self.conversations.current else ""
        title = visible_line(thread.title) or "untitled"
        return f"{thread.id}. {title}, {day(thread.updated)}{pinned}{here}"

    def threads_changed(self) -> None:
        """Do nothing: no list stands beside."""

    def open_search(self, text: str) -> None:
        """Search everything ever said."""
        self.then(self._search(text))

    async def _search(self, text: str) -> None:
        text = text or (await self.next_line("Words to look for: ") or "").strip()
        if not text:
            return
        library = self.conversations.library
        found: list[Hit] = await library.run(lambda store: store.search(text, limit=MOST_LISTED))
        if not found:
            self.notice(f"Nothing that was said has “{visible_line(text)}”.")
            return
        for number, hit in enumerate(found, 1):
            said = "".join(piece for piece, _ in hit.excerpt)
            who = "you" if hit.role == "user" else "the model"
            title = visible_line(hit.title) or "untitled"
            self.out.line(f"{number}. In “{title}”, {day(hit.created)}, {who}: {excerpt(said)}")
        number = await self.choose(len(found)) or 0
        if number:
            await self._visit(found[number - 1].thread, found[number - 1].message)

    async def _visit(self, thread: int, message: int) -> None:
        await self.conversations.open(thread)
        if turn := await self.conversations.turn_of(message):
            await self.go_to(turn)

    def open_find(self, text: str) -> None:
        """Search this conversation."""
        self.then(self._find(text))

    async def _find(self, text: str) -> None:
        text = text or (await self.next_line("Text to look for: ") or "").strip()
        if not text:
            return
        wanted = text.casefold()
        found = [turn for turn in reversed(self.session.path) if wanted in turn.text.casefold()]
        if not found:
            self.notice(f"Nothing in this conversation has “{visible_line(text)}”.")
            return
        await self._go_to_one(found[:MOST_LISTED])

    async def _go_to_one(self, turns: "Sequence[Turn]") -> None:
        for number, turn in enumerate(turns, 1):
            self.out.line(f"{number}. {self.speaker(turn)}: {excerpt(turn.text)}")
        number = await self.choose(len(turns)) or 0
        if number:
            await self.go_to(turns[number - 1])

    # The tree ---------------------------------------------------------------------------------

    def open_tree(self) -> None:
        """List all turns of all branches."""
        self.then(self._tree())

    async def _tree(self) -> None:
        from vlmchat.talk.turns.outline import outline

        tree, path = self.session.tree, set(map(id, self.session.path))
        turns = [turn for turn, _ in outline(tree)]
        for number, turn in enumerate(turns, 1):
            siblings = tree.siblings(turn)
            marks = [self.speaker(turn)]
            if len(siblings) > 1:
                marks.append(f"version {siblings.index(turn) + 1} of {len(siblings)}")
                marks.append("on the path" if id(turn) in path else "on another branch")
            elif id(turn) not in path:
                marks.append("on another branch")
            if turn.rating:
                marks.append(turn.rating)
            self.out.line(f"{number}. {', '.join(marks)}: {excerpt(turn.text)}")
        number = await self.choose(len(turns)) or 0
        if number:
            await self.go_to(turns[number - 1])

    def open_comparison(self, one: "Turn", other: "Turn") -> None:
        """Write two versions one after the other, and what only one of them has."""
        from vlmchat.talk.turns.differing import differing

        siblings = self.session.tree.siblings(one)
        for turn in (one, other):
            self.tell(turn)
        if one.text == other.text:
            self.notice("Both versions are the same.")
            return
        for turn, pieces in zip((one, other), differing(one.text, other.text), strict=True):
            own = [f"“{excerpt(text)}”" for text, new in pieces if new and text.strip()]
            number = siblings.index(turn) + 1
            self.out.line(f"Only in version {number}: {', '.join(own) or 'nothing'}.")

    def open_provenance(self, turn: "Turn") -> None:
        """Write what produced a reply."""
        from vlmchat.talk.turns.facts import facts

        if note := turn.footnote():
            self.out.line(f"figures: {note}")
        for name, value in facts(turn):
            self.out.line(f"{name}: {value}")

    # Pictures ---------------------------------------------------------------------------------

    def open_picker(self) -> None:
        """Ask for a path."""
        self.then(self._pick())

    async def _pick(self) -> None:
        from vlmchat.talk.desktop.pasted import parse_paths

        text = await self.next_line(
            "Path of a picture or video, or Enter for none: ", begun="/attach "
        )
        if text and text.strip():
            await self.attachments.read(parse_paths(text))

    def open_gallery(self) -> None:
        """List every picture that was ever attached."""
        self.then(self._gallery())

    async def _gallery(self) -> None:
        conversations = self.conversations
        library = conversations.library
        uses: list[MediaUse] = await library.run(lambda store: store.media_uses(MOST_LISTED))
        if not uses:
            self.notice("No picture or video was attached yet.")
            return
        titles = {thread.id: thread.title for thread in await conversations.threads()}
        for number, use in enumerate(uses, 1):
            title = visible_line(titles.get(use.thread, "")) or "untitled"
            size = f"{use.width} by {use.height} pixels"
            where = f"in “{title}”, {day(use.created)}"
            self.out.line(f"{number}. {visible_line(use.name)}, {size}, {where}")
        number = await self.choose(len(uses), "Number to attach") or 0
        if number:
            media = medium_of(uses[number - 1], library.media_data, library.media_path)
            if media.file is not None:
                await self.attachments.come(sampling(self.attachments, media))
                return
            await asyncio.to_thread(media.read)  # whether it can still be read is known now
            self.attachments.add(media)

    def open_viewer(self, which: str = "") -> None:
        """Open a picture of the conversation in the desktop's viewer, or say what it is."""
        from vlmchat.talk.pictures import attachments_of, index_of

        parts = attachments_of(self.front)
        if not parts:
            raise UsageError("There is no picture in this conversation yet: /attach adds one.")
        place = index_of([part.media for part in parts], which)
        self.then(self._view(parts[place], place + 1, len(parts)))

    async def _view(self, part: "Attachment", number: int, count: int) -> None:
        from vlmchat.talk.desktop.open_external import open_external

        self.out.line(f"{kind_of(part)} {number} of {count}: {part_facts(part)}")
        try:
            await open_external(part.media)
        except VlmchatError as error:
            self.notice(f"{error} /describe has the model say what is in it.")
        else:
            self.notice("It is opened in the desktop's viewer.")

    def open_crop(self, which: str = "") -> None:
        """Ask for a part of a picture.

        Raises:
            UsageError: there is no such picture.
        """
        from vlmchat.talk.cropping import picture_named

        self.then(self._crop(picture_named(self.front, which), which))

    async def _crop(self, item: "ImagePart", which: str) -> None:
        from vlmchat.talk.cropping import crop, parse_crop

        media = item.media
        self.out.line(f"{visible_line(media.name)} is {media.width} by {media.height} pixels.")
        text = await self.next_line(
            "Part: left, top, right, bottom as pixels, or left, top right, middle, off; "
            "Enter for none: "
        )
        if text is None or not text.strip():
            return
        name, part = parse_crop(text)
        if part is None or name:
            self._pushed.append(text)
            return
        self.notice(crop(self.front, which, part))

    def reframe(self, wish: "Wish") -> None:
        """Have an attached video looked at in the frames that were asked for, and tell them."""
        self.then(self._reframe(wish))

    async def _reframe(self, wish: "Wish") -> None:
        from vlmchat.talk.framing import reframe

        before = self.attachments.items
        await reframe(self.attachments, wish)
        if self.attachments.items != before:
            self._tell_frames(wish.which)

    def open_frames(self, which: str = "") -> None:
        """Write at which times the frames of an attached video are."""
        self._tell_frames(which)

    def _tell_frames(self, which: str) -> None:
        from vlmchat.media.storyboard import time_labels
        from vlmchat.talk.frame_cost import cost_text, frame_tokens
        from vlmchat.talk.framing import EXAMPLES, video_of

        part = video_of(self.attachments.items, which)
        times = part.clip.times
        cost = cost_text(len(times), frame_tokens(self.front)).replace(" · ~", ", about ")
        labels = enumerate(time_labels(times), 1)
        listed = ", ".join(f"{number} at {label}" for number, label in labels)
        self.out.line(f"Frames of {visible_line(part.media.name)}: {listed}.")
        self.notice(f"{cost}. /frames changes them: {EXAMPLES}.")

    # Fine-tuning ------------------------------------------------------------------------------

    def open_finetune(self, files: "Sequence[Path]" = ()) -> None:
        """Go through the steps of fine-tuning."""
        from vlmchat.plain.tuning import finetune

        self.then(finetune(self, files))

    def open_jobs(self, name: str = "") -> None:
        """List the fine-tuning jobs, or tell of one."""
        from vlmchat.plain.tuning import jobs

        self.then(jobs(self, name))

    def open_evaluation(self) -> None:
        """Write how an evaluation stands: its report in sentences, and what was wrong."""
        evaluating = self.front.beside.evaluating
        if evaluating.report is None:
            lines = evaluating.lines()
        else:
            lines = [*evaluating.report.spoken(), *evaluating.report.wrong_lines(MOST_LISTED)]
        for line in lines:
            self.out.line(line)

    def open_batch(self) -> None:
        """Write how a batch stands, and its last answers."""
        for line in self.front.beside.batching.lines():
            self.out.line(line)

    def open_synth(self) -> None:
        """Write how a set that is being made stands, or what came of it."""
        for line in self.front.beside.synthesizing.lines():
            self.out.line(line)

    def open_located(self) -> None:
        """List what was found, and ask which of it to attach, once all was looked at."""
        self.notice(self.front.beside.locating.line())
        if not self.front.beside.locating.active:
            self.then(self._located())

    async def _located(self) -> None:
        found = [one.what for one in self.front.beside.locating.found[:MOST_LISTED]]
        paths = [path for path in found if isinstance(path, Path)]
        for number, path in enumerate(paths, 1):
            self.out.line(f"{number}. {visible_line(str(path))}")
        number = await self.choose(len(paths), "Number to attach") or 0
        if number:
            self.front.attach(paths[number - 1 : number])

    # The engine and the program ---------------------------------------------------------------

    def list_models(self) -> None:
        """List the models, and ask which one to go on with."""
        self.then(self._models())

    async def _models(self) -> None:
        engine = self.session.engine
        if engine.model:
            self.notice(f"{visible_line(engine.model.title)} answers.")
        if engine.kind == "local":
            from vlmchat.models.catalogue import CATALOGUE

            rows = [(entry.id, entry.title) for entry in CATALOGUE]
        else:
            rows = [(name, "") for name in await self.engine_changer.served()]
        for number, (name, title) in enumerate(rows, 1):
            self.out.line(f"{number}. {visible_line(f'{name}, {title}' if title else name)}")
        number = await self.choose(len(rows), "Number of the model to change to") or 0
        if number:
            self.engine_changer.change(model=rows[number - 1][0])

    def open_adapters(self) -> None:
        """List the adapters on the shelf, and ask which one to lay over the model."""
        self.then(self._adapters())

    async def _adapters(self) -> None:
        from vlmchat.talk.adapters import shelf_rows

        model = self.session.engine.model
        rows = await asyncio.to_thread(shelf_rows, model.adapter if model else "")
        if not rows:
            self.notice("There is no adapter yet: fine-tuning makes one, /adapter PATH takes one.")
            return
        for number, row in enumerate(rows, 1):
            self.out.line(
                f"{number}. {visible_line(row.name)}{', on' if row.on else ''}, {row.line}"
            )
        self.notice("/adapter off answers without one; `vlmchat adapters` keeps the shelf tidy.")
        number = await self.choose(len(rows), "Number of the adapter to take") or 0
        if number:
            self.front.change_engine(adapter=rows[number - 1].name)

    async def open_judging(self, name: str, files: "Sequence[Path]") -> None:
        """Ask which answer is better, with the adapter or without, one question after another."""
        from vlmchat.plain.judging import judge

        self.then(judge(self, name, files))

    def open_why(self, turn: "Turn", word: str = "") -> None:
        """Say where a reply looked, or a word of it."""
        from vlmchat.plain.why import tell_why

        self.then(tell_why(self, turn, word))

    def open_log(self) -> None:
        """Write the end of the engine's log."""
        tail = visible(self.session.engine.log_tail()).strip()
        self.out.line(tail or "The log is empty.")

    def open_help(self) -> None:
        """Write how to write, and the commands."""
        from vlmchat.talk.commands.registry import COMMANDS, barred

        reasons = barred(self.front)
        for line in _HELP:
            self.out.line(line)
        for command in COMMANDS:
            also = "".join(f", /{alias}" for alias in command.aliases)
            what = reasons.get(command.name) or f"{command.help}."
            self.out.line(f"{command.usage}{also}: {what}")

    def open_keys(self) -> None:
        """Say which keys there are."""
        self.notice("The keys of the commands belong to the screen; here commands are written.")
        for line in _KEYS:
            self.out.line(line)

    def theme_names(self) -> list[str]:
        """Return the names of the theme files."""
        from vlmchat.talk.theme_files import theme_files

        return sorted(theme_files())

    def open_themes(self) -> None:
        """List the themes."""
        self.then(self._themes())

    async def _themes(self) -> None:
        self.notice("Plain mode has no colours: a theme is kept for the screen.")
        names = self.theme_names()
        for number, name in enumerate(names, 1):
            self.out.line(f"{number}. {visible_line(name)}")
        number = await self.choose(len(names)) or 0
        if number:
            await self.change_setting(f"ui.theme {names[number - 1]}")

    def set_theme(self, name: str) -> None:
        """Keep a theme for the screen.

        Raises:
            UsageError: there is none of that name.
        """
        names = self.theme_names()
        if name not in names:
            raise UsageError(
                f"There is no theme “{visible_line(name)}”: there are {', '.join(names)}."
            )
        self.then(self.change_setting(f"ui.theme {name}"))

    async def change_setting(self, argument: str) -> None:
        """Tell or change one setting."""
        raise NotImplementedError


def day(seconds: float) -> str:
    """Return the day of a time for a list."""
    return f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d}"


_HELP = (
    "Write a question and press Enter; what you write while an answer comes waits in line.",
    "A line that ends in a backslash goes on in the next one. "
    'A line with """ begins a text of several lines, which ends with """.',
    "The path of a picture or video at the beginning of a line attaches it. "
    "/describe says what is in it.",
    "Lists ask for a number. Anything else you write there is taken as your next line.",
    "Commands:",
)
_KEYS = (
    "Ctrl+C: stops the answer; twice at the prompt, quits.",
    "Ctrl+D: quits.",
    "Tab: completes commands and paths, and lists what fits.",
    "Up and Down: what you wrote before. Ctrl+R searches it.",
)
