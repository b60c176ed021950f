"""The models that vlmchat knows by name, with what each costs.

Sizes are those of the model cards and configuration files of `HuggingFaceTB` on the Hugging Face
Hub; memory is computed from them, see `CatalogueEntry.memory_bytes`.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from vlmchat.media.tiles import ProcessorSpec
from vlmchat.models.footprint import Footprint

Quantization: TypeAlias = Literal["none", "8bit", "4bit"]
QUANTIZATIONS: tuple[Quantization, ...] = ("none", "8bit", "4bit")

_DEMO_ID = "demo"


@dataclass(frozen=True, slots=True)
class TextShape:
    """The sizes of a text model's blocks (a Llama: SmolLM2).

    Attributes:
        hidden: width of the residual stream.
        layers: number of blocks.
        heads: query heads.
        kv_heads: key and value heads.
        ffn: width inside the MLP.
        head_dim: width of one head.
    """

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    ffn: int
    head_dim: int = 64

    @property
    def linear_weights(self) -> int:
        """Weights of all linear layers in the blocks: the part that a quantization shrinks."""
        attention = 2 * self.hidden * (self.heads + self.kv_heads) * self.head_dim
        return self.layers * (attention + 3 * self.hidden * self.ffn)

    @property
    def cache_per_token(self) -> int:
        """Values of KV cache that one token takes."""
        return 2 * self.layers * self.kv_heads * self.head_dim


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One model.

    Attributes:
        id: the short name a person types.
        hub_id: its repository on the Hub; empty for the demo, which is made on this machine.
        title: its name for people.
        architecture: ``model_type`` of its ``config.json``.
        parameters: all of them.
        text: the sizes of its text model.
        context: the longest prompt with its answer, in tokens.
        video: whether it was trained on videos.
        licence: SPDX identifier of the weights' licence.
        download_bytes: what is fetched (safetensors; some are stored as float32).
        processor: how its image processor cuts pictures (``preprocessor_config.json``), known
            here so that a picture can be planned before the model is loaded.
        note: a sentence on what it is for; may be empty.
    """

    id: str
    hub_id: str
    title: str
    architecture: Literal["idefics3", "smolvlm"]
    parameters: int
    text: TextShape
    context: int
    video: bool
    licence: str
    download_bytes: int
    processor: ProcessorSpec
    note: str = ""

    @property
    def is_demo(self) -> bool:
        """Whether this is the demo model."""
        return self.id == _DEMO_ID

    def memory_bytes(self, quantization: Quantization = "none") -> int:
        """Return the bytes of memory the model takes while it answers, at 16-bit plain values.

        See `Footprint.required` for what is counted.
        """
        quantizable = self.text.linear_weights
        rest = self.parameters - quantizable
        return Footprint(quantizable, rest, self.text.cache_per_token).required(quantization, 2)


_TEXT_256M = TextShape(hidden=576, layers=30, heads=9, kv_heads=3, ffn=1536)
_TEXT_500M = TextShape(hidden=960, layers=32, heads=15, kv_heads=5, ffn=2560)
_TEXT_2B = TextShape(hidden=2048, layers=24, heads=32, kv_heads=32, ffn=8192)
_TILES_512 = ProcessorSpec(512, 2048, splitting=True, tokens_per_tile=64)
_TILES_384 = ProcessorSpec(384, 1536, splitting=True, tokens_per_tile=81)
_APACHE = "Apache-2.0"

DEMO = CatalogueEntry(
    id=_DEMO_ID,
    hub_id="",
    title="Demo model (drawn pictures only)",
    architecture="smolvlm",
    parameters=140_909_376,
    text=_TEXT_256M,
    context=8192,
    video=True,
    licence=_APACHE,
    download_bytes=92_871_040,
    processor=ProcessorSpec(240, 240, splitting=False, tokens_per_tile=25),
    note="The demo model is for first tries and tests: it knows simple drawings, not photographs.",
)

CATALOGUE: tuple[CatalogueEntry, ...] = (
    CatalogueEntry(
        "smolvlm2-256m", "HuggingFaceTB/SmolVLM2-256M-Video-Instruct", "SmolVLM2 256M", "smolvlm",
        256_500_000, _TEXT_256M, 8192, True, _APACHE, 1_026_000_000, _TILES_512,
    ),
    CatalogueEntry(
        "smolvlm2-500m", "HuggingFaceTB/SmolVLM2-500M-Video-Instruct", "SmolVLM2 500M", "smolvlm",
        507_500_000, _TEXT_500M, 8192, True, _APACHE, 2_030_000_000, _TILES_512,
    ),
    CatalogueEntry(
        "smolvlm2-2.2b", "HuggingFaceTB/SmolVLM2-2.2B-Instruct", "SmolVLM2 2.2B", "smolvlm",
        2_247_000_000, _TEXT_2B, 8192, True, _APACHE, 8_990_000_000, _TILES_384,
    ),
    CatalogueEntry(
        "smolvlm-256m", "HuggingFaceTB/SmolVLM-256M-Instruct", "SmolVLM 256M", "idefics3",
        256_500_000, _TEXT_256M, 8192, False, _APACHE, 513_000_000, _TILES_512,
    ),
    CatalogueEntry(
        "smolvlm-500m", "HuggingFaceTB/SmolVLM-500M-Instruct", "SmolVLM 500M", "idefics3",
        507_500_000, _TEXT_500M, 8192, False, _APACHE, 1_020_000_000, _TILES_512,
    ),
    CatalogueEntry(
        "smolvlm-2.2b", "HuggingFaceTB/SmolVLM-Instruct", "SmolVLM 2.2B", "idefics3",
        2_246_000_000, _TEXT_2B, 16384, False, _APACHE, 4_490_000_000, _TILES_384,
    ),
    DEMO,
)  # fmt: skip


def lookup(name: str) -> CatalogueEntry | None:
    """Return the entry with this short name, Hub id or name within `HuggingFaceTB`, or None.

    Upper and lower case are the same.
    """
    wanted = name.strip().casefold()
    for entry in CATALOGUE:
        if wanted in _names(entry):
            return entry
    return None


def by_id(short_id: str) -> CatalogueEntry:
    """Return the entry with this short name.

    Raises:
        KeyError: there is none.
    """
    for entry in CATALOGUE:
        if entry.id == short_id:
            return entry
    raise KeyError(short_id)


def nearest(name: str, limit: int = 3) -> Sequence[str]:
    """Return up to `limit` short names that resemble `name`, the most alike first."""
    wanted = name.strip().casefold().rpartition("/")[2]
    aliases = {alias.rpartition("/")[2]: entry.id for entry in CATALOGUE for alias in _names(entry)}
    close = difflib.get_close_matches(wanted, list(aliases), n=2 * limit, cutoff=0.5)
    return tuple(dict.fromkeys(aliases[alias] for alias in close))[:limit]


def _names(entry: CatalogueEntry) -> tuple[str, ...]:
    names = [entry.id]
    if entry.hub_id:
        full = entry.hub_id.casefold()
        names += [full, full.rpartition("/")[2]]
    return tuple(names)
