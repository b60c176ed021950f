"""Reduced motion: nothing moves unless the person moves it.

One thing holds it, the app's animation level: who draws something that moves asks `is_reduced`.
``TEXTUAL_ANIMATIONS=none`` says the same as the setting, and from the first frame on.
"""

from typing import TYPE_CHECKING, Any

from textual import constants
from textual.app import App
from textual.widget import Widget
from textual.widgets import Input, TextArea

if TYPE_CHECKING:
    from vlmchat.settings import Settings


def apply_motion(app: App[Any], settings: "Settings") -> None:
    """Do as the setting ``ui.motion`` says; may be called again when it changes."""
    reduced = settings.ui.motion == "reduced"
    app.animation_level = "none" if reduced else constants.TEXTUAL_ANIMATIONS
    for screen in app.screen_stack:
        for field in screen.query("Input, TextArea"):
            still(field)


def is_reduced(app: App[Any]) -> bool:
    """Say whether nothing may move by itself."""
    return app.animation_level == "none"


def still(widget: Widget) -> None:
    """Let the cursor of a text field blink or not; for every field that gets the focus."""
    if isinstance(widget, (Input, TextArea)):
        widget.cursor_blink = not is_reduced(widget.app)
