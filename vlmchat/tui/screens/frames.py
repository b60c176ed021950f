"""Which frames of a video the model gets: seen, left out, put in, chosen another way."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, TypeAlias

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalGroup
from textual.content import Content
from textual.screen import ModalScreen
from textual.theme import Theme
from textual.widgets import Input, Static

from vlmchat.chat.messages import VideoPart
from vlmchat.errors import UsageError, VlmchatError
from vlmchat.media.video.plan import Sampling, clock
from vlmchat.talk.frame_cost import cost_text
from vlmchat.talk.framing import ALL, METHODS, moment
from vlmchat.text import visible_line
from vlmchat.tui.decoding import in_pool
from vlmchat.tui.widgets.frame_grid import FrameGrid

_KEYS = "Enter takes them · Esc leaves them as they were"
_MORE_KEYS = "Space drops  + − count  i o in, out  w all  m method  a adds  v views"
_METHOD_NAMES = {"uniform": "even", "scenes": "scenes", "keyframes": "keyframes"}


_Made: TypeAlias = tuple[VideoPart, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class _Work:
    """What is to be decoded.

    Attributes:
        do: returns the video with other frames, and what is to be told; in a worker.
        rule: that it chooses all of them by, if it does.
        at: the moment that the cursor goes to.
    """

    do: Callable[[VideoPart], _Made]
    rule: Sampling | None = None
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the person took.

    Attributes:
        part: the video with its frames.
        sampling: how they were chosen, before some were dropped or added.
    """

    part: VideoPart
    sampling: Sampling


class FramesScreen(ModalScreen[Chosen | None]):
    """Shows the frames of a video; returns those that are taken.

    Args:
        part: the video as it is attached.
        sampling: how its frames were chosen.
        tokens: what each costs; ``None`` where nobody knows.
    """

    DEFAULT_CSS = """
    FramesScreen {
        #frames-facts, #frames-keys {
            height: 1;
            text-wrap: nowrap;
            text-overflow: ellipsis;
        }
        #frames-facts {
            color: $foreground;
            &.trouble {
                color: $error;
            }
        }
        #frames-keys {
            color: $muted;
        }
        #frames-moment {
            display: none;
            background: $panel;
            & > .input--placeholder {
                color: $muted;
            }
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Leave"),
        Binding("enter", "take", "Take"),
        Binding("space,delete", "drop", "Drop"),
        Binding("plus,equals_sign", "more(1)", "More"),
        Binding("minus", "more(-1)", "Fewer"),
        Binding("i", "point('start')", "From here"),
        Binding("o", "point('end')", "To here"),
        Binding("w", "whole", "Whole"),
        Binding("m", "method", "Method"),
        Binding("a", "add", "Add"),
        Binding("v", "view", "View"),
    ]

    def __init__(self, part: VideoPart, sampling: Sampling, tokens: int | None) -> None:
        super().__init__(id="frames")
        self._part = part
        self._sampling = sampling
        self._tokens = tokens
        self._dropped: frozenset[float] = frozenset()
        self._trouble = ""
        self._waiting: list[_Work] = []
        self._working = False

    def compose(self) -> ComposeResult:
        """Lay out the grid, the facts, the keys, and the field for a moment."""
        with VerticalGroup(id="frames-dialog", classes="dialog") as dialog:
            dialog.border_title = Content(f"Frames of {visible_line(self._part.media.name)}")
            dialog.border_subtitle = _KEYS
            yield FrameGrid(self._part)
            yield Input(
                placeholder="Time of the frame, as 0:07; nothing for one between this and the next",
                compact=True,
                id="frames-moment",
            )
            yield Static("", id="frames-facts", markup=False)
            yield Static(_MORE_KEYS, id="frames-keys", markup=False)

    def on_mount(self) -> None:
        """Begin in the grid."""
        self._grid.focus()
        self.app.theme_changed_signal.subscribe(self, self._theme_changed)
        self._say()

    def _theme_changed(self, _: Theme) -> None:
        self._grid.redraw()

    @property
    def _grid(self) -> FrameGrid:
        return self.query_one(FrameGrid)

    @property
    def _taken(self) -> list[float]:
        return [time for time in self._part.clip.times if time not in self._dropped]

    # What it says -----------------------------------------------------------------------------

    def _show(self) -> None:
        self._grid.show(self._part, self._dropped)
        self._say()

    def _say(self) -> None:
        rule = self._sampling
        end = self._part.clip.duration if rule.end is None else rule.end
        facts = [
            cost_text(len(self._taken), self._tokens),
            f"{len(self._dropped)} dropped" if self._dropped else "",
            _METHOD_NAMES[rule.method],
            f"{clock(rule.start)}–{'end' if end is None else clock(end)}",
            "…" if self._working else "",
        ]
        line = self._trouble or " · ".join(fact for fact in facts if fact)
        text = self.query_one("#frames-facts", Static)
        text.set_class(bool(self._trouble), "trouble")
        text.update(Content(line))

    def _tell(self, sentence: str) -> None:
        self._trouble = sentence
        self._say()

    # Keys -------------------------------------------------------------------------------------

    def action_leave(self) -> None:
        """Leave the field first; then leave all as it was."""
        if self._field.display:
            self._field_away()
        else:
            self.dismiss(None)

    def action_take(self) -> None:
        """Take these frames."""
        if self._working:
            self._tell("The frames are still being read: wait a moment.")
            return
        clip = replace(self._part.clip, times=tuple(self._taken))
        self.dismiss(Chosen(VideoPart(self._part.media, clip), self._sampling))

    def action_drop(self) -> None:
        """Leave the frame out, or have it again; go on to the next."""
        time = self._grid.current
        if time not in self._dropped and len(self._taken) == 1:
            self._tell("One frame has to stay: /detach takes the video away.")
            return
        self._trouble = ""
        self._dropped = self._dropped ^ {time}
        self._show()
        self._grid.action_move(1)

    def action_more(self, step: int) -> None:
        """Have more frames, or fewer, chosen anew."""
        count = self._sampling.max_frames if self._working else len(self._taken)
        most = max(1, count + step * max(1, count // 8))
        self._sample(lambda rule: replace(rule, fps=ALL, max_frames=most))

    def action_point(self, which: str) -> None:
        """Have frames from here on only, or up to here."""
        time = self._grid.current
        if which == "start":
            self._sample(lambda rule: replace(rule, start=time))
        else:
            self._sample(lambda rule: replace(rule, end=time))

    def action_whole(self) -> None:
        """Have frames of all of the video again."""
        self._sample(lambda rule: replace(rule, start=0.0, end=None))

    def action_method(self) -> None:
        """Have frames chosen another way."""
        at = METHODS.index(self._sampling.method)
        self._sample(lambda rule: replace(rule, method=METHODS[(at + 1) % len(METHODS)]))

    def action_view(self) -> None:
        """See the frame large, and the others to its sides."""
        from vlmchat.media.storyboard import frame_media
        from vlmchat.tui.screens.viewer import Viewer

        self.app.push_screen(Viewer(frame_media(self._part), self._grid.cursor))

    @on(FrameGrid.Clicked)
    def _clicked(self, event: FrameGrid.Clicked) -> None:
        self._trouble = ""
        if event.twice:
            self.action_view()
        else:
            self._say()

    # A moment ---------------------------------------------------------------------------------

    @property
    def _field(self) -> Input:
        return self.query_one("#frames-moment", Input)

    def action_add(self) -> None:
        """Ask for the moment of a frame to put in."""
        self._field.value = ""
        self._field.display = True
        self._field.focus()

    def _field_away(self) -> None:
        self._field.display = False
        self._grid.focus()

    @on(Input.Submitted)
    def _moment_named(self, event: Input.Submitted) -> None:
        event.stop()
        try:
            time = moment(event.value) if event.value.strip() else self._between()
        except UsageError as error:
            self._tell(str(error))
            return
        self._field_away()

        def add(part: VideoPart) -> _Made:
            from vlmchat.media.reframing import with_moments

            new = with_moments(part, [time])
            there = new.clip.times == part.clip.times
            return new, (("That frame is among them already.",) if there else ())

        self._do(_Work(add, at=time))

    def _between(self) -> float:
        """Return the moment between the frame under the cursor and the next, or the end."""
        times, here = self._part.clip.times, self._grid.cursor
        last = max(self._part.clip.duration or 0.0, times[-1])
        after = times[here + 1] if here + 1 < len(times) else last
        return (times[here] + after) / 2

    # Decoding ---------------------------------------------------------------------------------

    def _sample(self, changed: Callable[[Sampling], Sampling]) -> None:
        """Choose all frames anew, by a changed rule."""
        try:
            rule = changed(self._sampling)
        except UsageError as error:
            self._tell(str(error))
            return

        def anew(part: VideoPart) -> _Made:
            from vlmchat.media.attaching import sampled_anew

            new = sampled_anew(part, rule)
            assert isinstance(new.part, VideoPart)
            return new.part, new.notes

        # Whoever presses a key many times wants what comes of the last one.
        self._waiting.clear()
        self._do(_Work(anew, rule))

    def _do(self, work: _Work) -> None:
        """Have `work` done in a worker, once what runs has come to its end."""
        self._waiting.append(work)
        before = self._sampling
        self._sampling = work.rule or before
        self._trouble = ""
        if not self._working:
            self._working = True
            self.run_worker(self._decode(before), group="frames")
        self._say()

    async def _decode(self, before: Sampling) -> None:
        """Do what waits; `before` is the rule that the present frames were chosen by."""
        at: float | None = None
        while self._waiting:
            work, part = self._waiting.pop(0), self._part
            try:
                self._part, notes = await in_pool(partial(work.do, part))
            except VlmchatError as error:
                self._sampling, self._trouble = before, str(error)
                self._waiting.clear()
                break
            before = work.rule or before
            at = work.at
            self._trouble = " ".join(notes)
            self._dropped &= frozenset(self._part.clip.times)
            if not self._taken:
                self._dropped = frozenset()
        self._working = False
        self._show()
        if at is not None:
            self._grid.go_to(at)
