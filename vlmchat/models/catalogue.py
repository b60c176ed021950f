"""The models vlmchat knows by name.

Figures: the model cards and ``config.json`` files of the SmolVLM family; memory is computed, see
`vlmchat.models.footprint`.
"""

import difflib
from dataclasses import dataclass

from vlmchat.models.footprint import Footprint

DEMO_ID = "demo"
DEMO_TITLE = "demo (a small example model, not SmolVLM)"


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One model.

    Attributes:
        id: short name.
        hub_id: ``owner/name`` on the Hugging Face Hub; empty for the demo.
        footprint: parameters, split by what a quantization makes smaller.
        context: most tokens of prompt and answer together.
        video: whether it was trained on videos.
        licence: SPDX identifier.
        download: bytes to fetch.
    """

    id: str
    hub_id: str
    footprint: Footprint
    context: int
    video: bool
    licence: str
    download: int

    @property
    def title(self) -> str:
        """Name for a person."""
        return self.hub_id.partition("/")[2] or DEMO_TITLE

    def memory(self, quantization: str) -> int:
        """Return the bytes needed at ``none``, ``8bit`` or ``4bit`` with 16-bit plain values."""
        return self.footprint.required(quantization, 2)


# Bytes of KV cache for 4096 tokens at 2 bytes: 2 · layers · KV heads · 64 · 4096 · 2.
_KV_256M, _KV_500M, _KV_2B = (2 * n * heads * 64 * 4096 * 2 for n, heads in ((30, 3), (32, 5), (24, 32)))
_P256 = Footprint(106_168_320, 150_316_288, _KV_256M)
_P500 = Footprint(314_572_800, 192_909_504, _KV_500M)
_P2B = Footprint(1_610_612_736, 635_659_632, _KV_2B)
_OWNER = "HuggingFaceTB"
_APACHE = "Apache-2.0"

CATALOGUE: tuple[CatalogueEntry, ...] = (
    CatalogueEntry(
        "smolvlm2-2.2b", f"{_OWNER}/SmolVLM2-2.2B-Instruct", _P2B, 8192, True, _APACHE, 8_990_000_000
    ),
    CatalogueEntry(
        "smolvlm2-500m",
        f"{_OWNER}/SmolVLM2-500M-Video-Instruct",
        _P500,
        8192,
        True,
        _APACHE,
        2_030_000_000,
    ),
    CatalogueEntry(
        "smolvlm2-256m",
        f"{_OWNER}/SmolVLM2-256M-Video-Instruct",
        _P256,
        8192,
        True,
        _APACHE,
        1_030_000_000,
    ),
    CatalogueEntry(
        "smolvlm-2.2b", f"{_OWNER}/SmolVLM-Instruct", _P2B, 16384, False, _APACHE, 4_490_000_000
    ),
    CatalogueEntry(
        "smolvlm-500m", f"{_OWNER}/SmolVLM-500M-Instruct", _P500, 8192, False, _APACHE, 1_020_000_000
    ),
    CatalogueEntry(
        "smolvlm-256m", f"{_OWNER}/SmolVLM-256M-Instruct", _P256, 8192, False, _APACHE, 513_000_000
    ),
    CatalogueEntry(
        DEMO_ID, "", Footprint(106_168_320, 34_200_000, _KV_256M), 8192, False, _APACHE, 92_871_040
    ),
)


def find(name: str) -> CatalogueEntry | None:
    """Return the entry called `name`: its short name, its Hub id or the Hub id's last part."""
    wanted = name.casefold()
    for entry in CATALOGUE:
        names = {entry.id, entry.hub_id.casefold(), entry.hub_id.partition("/")[2].casefold()}
        if wanted in names - {""}:
            return entry
    return None


def nearest(name: str) -> list[str]:
    """Return the short names most like `name`, likeliest first."""
    return difflib.get_close_matches(name.casefold(), [e.id for e in CATALOGUE], 2, 0.4)
