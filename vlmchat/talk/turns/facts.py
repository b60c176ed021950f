"""What is known about how a reply came about."""

from collections.abc import Iterator
from datetime import datetime

from vlmchat.talk.turns.tree import Turn
from vlmchat.text import visible_line


def facts(turn: Turn) -> Iterator[tuple[str, str]]:
    """Yield name and value of everything that is known about how a reply came about."""
    when = datetime.fromtimestamp(turn.created).astimezone()
    yield "id", turn.uid
    yield (
        "written",
        f"{when:%Y-%m-%d %H:%M:%S} by {'you' if turn.author == 'person' else 'a model'}",
    )
    yield "state", turn.state
    if turn.labels:
        yield "labels", ", ".join(label.kind for label in turn.labels)
    made = turn.reply.made if turn.reply else None
    if made is None:
        return
    for name, value in made.engine.items():
        if value not in (None, ""):
            yield name, visible_line(str(value))
    for name, value in made.sampling.items():
        yield name, visible_line(str(value))
    yield "system prompt", visible_line(made.system) or "none"
    yield "end", visible_line(made.finish_reason or "unknown")
    counts = (
        ("prompt tokens", made.prompt_tokens),
        ("answer tokens", made.completion_tokens),
        ("of the prompt from the cache", made.cached_tokens),
    )
    for name, count in counts:
        if count is not None:
            yield name, str(count)
    for name, value in made.timings.items():
        if isinstance(value, int | float):
            yield name.replace("_", " "), f"{value:.4g}"
