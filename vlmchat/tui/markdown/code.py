"""Code in an answer, in colours that can be read on every theme.

Textual's own highlighting mixes colours with the ground at fixed shares, which falls below the
contrast of WCAG AA on light themes, and its styles for terminal colours have misspelt names. Here
every kind of token has one of the theme's colours, which the theme's tests hold to AA.
"""

from textual.content import Content
from textual.highlight import HighlightTheme, highlight

_COLOURS = {
    "Comment": "$muted italic",
    "Error": "$text-error underline",
    "Generic.Deleted": "$text-error",
    "Generic.Emph": "italic",
    "Generic.Error": "$text-error",
    "Generic.Heading": "$text-primary underline",
    "Generic.Inserted": "$text-success",
    "Generic.Strong": "bold",
    "Generic.Subheading": "$text-primary",
    "Keyword": "$text-accent bold",
    "Literal.Number": "$text-warning",
    "Literal.String": "$text-success",
    "Literal.String.Doc": "$text-success italic",
    "Name.Attribute": "$text-secondary",
    "Name.Builtin": "$text-secondary",
    "Name.Class": "$text-primary bold",
    "Name.Decorator": "$text-secondary bold",
    "Name.Exception": "$text-error",
    "Name.Function": "$text-primary",
    "Name.Namespace": "$text-primary",
    "Name.Tag": "$text-primary bold",
    "Operator.Word": "$text-accent bold",
}


class CodeColours(HighlightTheme):
    """Which of the theme's colours each kind of token has (by Pygments' names)."""

    STYLES = {tuple(name.split(".")): style for name, style in _COLOURS.items()}  # noqa: RUF012


def highlighted(code: str, language: str) -> Content:
    """Return code with its tokens coloured by the theme, whichever that is.

    Args:
        code: any text.
        language: as it stands behind a fence's marks; unknown or empty means plain text.
    """
    shown = highlight(code, language=language or "text", theme=CodeColours)
    return shown[: len(code)]  # some languages get a line break at the end
