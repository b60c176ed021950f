"""Where theme files are. What is in them is read by `vlmchat.tui.themes`, which knows Textual."""

from pathlib import Path

from vlmchat import paths


def own_themes_dir() -> Path:
    """Return the folder of the person's own themes (which may not exist)."""
    return paths.config_dir() / "themes"


def theme_dirs() -> tuple[Path, ...]:
    """Return the folders of theme files; the person's own come last and win."""
    return paths.shipped_themes_dir(), own_themes_dir()


def theme_files() -> dict[str, Path]:
    """Return every theme file by its theme's name."""
    found: dict[str, Path] = {}
    for folder in theme_dirs():
        try:
            found |= {path.stem: path for path in sorted(folder.glob("*.toml"))}
        except OSError:
            # A folder that may not be listed has no themes to offer.
            continue
    return found
