"""One field of a form: its name, an editor that fits it, what it does, and what is wrong."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import HorizontalGroup, VerticalGroup
from textual.content import Content
from textual.message import Message
from textual.suggester import SuggestFromList
from textual.widgets import Input, Static

from vlmchat.errors import UsageError

if TYPE_CHECKING:
    from vlmchat.settings_fields import Value


class FormField(Protocol):
    """What a form needs to know of a field (`vlmchat.settings_fields.SettingField` is one)."""

    @property
    def key(self) -> str:
        """Its name among all fields."""

    @property
    def name(self) -> str:
        """Its name in its group."""

    @property
    def group(self) -> str:
        """The group it stands in."""

    @property
    def title(self) -> str:
        """Its name for a person."""

    @property
    def description(self) -> str:
        """One or two sentences."""

    @property
    def choices(self) -> tuple[str, ...]:
        """The words there are; empty when it is typed."""

    @property
    def secret(self) -> bool:
        """Whether it is never shown."""

    @property
    def default(self) -> "Value | None":
        """What holds when nothing is set."""

    @property
    def when(self) -> str:
        """When a change takes effect."""

    def parse(self, text: str) -> "Value | None":
        """Return the value a person typed."""

    def written(self, value: Any) -> str:  # noqa: ANN401 - of whatever kind the field has
        """Return a value as a person would type it."""

    def shown(self, value: Any) -> str:  # noqa: ANN401 - of whatever kind the field has
        """Return a value as it is told."""


class ChoiceLine(Static, can_focus=True):
    """A few words in a row, one of them chosen.

    Args:
        choices: the words.
        chosen: the one that holds.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(-1)", "Choose", show=False),
        Binding("right,space", "move(1)", "Choose", show=False),
    ]

    class Changed(Message):
        """Another word was chosen."""

        def __init__(self, line: "ChoiceLine", chosen: str) -> None:
            super().__init__()
            self.line = line
            self.chosen = chosen

    def __init__(self, choices: Sequence[str], chosen: str) -> None:
        super().__init__(classes="choice-line")
        self._choices = tuple(choices)
        self.chosen = chosen

    @property
    def _all(self) -> tuple[str, ...]:
        """The words, and behind them what holds if it is none of them: a number, once typed."""
        odd = self.chosen and self.chosen not in self._choices
        return (*self._choices, self.chosen) if odd else self._choices

    def show(self, chosen: str) -> None:
        """Draw `chosen` as the one that holds."""
        self.chosen = chosen
        self.refresh(layout=True)

    def render(self) -> Content:
        """Return the row; the chosen word has a full mark, so that colour is not needed."""
        parts: list[Content] = []
        for choice in self._all:
            on_it = choice == self.chosen
            style = "bold $accent" if on_it else "$muted"
            parts.append(Content.styled(f"{'●' if on_it else '○'} {choice}", style))
        return Content("  ").join(parts)

    def action_move(self, step: int) -> None:
        """Choose the next or the previous word."""
        words = self._all
        at = words.index(self.chosen) if self.chosen in words else -step
        self._choose(words[(at + step) % len(words)])

    def on_click(self, event: events.Click) -> None:
        """Choose the word that was clicked."""
        at = 0
        for choice in self._all:
            if at <= event.x < at + len(choice) + 2:
                self._choose(choice)
            at += len(choice) + 4

    def _choose(self, choice: str) -> None:
        if choice != self.chosen and not self.disabled:
            self.show(choice)
            self.post_message(self.Changed(self, choice))


class FieldRow(VerticalGroup):
    """One field.

    Args:
        field: what is edited.
        value: what the editor shows.
        committed: called at once when the person has set the field to another value: a message
            could come too late, when the form is closed by the same key.
        empty: what an empty editor means.
        suggestions: texts to complete to.
    """

    DEFAULT_CSS = """
    FieldRow {
        height: auto;
        margin-bottom: 1;
        padding-left: 1;
        border-left: blank;
        &:focus-within {
            border-left: outer $primary;
        }
        .field-title { width: auto; text-style: bold; margin-right: 2; }
        .field-source { width: 1fr; color: $muted; text-align: right; height: 1;
            text-wrap: nowrap; text-overflow: ellipsis; }
        .field-note { color: $muted; }
        .field-extra { color: $muted; text-style: italic; }
        .field-error { color: $error; text-style: bold; }
        .choice-line { width: 100%; height: auto; background: $panel;
            &:focus { background: $primary 25%; }
            &:disabled { opacity: 100%; text-style: dim; }
        }
        Input { background: $panel;
            & > .input--placeholder, & > .input--suggestion { color: $muted; text-style: italic; }
        }
    }
    """

    def __init__(
        self,
        field: FormField,
        value: "Value | None",
        committed: "Callable[[FieldRow, Value | None], object]",
        empty: str = "",
        suggestions: Sequence[str] = (),
    ) -> None:
        super().__init__(classes="field-row")
        self.field = field
        self.value = value
        self._committed = committed
        self._source = Static("", classes="field-source", markup=False)
        self._note = Static("", classes="field-note", markup=False)
        self._extra = Static("", classes="field-extra", markup=False)
        self._error = Static("", classes="field-error", markup=False)
        for line in (self._note, self._extra, self._error):
            line.display = False
        self.editor: ChoiceLine | Input
        text = field.written(value)
        if field.choices:
            self.editor = ChoiceLine(field.choices, text)
        else:
            self.editor = Input(
                text,
                placeholder=empty,
                password=field.secret,
                suggester=SuggestFromList(suggestions, case_sensitive=False),
                select_on_focus=False,
                compact=True,
            )

    def compose(self) -> ComposeResult:
        """Lay out name and source, editor, notes, error."""
        with HorizontalGroup():
            yield Static(self.field.title, classes="field-title", markup=False)
            yield self._source
        yield self.editor
        yield self._error
        yield self._note
        yield self._extra

    @property
    def text(self) -> str:
        """What the editor holds."""
        return self.editor.value if isinstance(self.editor, Input) else self.editor.chosen

    @property
    def edited(self) -> bool:
        """Whether the editor holds something else than the field's value."""
        return self.text != self.field.written(self.value)

    def describe(self, note: str, source: str = "", extra: str = "") -> None:
        """Show what the field does, where its value comes from, and what else to know."""
        for line, text in ((self._note, note), (self._source, source), (self._extra, extra)):
            line.update(Content(text))
            line.display = bool(text)

    def show(self, value: "Value | None") -> None:
        """Show `value`, unless the person is writing something else just now."""
        busy = self.edited and self.editor.has_focus
        self.value = value
        if not busy:
            self.restore()

    def restore(self) -> None:
        """Show the field's value instead of what was typed."""
        text = self.field.written(self.value)
        if isinstance(self.editor, Input):
            self.editor.value = text
        else:
            self.editor.show(text)
        self.say("")

    def say(self, error: str) -> None:
        """Show what is wrong; nothing for nothing."""
        self._error.update(Content(f"✗ {error}" if error else ""))
        self._error.display = bool(error)
        self.editor.set_class(bool(error), "-invalid")

    @property
    def error(self) -> str:
        """What is wrong with what the editor holds; nothing when it is right."""
        try:
            self.field.parse(self.text)
        except UsageError as error:
            return str(error)
        return ""

    def commit(self) -> bool:
        """Tell what was typed, if it is another value and a right one; false if it is wrong."""
        if not self.edited:
            return True
        try:
            value = self.field.parse(self.text)
        except UsageError as error:
            self.say(str(error))
            return False
        if value == self.value:
            self.restore()
        else:
            self.value = value
            self.say("")
            self._committed(self, value)
        return True

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        self.say(self.error if self.edited else "")

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.commit()

    @on(Input.Blurred)
    def _left(self, event: Input.Blurred) -> None:
        event.stop()
        self.commit()

    @on(ChoiceLine.Changed)
    def _chosen(self, event: ChoiceLine.Changed) -> None:
        event.stop()
        self.commit()


def row_of(widget: object) -> FieldRow | None:
    """Return the row that `widget` (what has the focus) belongs to."""
    parent = getattr(widget, "parent", None)
    return parent if isinstance(parent, FieldRow) else None
