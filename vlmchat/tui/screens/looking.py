"""Looking closer at a picture: the edges of its tiles, and choosing a part of it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.color import Color
from textual.screen import ModalScreen

from vlmchat.chat.messages import Attachment, ImagePart, Region
from vlmchat.errors import VlmchatError
from vlmchat.media.storyboard import FrameMedia
from vlmchat.talk.cropping import attach_part, attached_words
from vlmchat.talk.plan import plan_of, steps
from vlmchat.tui.media_actions import chat_of
from vlmchat.tui.viewing import Line, Selection, View, grid_lines, outline
from vlmchat.tui.widgets.canvas import Canvas

if TYPE_CHECKING:
    from vlmchat.tui.screens.chat import ChatScreen


class Looking(ModalScreen[None]):
    """The part of the viewer that knows what the model is given.

    Attributes:
        grid: whether the edges of the tiles are drawn.
        selection: the part that is being chosen; ``None`` while none is.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(f"{held}+{key}", f"{action}({across}, {down})", show=False)
            for held, action in (("shift", "resize"), ("ctrl", "nudge"))
            for key, across, down in (
                ("left", -1, 0),
                ("right", 1, 0),
                ("up", 0, -1),
                ("down", 0, 1),
            )
        ),
        Binding("g", "grid", "Tiles"),
        Binding("d", "detail", "Detail"),
        Binding("c", "crop", "Crop"),
        Binding("enter", "attach", "Attach the part"),
    ]

    _item: Attachment
    _view: View | None = None
    _dragged_from: tuple[int, int] | None = None
    grid = False
    selection: Selection | None = None

    def _show_text(self) -> None:
        """Say anew what is shown."""
        raise NotImplementedError

    def _draw(self) -> None:
        """Draw anew."""
        raise NotImplementedError

    def _show_anew(self) -> None:
        self._show_text()
        self._draw()

    @property
    def _chat(self) -> "ChatScreen | None":
        return chat_of(self.app)

    @property
    def _picture(self) -> ImagePart | None:
        """What is shown, if it is a picture."""
        item = self._item
        if not isinstance(item, ImagePart) or isinstance(item.media, FrameMedia):
            return None
        return item if item.media.mime.startswith("image/") else None

    def _region(self) -> Region | None:
        """Return what is to stay bright."""
        if self.selection is not None:
            return self.selection.region
        picture = self._picture
        return picture.region if picture is not None else None

    def _lines(self) -> list[Line]:
        region, part = self._region(), self._planned
        lines = outline(region) if region is not None else []
        spec = self._chat.plans.spec if self._chat is not None else None
        if self.grid and part is not None and spec is not None and self._chat is not None:
            plan = plan_of(part, self._chat.session.detail, spec)
            whole = Region(0, 0, part.media.width, part.media.height)
            lines += grid_lines(plan, part.region or whole)
        return lines

    def _ink(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        colours = self.app.theme_variables
        accent = Color.parse(colours.get("accent", "#ff8800"))
        other = Color(0, 0, 0) if accent.brightness > 0.5 else Color(255, 255, 255)
        return accent.rgb, other.rgb

    @property
    def _planned(self) -> ImagePart | None:
        """The picture with the part that is chosen, as it would be sent."""
        picture = self._picture
        if picture is None or self.selection is None:
            return picture
        return ImagePart(picture.media, picture.detail, self.selection.region)

    # What the model is given ------------------------------------------------------------------

    def action_grid(self) -> None:
        """Draw the edges of the tiles, or leave them out again."""
        self.grid = not self.grid
        self._show_anew()

    def action_detail(self) -> None:
        """Look more finely with the next question, and after the finest coarsely again."""
        chat, part = self._chat, self._planned
        if chat is None or part is None:
            return
        ways = steps(part.size, chat.plans.spec)
        now = chat.session.detail
        at = ways.index(now) if now in ways else -1
        chat.set_detail(ways[(at + 1) % len(ways)])
        self.grid = True
        self._show_anew()

    def _begin_selection(self) -> None:
        picture = self._picture
        if picture is not None:
            media = picture.media
            self.selection = Selection.begin(media.width, media.height, picture.region)

    def action_crop(self) -> None:
        """Choose a part of the picture, or leave that again."""
        if self.selection is None:
            self._begin_selection()
        else:
            self.selection = None
        self._show_anew()

    def action_leave(self) -> None:
        """Leave the choosing of a part, else the viewer."""
        if self.selection is not None:
            self.action_crop()
        else:
            self.dismiss(None)

    def _select(self, change: "Callable[[Selection, int, int], Selection]") -> None:
        """Change what is chosen; `change` is given the pixels that a cell stands for."""
        found, view = self.selection, self._view
        if found is None or view is None:
            return
        self.selection = change(found, *view.step(found.width, found.height))
        self._show_anew()

    def action_resize(self, across: int, down: int) -> None:
        """Move the right or the lower edge of the part that is chosen."""
        self._select(lambda found, x, y: found.resized(across * x, down * y))

    def action_nudge(self, across: int, down: int) -> None:
        """Move the part that is chosen by one pixel."""
        self._select(lambda found, x, y: found.moved(across, down))

    def action_attach(self) -> None:
        """Have the part that is chosen go with the next question."""
        chat, picture, found = self._chat, self._picture, self.selection
        if chat is None or picture is None or found is None:
            return
        try:
            new = attach_part(chat, picture, found.region)
        except VlmchatError as error:
            self.app.notify(str(error), severity="error", markup=False)
            return
        self.app.notify(attached_words(chat, new), markup=False)
        self.dismiss(None)

    # The mouse --------------------------------------------------------------------------------

    def _cell(self, event: events.MouseEvent) -> tuple[int, int]:
        """Return the cell of the picture that the mouse points at, the nearest one outside."""
        region = self.query_one(Canvas).region
        x = min(max(event.screen_x - region.x, 0), max(0, region.width - 1))
        y = min(max(event.screen_y - region.y, 0), max(0, region.height - 1))
        return x, y

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Begin to drag a part of the picture."""
        inside = self.query_one(Canvas).region.contains(event.screen_x, event.screen_y)
        if inside and self._view is not None and self._picture is not None:
            self._dragged_from = self._cell(event)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Choose what lies between where the button was pressed and here."""
        start, view, picture = self._dragged_from, self._view, self._picture
        if start is None or view is None or picture is None:
            return
        end = self._cell(event)
        if self.selection is None:
            if end == start:
                return
            self._begin_selection()
        found = self.selection
        assert found is not None
        near = view.pixel(min(start[0], end[0]), min(start[1], end[1]), found.width, found.height)
        far = view.pixel(
            max(start[0], end[0]) + 1, max(start[1], end[1]) + 1, found.width, found.height
        )
        self.selection = found.spanned(near, far)
        self._show_anew()

    def on_mouse_up(self, _: events.MouseUp) -> None:
        """Let go."""
        self._dragged_from = None

    def _cost_words(self) -> str:
        """Return what the picture costs with the next question, if that is known."""
        part, chat = self._planned, self._chat
        if part is None or chat is None or not (facts := chat.plans.facts(part)):
            return ""
        return f"Detail {chat.session.detail}: {' · '.join(facts)}"

    def _plan_words(self) -> str:
        """Return what is chosen and what it costs, while that is looked at."""
        part, chat = self._planned, self._chat
        if part is None or not (self.grid or part.region):
            return ""
        words = []
        if (region := part.region) is not None:
            left, top, right, bottom = region.edges
            words.append(f"part {left},{top},{right},{bottom} ({region.width}×{region.height})")
        if chat is not None and (spec := chat.plans.spec) is not None:
            if self.grid:
                plan = plan_of(part, chat.session.detail, spec)
                shape = f" ({plan.rows}×{plan.cols} and the whole)" if plan.rows else ""
                detail = str(chat.session.detail)
                words.append(detail if region is not None else f"detail {detail}{shape}")
            words += chat.plans.facts(part)
        elif self.grid:
            words.append("the tiles are known once the model is")
        return " · ".join(words)
