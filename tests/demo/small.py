"""A small SmolVLM laid out like the built demo model: its template, tied embeddings, 240 pixels."""

import json
import shutil
from pathlib import Path

import torch

from tests.tiny import _sizes, _tokenizer
from vlmchat.demo.training.tower import Shape
from vlmchat.models.demo_model import shipped_weights

SMALL = Shape(side=240, patch=24, hidden=32, layers=2, heads=2, inner=64, scale=2, width=64)


def build_small(folder: Path) -> Path:
    """Write the model, with random weights, into `folder` and return it."""
    from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration

    tokenizer = _tokenizer()
    text, vision = _sizes(len(tokenizer), 2, 128)
    vision |= {"image_size": SMALL.side, "patch_size": SMALL.patch}
    config = SmolVLMConfig(
        text_config=text,
        vision_config=vision,
        scale_factor=SMALL.scale,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        tie_word_embeddings=True,
    )
    torch.manual_seed(2)
    model = SmolVLMForConditionalGeneration(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3 if parameter.dim() > 1 else 1.0)
    model.tie_weights()
    tokenizer.chat_template = (shipped_weights() / "chat_template.jinja").read_text("utf-8")
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    for name in ("preprocessor_config.json", "processor_config.json"):
        shutil.copyfile(shipped_weights() / name, folder / name)
    (folder / "processor_config.json").write_text(json.dumps({"image_seq_len": SMALL.tokens}))
    return folder


def settings_file(folder: Path, more: str = "") -> Path:
    """Write settings of a small tower and quick steps, with further lines, and return the file."""
    path = folder / "settings.toml"
    tower = (
        "[tower]\npatch = 24\nhidden = 32\nlayers = 2\nheads = 2\ninner = 64\nscale = 2\n"
        "width = 64\n"
    )
    path.write_text(
        tower
        + '[run]\nworkers = 1\nnumbers = "float32"\ncompile = false\nheld_out = 2\nlog_steps = 1\n'
        + "[slots]\nbatch = 4\n"
        + "[language]\nimages = 8\nlessons = 2\nslots_only = 2\n"
        + more
    )
    return path
