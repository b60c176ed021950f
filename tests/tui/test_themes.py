"""Theme files: read, refused, and readable."""

from pathlib import Path

import pytest
from textual.color import Color

from vlmchat import paths
from vlmchat.errors import UsageError
from vlmchat.tui.app import ChatApp
from vlmchat.tui.themes import first_theme, load_theme, theme_files

SHIPPED = sorted(paths.shipped_themes_dir().glob("*.toml"))


def _luminance(color: Color) -> float:
    def channel(value: int) -> float:
        part = value / 255
        return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4

    return 0.2126 * channel(color.r) + 0.7152 * channel(color.g) + 0.0722 * channel(color.b)


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of WCAG 2.2, section 1.4.3."""
    light, dark = sorted((_luminance(Color.parse(one)), _luminance(Color.parse(other))))[::-1]
    return (light + 0.05) / (dark + 0.05)


def test_there_is_a_dark_and_a_light_one() -> None:
    assert {load_theme(path).dark for path in SHIPPED} == {True, False}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_contrast_meets_aa(path: Path) -> None:
    theme = load_theme(path)
    for ink in ("foreground", "primary", "secondary", "accent", "error", "warning", "success"):
        for ground in ("background", "surface", "panel"):
            ratio = contrast(getattr(theme, ink), getattr(theme, ground))
            assert ratio >= 4.5, f"{ink} on {ground}: {ratio:.2f}"
    variables = theme.variables
    for ground in ("background", "surface", "panel"):
        ratio = contrast(variables["muted"], getattr(theme, ground))
        assert ratio >= 4.5, f"muted on {ground}: {ratio:.2f}"
    assert contrast(variables["footer-key-foreground"], variables["footer-background"]) >= 4.5
    assert (
        contrast(variables["block-cursor-foreground"], variables["block-cursor-background"]) >= 4.5
    )


def test_textuals_own_themes_get_a_muted_colour_too() -> None:
    app = ChatApp()
    for name in app.available_themes:
        app.theme = name
        assert Color.parse(app.get_theme_variable_defaults()["muted"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("primary = blue\n", "line 1"),
        ('primary = "#123456"\ncolour = "#ffffff"', "colour"),
        ('primary = "no colour"', "primary"),
        ("primary = 3", "primary"),
        ('background = "#123456"', "primary"),
        ('primary = "#123456"\ndark = "yes"', "dark"),
        ('primary = "#123456"\n[variables]\nmuted = 3', "variables"),
    ],
)
def test_bad_files_are_refused_in_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        load_theme(path)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)


def test_the_persons_own_themes_win(tmp_path: Path) -> None:
    folder = paths.config_dir() / "themes"
    folder.mkdir(parents=True)
    (folder / "harbour.toml").write_text('primary = "#ff0000"')
    assert load_theme(theme_files()["harbour"]).primary == "#ff0000"
    assert "paper" in theme_files()


def test_which_theme_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    assert first_theme({}) == "harbour"
    paths.config_dir().mkdir(parents=True)
    paths.config_file().write_text('[ui]\ntheme = "paper"\n')
    assert first_theme({}) == "paper"
    monkeypatch.setenv("VLMCHAT_UI__THEME", "nord")
    assert first_theme({}) == "nord"
    assert first_theme({"ui": {"theme": "gruvbox"}}) == "gruvbox"
    assert ChatApp().theme == "nord"
