r"""Paths as people and terminals write them.

A file dropped on a terminal arrives as a bracketed paste: in quotes, with backslash escapes, as a
``file://`` URL with percent escapes, or bare with its spaces. Several come separated by spaces or
line breaks.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

# A paste longer than this is prose; looking for files in it would only cost time.
_LONGEST = 16_384


def expand(word: str) -> Path:
    """Return the path meant by one word: ``file://`` URLs decoded, ``~`` expanded."""
    if word.lower().startswith("file:"):
        parts = urlsplit(word)
        if parts.netloc in ("", "localhost"):
            return Path(unquote(parts.path))
    # Unlike Path.expanduser, this leaves an unknown ~user alone.
    return Path(os.path.expanduser(word))  # noqa: PTH111


def split_words(text: str) -> list[str]:
    r"""Split like a shell, forgivingly.

    Single and double quotes hold their text together, a backslash takes a space, quote or
    backslash literally (and is an ordinary character before anything else, so that Windows paths
    survive), and an unclosed quote is an ordinary character.
    """
    return [word for word, _ in _scan(text)]


def first_word(text: str) -> tuple[str, str]:
    """Return the first word, as `split_words` reads it, and what follows it, unchanged."""
    word, end = next(_scan(text), ("", len(text)))
    return word, text[end:].lstrip()


def _scan(text: str) -> Iterator[tuple[str, int]]:
    """Yield each word with the position behind it."""
    word: str | None = None
    position = 0
    while position < len(text):
        char = text[position]
        if char.isspace():
            if word is not None:
                yield word, position
            word = None
            position += 1
            continue
        piece, position = _piece(text, position)
        word = (word or "") + piece
    if word is not None:
        yield word, len(text)


def _piece(text: str, start: int) -> tuple[str, int]:
    """Return what the quote, escape or character at `start` means, and where the next one is."""
    char = text[start]
    if char in "\"'" and (end := _closing(text, start)) > 0:
        inside = text[start + 1 : end]
        return _unescaped(inside) if char == '"' else inside, end + 1
    if char == "\\" and start + 1 < len(text) and _escapable(text[start + 1]):
        return text[start + 1], start + 2
    return char, start + 1


def escape(path: str) -> str:
    """Return `path` so that `split_words` reads it back as one word."""
    return "".join("\\" + char if char.isspace() or char in "\"'\\" else char for char in path)


def last_word(text: str) -> tuple[int, str]:
    """Return where the last, unfinished word of `text` begins, and what it means so far.

    The word is empty behind a space. Unlike in `split_words`, a quote at a word's beginning that
    is not closed yet holds everything behind it together.
    """
    begin, word, position = len(text), "", 0
    inside = False
    while position < len(text):
        char = text[position]
        if char.isspace():
            inside, word, begin, position = False, "", len(text), position + 1
            continue
        if not inside:
            inside, begin = True, position
            if char in "\"'" and _closing(text, position) < 0:
                rest = text[position + 1 :]
                return begin, _unescaped(rest) if char == '"' else rest
        if char == "\\" and position + 1 == len(text):
            break  # it waits for the character that it escapes
        piece, position = _piece(text, position)
        word += piece
    return begin, word


def is_url(word: str) -> bool:
    """Return whether `word` is the address of something on the web."""
    return word.lower().startswith(("http://", "https://"))


def split_urls(text: str) -> tuple[list[str], list[Path]]:
    """Return the web addresses and the paths that the arguments of a command name.

    A text with no address in it is read by `parse_paths`.
    """
    words = split_words(text)
    urls = [word for word in words if is_url(word)]
    if not urls:
        return [], parse_paths(text)
    return urls, [expand(word) for word in words if not is_url(word)]


def _escapable(char: str) -> bool:
    return char.isspace() or char in "\"'\\()[]{}&;$`!*?#<>|~,"


def _closing(text: str, start: int) -> int:
    quote = text[start]
    position = start + 1
    while position < len(text):
        if text[position] == "\\" and quote == '"':
            position += 1
        elif text[position] == quote:
            return position
        position += 1
    return -1


def _unescaped(text: str) -> str:
    return text.replace('\\"', '"').replace("\\\\", "\\")


def parse_paths(text: str) -> list[Path]:
    """Return the paths named by the arguments of a command.

    A text that as a whole names an existing file is one path, spaces and all; otherwise it is
    split into words.
    """
    whole = text.strip()
    if not whole:
        return []
    if _exists(Path(whole)) or _exists(expand(whole)):
        return [Path(whole) if _exists(Path(whole)) else expand(whole)]
    return [expand(word) for word in split_words(whole)]


def pasted_files(text: str, wanted: Callable[[Path], bool]) -> list[Path]:
    """Return the files that a paste consists of, or nothing when it is ordinary text.

    Args:
        text: what was pasted.
        wanted: whether an existing file is of the kind that is taken.

    Returns:
        Absolute paths, all existing and wanted; empty unless the whole paste is such paths.
    """
    if not text.strip() or len(text) > _LONGEST or "\0" in text:
        return []
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    candidates = [path for line in lines for path in parse_paths(line)]
    # A bare word that happens to be a file's name is more likely a word: dropped paths are whole.
    if all(path.is_absolute() and _exists(path) and wanted(path) for path in candidates):
        return candidates
    return []


def _exists(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        # Names too long, with NULs, or below folders that may not be entered.
        return False


def split_paths(text: str) -> tuple[list[Path], str]:
    """Split a question that begins with the absolute paths of existing files.

    Returns:
        The files, and the text behind them (all of the text when there are none).
    """
    if not text.lstrip().startswith(("/", "~", "file:", "'", '"')) or len(text) > _LONGEST:
        return [], text
    if whole := pasted_files(text, lambda _: True):
        return whole, ""
    found: list[Path] = []
    behind = 0
    for word, end in _scan(text):
        path = expand(word)
        if not (path.is_absolute() and _exists(path)):
            break
        found.append(path)
        behind = end
    return found, text[behind:].lstrip() if found else text
