"""Where vlmchat keeps its files: one function a folder, each made on first use.

``VLMCHAT_HOME`` puts all of them under one folder (tests, portable installs); otherwise they are
the platform's own folders for configuration, data, cache and logs.
"""

import os
from pathlib import Path

from vlmchat.errors import VlmchatError

_APP = "vlmchat"


def _folder(kind: str) -> Path:
    home = os.environ.get("VLMCHAT_HOME")
    if home:
        path = Path(home).expanduser() / kind
    else:
        import platformdirs

        path = Path(getattr(platformdirs, f"user_{kind}_path")(_APP, appauthor=False))
    return path


def _made(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise VlmchatError(
            f"The folder {path} cannot be made ({error.strerror}): "
            "mend its permissions, or set VLMCHAT_HOME to a folder of yours."
        ) from error
    return path


def config_dir() -> Path:
    """Return the folder of ``config.toml`` and of the person's own themes (not created)."""
    return _folder("config")


def config_file() -> Path:
    """Return the path of the configuration file (which may not exist)."""
    return config_dir() / "config.toml"


def data_dir() -> Path:
    """Return the folder of conversations, adapters and jobs, created if missing.

    Raises:
        VlmchatError: it cannot be made (here and in the functions below).
    """
    return _made(_folder("data"))


def cache_dir() -> Path:
    """Return the folder of what can be made or fetched again, created if missing."""
    return _made(_folder("cache"))


def native_dir() -> Path:
    """Return the folder of compiled code, created if missing.

    ``VLMCHAT_NATIVE_DIR`` names another than the one in the cache: where many homes share one.
    """
    folder = os.environ.get("VLMCHAT_NATIVE_DIR")
    return _made(Path(folder).expanduser() if folder else _folder("cache") / "native")


def log_dir() -> Path:
    """Return the folder of log files, created if missing."""
    return _made(_folder("log"))


def shipped_themes_dir() -> Path:
    """Return the folder of the theme files that came with the program.

    A wheel carries them inside the package; a checkout has them beside it.
    """
    package = Path(__file__).parent
    inside = package / "_themes"
    return inside if inside.is_dir() else package.parent / "themes"
