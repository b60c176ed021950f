"""A quick look before the close one: an embedding model chooses the pictures."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

from vlmchat.batch.flight import in_order
from vlmchat.chat.messages import ImagePart, TextPart
from vlmchat.client.embeddings import embeddings
from vlmchat.errors import UsageError
from vlmchat.retrieve.ranking import Asker, Tell

_IN_FLIGHT = 2


async def nearest(
    asker: Asker, sentence: str, paths: Sequence[Path], keep: int, tell: Tell = lambda *_: None
) -> tuple[list[Path], list[tuple[Path, str]]]:
    """Return the pictures whose embeddings are nearest to a sentence's, the nearest first.

    A video is as near as the nearest of its frames.

    Args:
        asker: of an engine with an embedding model.
        sentence: what is looked for.
        paths: of the pictures and videos.
        keep: how many are returned.
        tell: is told how far it is.

    Returns:
        The nearest, and what could not be looked at with the reason.

    Raises:
        VlmchatError: the engine has no such model.
    """
    [wanted] = await embeddings(asker.client, [TextPart(sentence)])
    near: list[tuple[float, Path]] = []
    skipped: list[tuple[Path, str]] = []

    async def work(path: Path) -> tuple[Path, float | UsageError]:
        try:
            message = await asyncio.to_thread(asker.about, path)
            frames = [part for part in message.parts if isinstance(part, ImagePart)]
            made = await embeddings(asker.client, frames)
        except UsageError as error:
            return path, error
        products = (sum(a * b for a, b in zip(wanted, one, strict=True)) for one in made)
        return path, max(products)

    tell(0, len(paths))
    async with aclosing(in_order(work, paths, _IN_FLIGHT)) as results:
        async for path, result in results:
            if isinstance(result, UsageError):
                skipped.append((path, str(result)))
            else:
                near.append((result, path))
            tell(len(near) + len(skipped), len(paths))
    near.sort(key=lambda one: -one[0])
    return [path for _, path in near[:keep]], skipped
