"""What a theme does not say, worked out from what it says, and always readable.

A theme names a dozen colours; the stylesheets use some fifty. The rest is derived here with the
contrast of WCAG 2.2 (section 1.4.3) in mind: 4.5 to 1 for text, 3 to 1 for what frames it.
"""

import re
from collections.abc import Mapping, Sequence

from textual.color import Color

TEXT_CONTRAST = 4.5
FRAME_CONTRAST = 3.0
SELECTION_CONTRAST = 7.0
OPACITY = re.compile(r"\s+\d{1,3}%$")
_BLACK, _WHITE = Color(0, 0, 0), Color(255, 255, 255)


def contrast(one: Color, other: Color) -> float:
    """Return the contrast ratio of two opaque colours, 1 to 21 (WCAG 2.2, section 1.4.3)."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: Color) -> float:
    def channel(value: int) -> float:
        part = value / 255
        return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4

    return 0.2126 * channel(color.r) + 0.7152 * channel(color.g) + 0.0722 * channel(color.b)


def readable(ink: Color, grounds: Sequence[Color], ratio: float = TEXT_CONTRAST) -> Color:
    """Return `ink`, moved towards black or white until it stands out from every ground.

    Args:
        ink: the wished colour.
        grounds: what it is drawn on.
        ratio: the least contrast.
    """

    def least(color: Color) -> float:
        return min(contrast(color, ground) for ground in grounds)

    if least(ink) >= ratio:
        return ink
    end = max((_BLACK, _WHITE), key=least)
    steps = (ink.blend(end, step / 20) for step in range(1, 20))
    return next((color for color in steps if least(color) >= ratio), end)


def _tinted(ground: Color, tint: Color, ink: Color) -> Color:
    """Return `ground` with as much of `tint` as leaves `ink` readable on it."""
    shades = (ground.blend(tint, share / 100) for share in range(40, 0, -4))
    return next((shade for shade in shades if contrast(ink, shade) >= SELECTION_CONTRAST), ground)


def derived(colors: Mapping[str, Color], given: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a theme in RGB that follow from its colours.

    Args:
        colors: every colour of the theme by name.
        given: variables the theme sets itself; those derived from them follow, and none is changed.
    """
    ground, surface, panel = colors["background"], colors["surface"], colors["panel"]
    ink, primary, accent = colors["foreground"], colors["primary"], colors["accent"]
    grounds = (ground, surface, panel)
    inks = ("primary", "secondary", "accent", "warning", "error", "success")

    def own(name: str, otherwise: Color) -> Color:
        return Color.parse(OPACITY.sub("", given[name])) if name in given else otherwise

    muted = own("muted", readable(ground.blend(ink, 0.6), grounds))
    border = own("border", readable(ground.blend(primary, 0.6), (ground, surface), FRAME_CONTRAST))
    faint = own("border-blurred", ground.blend(ink, 0.2))
    cursor = own("block-cursor-background", primary)
    cursor_ink = own("block-cursor-foreground", readable(ground, (cursor,)))
    found = {
        "muted": muted,
        "border": border,
        "border-blurred": faint,
        "block-cursor-background": cursor,
        "block-cursor-foreground": cursor_ink,
        "block-cursor-blurred-background": panel,
        "block-cursor-blurred-foreground": readable(ink, (panel,)),
        "block-hover-background": panel,
        "footer-background": ground,
        "footer-foreground": muted,
        "footer-description-background": ground,
        "footer-description-foreground": muted,
        "footer-key-background": ground,
        "footer-key-foreground": readable(accent, (ground,)),
        "input-cursor-background": ink,
        "input-cursor-foreground": readable(ground, (ink,)),
        "input-selection-background": _tinted(ground, primary, ink),
        "input-selection-foreground": ink,
        "screen-selection-background": _tinted(ground, primary, ink),
        "screen-selection-foreground": ink,
        "link-color": readable(primary, grounds),
        "link-background-hover": cursor,
        "link-color-hover": cursor_ink,
        "scrollbar": faint,
        "scrollbar-hover": border,
        "scrollbar-active": primary,
        "scrollbar-background": ground,
        "text": ink,
        "text-muted": muted,
        "text-disabled": muted,
        "foreground-muted": muted,
        **{f"text-{name}": readable(colors[name], grounds) for name in inks},
    }
    plain = {"block-cursor-text-style": "none"}
    return {**plain, **{name: color.hex for name, color in found.items()}, **given}


def derived_ansi(given: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a theme in the terminal's own colours.

    What these look like is the terminal's affair, so that little rests on them: text has the
    terminal's own colour, and what is chosen is black on cyan, which is light in every palette.
    """
    plain = (
        "background surface panel muted text text-muted text-disabled foreground-muted link-color"
        " border-blurred block-cursor-blurred-foreground block-cursor-blurred-background"
        " block-hover-background footer-description-foreground scrollbar-background"
        " scrollbar-background-hover scrollbar-background-active ansi-background ansi-foreground"
    )
    found = dict.fromkeys(plain.split(), "ansi_default")
    for chosen in ("block-cursor", "input-selection", "screen-selection"):
        found |= {f"{chosen}-foreground": "ansi_black", f"{chosen}-background": "ansi_cyan"}
    found |= {
        "link-color-hover": "ansi_black",
        "link-background-hover": "ansi_cyan",
        "block-cursor-text-style": "bold",
        "block-cursor-blurred-text-style": "bold",
    }
    return {**found, **given}
