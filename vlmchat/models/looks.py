"""How a model looks at what is attached: tiles and tokens, before any model is loaded."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vlmchat.chat.messages import Attachment, ImagePart, Message, TextPart, VideoPart, user_message
from vlmchat.errors import ModelError
from vlmchat.media.tiles import ProcessorSpec, TilePlan, plan_tiles
from vlmchat.models import demo_model, local
from vlmchat.models.catalogue import CATALOGUE, CatalogueEntry
from vlmchat.models.processor import processor_spec
from vlmchat.models.resolve import parse
from vlmchat.text import visible_line

_STAMP = 10  # tokens of what stands before a frame: “\nFrame from 00:07:”
# As SmolLM2's tokenizer parts plain English: each digit and sign by itself, words with the space
# before them, a space of its own before a digit.
_PIECES = re.compile(r"\d|[^\W\d_]+|[^\w\s]|_|\n+|[ \t](?=\d)")


@dataclass(frozen=True, slots=True)
class Eyes:
    """What of a model decides how it looks.

    Attributes:
        id: how a person names it.
        title: its name for people.
        spec: how its processor cuts.
        video: whether it has learned videos.
        context: most tokens of prompt and answer together; 0 where unknown.
        resample: the processor's filter, one of ``PIL.Image.Resampling``.
    """

    id: str
    title: str
    spec: ProcessorSpec
    video: bool
    context: int = 0
    resample: int = 1

    @property
    def frames_in_half_the_context(self) -> int | None:
        """How many frames of a video fit into half the context; ``None`` where it is unknown."""
        frame = plan_tiles(1, 1, self.spec, "low").prompt_tokens + _STAMP
        return max(1, self.context // 2 // frame) if self.context else None


@dataclass(frozen=True, slots=True)
class Look:
    """How one medium is looked at.

    Attributes:
        plans: of each picture that is sent, frames among them.
        text_tokens: about how many tokens the text takes that tells of frames and their times.
    """

    plans: tuple[TilePlan, ...]
    text_tokens: int = 0

    @property
    def tiles(self) -> int:
        """Tiles that the vision tower encodes."""
        return sum(plan.tiles for plan in self.plans)

    @property
    def image_tokens(self) -> int:
        """Tokens that stand for tiles, without the marks around them."""
        return sum(plan.image_tokens for plan in self.plans)

    @property
    def tokens(self) -> int:
        """All tokens of the prompt that it takes; exact but for `text_tokens`."""
        return sum(plan.prompt_tokens for plan in self.plans) + self.text_tokens


def eyes_of(name: str) -> Eyes:
    """Return how the model called `name` looks: a catalogue name, a Hub id or a folder; blocking.

    Raises:
        ModelError: there is none such, or a Hub's model that is not on this machine.
    """
    source = parse(name)
    if source.entry is not None:
        return of_entry(source.entry)
    folder = source.folder
    if folder is None:
        found = local.find_snapshot(source.hub_id, source.revision)
        if found is None:
            raise ModelError(
                f"“{visible_line(source.hub_id)}” is not on this machine, so that nothing is known "
                "of how it cuts pictures: `vlmchat models pull` fetches it."
            )
        folder = found[0]
    return _of_folder(folder, source.hub_id or folder.name)


def of_entry(entry: CatalogueEntry) -> Eyes:
    """Return how a model of the catalogue looks."""
    return Eyes(entry.id, entry.title, entry.processor, entry.video, entry.context)


def catalogue_eyes() -> list[Eyes]:
    """Return how each model of the catalogue looks."""
    return [of_entry(entry) for entry in CATALOGUE]


def known_eyes(*names: str | None) -> Eyes | None:
    """Return how the first model of these names looks of which that is known here; blocking."""
    for name in filter(None, names):
        try:
            return eyes_of(name)
        except ModelError:
            continue
    return None


def _of_folder(folder: Path, name: str) -> Eyes:
    if not folder.is_dir():
        raise ModelError(f"“{visible_line(str(folder))}” is no model folder.")
    config = local.read_json(folder / "config.json")
    demo = folder == demo_model.folder()
    video = config.get("model_type") == "smolvlm" and not demo
    text = config.get("text_config")
    context = text.get("max_position_embeddings") if isinstance(text, dict) else None
    known = context if isinstance(context, int) and context > 0 else 0
    resample = local.read_json(folder / "preprocessor_config.json").get("resample")
    method = resample if isinstance(resample, int) and 0 <= resample <= 5 else 1
    return Eyes(name, folder.name, processor_spec(folder), video, known, method)


def sent(item: Attachment, eyes: Eyes) -> Message:
    """Return the message in which `item` goes to a model, pictures plain; reads and may decode.

    Raises:
        MediaError: it cannot be read.
    """
    from vlmchat.media.sending import as_sent

    (message,) = as_sent([user_message("", (item,))], number_images=False, videos=eyes.video)
    return message


def look(item: Attachment, eyes: Eyes) -> Look:
    """Return how a model looks at `item`; reads, and decodes frames that are not at hand.

    Raises:
        MediaError: it cannot be read.
    """
    if isinstance(item, ImagePart):
        return Look((plan_tiles(*item.size, eyes.spec, item.detail),))
    parts = sent(item, eyes).parts
    pictures = [part for part in parts if isinstance(part, ImagePart)]
    plans = tuple(plan_tiles(*part.size, eyes.spec, part.detail) for part in pictures)
    return Look(plans, about_tokens(part.text for part in parts if isinstance(part, TextPart)))


def about_tokens(texts: Iterable[str]) -> int:
    """Return about how many tokens plain English takes, without its tokenizer."""
    return sum(len(_PIECES.findall(text)) for text in texts)


def look_row(item: Attachment, found: Look) -> dict[str, object]:
    """Return a look as it stands in JSON."""
    row: dict[str, object] = {"tiles": found.tiles}
    if isinstance(item, VideoPart):
        row["frames"] = len(found.plans)
        row["text_tokens"] = found.text_tokens
    else:
        row |= {"rows": found.plans[0].rows, "columns": found.plans[0].cols}
    return row | {
        "tile_pixels": found.plans[0].tile,
        "image_tokens": found.image_tokens,
        "tokens": found.tokens,
    }


def sent_rows(items: Sequence[Attachment], eyes: Eyes | None) -> list[dict[str, object]]:
    """Return what is sent with a question, as it stands in JSON; may decode.

    Args:
        items: pictures and videos, in order.
        eyes: of the model; ``None`` where nothing is known of them, which leaves the tiles out.

    Raises:
        MediaError: one cannot be read.
    """
    rows = []
    for item in items:
        media = item.media
        row: dict[str, object] = {
            "kind": "picture" if isinstance(item, ImagePart) else "video",
            "name": media.name,
            "width": item.size[0] if isinstance(item, ImagePart) else media.width,
            "height": item.size[1] if isinstance(item, ImagePart) else media.height,
        }
        if isinstance(item, ImagePart):
            row["detail"] = item.detail
            if item.region is not None:
                row["crop"] = list(item.region.edges)
        else:
            row |= {
                "duration": item.clip.duration,
                "times": [round(time, 3) for time in item.clip.times],
            }
        rows.append(row if eyes is None else row | look_row(item, look(item, eyes)))
    return rows
