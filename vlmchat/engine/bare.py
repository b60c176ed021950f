"""The parts of a model that our own ways compute with, without the library's code for them.

The library's modules for a model take three seconds to import, as they bring compilers and
distributed training along, and one more to be filled. Where our own ways compute all of it, only
weights are needed. Here they are, in modules that are named as the library's
(``modeling_smolvlm.py``, ``modeling_idefics3.py``) and compute nothing: `Tower` and `FileWeights`
read from them as from the library's. Who has to put something between them (adapters) makes the
library's modules of them, over the same weights; see `library_model`.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import GenerationConfig

from vlmchat.engine.config import ModelConfig, TextConfig, VisionConfig
from vlmchat.models.local import tensors, weight_files

_HEAD = "lm_head.weight"


class Bare(nn.Module):
    """A model without decoder layers and head, and without computing.

    Args:
        config: of the model.
        generation_config: the library's.
        vocab: rows of the head.
        folder: of the model.

    Attributes:
        config: as given.
        generation_config: as given.
        folder: as given.
        model: ``vision_model``, ``connector`` and ``text_model``, as far as they have weights.
        lm_head: of a head that lies elsewhere, its sizes.
    """

    def __init__(
        self, config: ModelConfig, generation_config: GenerationConfig, vocab: int, folder: Path
    ) -> None:
        super().__init__()
        self.config, self.generation_config, self.folder = config, generation_config, folder
        text = config.get_text_config()
        with torch.device("meta"):
            self.model = _Inner(config)
        self.lm_head = Taken(text.hidden_size, vocab, bias=False, device="meta")

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.model.text_model.norm.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.text_model.norm.weight.device

    def get_input_embeddings(self) -> nn.Module:
        """Return the vectors of words."""
        return self.model.text_model.embed_tokens

    def set_input_embeddings(self, words: nn.Module) -> None:
        """Put other vectors of words in their place."""
        self.model.text_model.embed_tokens = words


class Taken(nn.Linear):
    """What is left of a head that was taken out: its sizes."""

    def forward(self, _input: torch.Tensor) -> torch.Tensor:
        """Refuse; what a head without weights would return is anything."""
        raise RuntimeError("the text model was taken out: load it with library=True")


class _Inner(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.vision_model = _Vision(config.vision_config)
        self.connector = _Connector(config)
        self.text_model = _Text(config.get_text_config())


class _Vision(nn.Module):
    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = _Patches(config)
        self.encoder = nn.Module()
        self.encoder.layers = nn.ModuleList(
            _VisionLayer(config) for _ in range(config.num_hidden_layers)
        )
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)


class _Patches(nn.Module):
    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        width, self.patch_size = config.hidden_size, config.patch_size
        self.num_patches_per_side = config.image_size // self.patch_size
        self.patch_embedding = nn.Conv2d(
            config.num_channels, width, kernel_size=self.patch_size, stride=self.patch_size
        )
        self.position_embedding = _embedding(self.num_patches_per_side**2, width)


class _VisionLayer(nn.Module):
    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.intermediate_size
        self.self_attn = nn.Module()
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            self.self_attn.add_module(name, nn.Linear(width, width))
        self.layer_norm1 = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.mlp = nn.Module()
        self.mlp.fc1, self.mlp.fc2 = nn.Linear(width, inner), nn.Linear(inner, width)
        self.layer_norm2 = nn.LayerNorm(width, eps=config.layer_norm_eps)


class _Connector(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.scale_factor = config.scale_factor
        wide = config.vision_config.hidden_size * config.scale_factor**2
        self.modality_projection = nn.Module()
        self.modality_projection.proj = nn.Linear(
            wide, config.get_text_config().hidden_size, bias=False
        )


class _Text(nn.Module):
    """The text model's vectors of words, last norm and rotary embedding; no layers."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens: nn.Module = _embedding(config.vocab_size, config.hidden_size)
        self.norm = _Norm(config.hidden_size)
        self.layers = nn.ModuleList()

    def rotary_emb(
        self, like: torch.Tensor, positions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return cosines and sines of the rotary embedding (arXiv:2104.09864).

        Args:
            like: of the dtype and on the device that they are wanted in.
            positions: of shape (batch, tokens).

        Returns:
            Two tensors of shape (batch, tokens, head_dim), the halves of which are the same.
        """
        size, base = self.config.head_dim, self.config.rope_theta
        steps = torch.arange(0, size, 2, dtype=torch.float32, device=like.device) / size
        angles = positions[..., None].float() * (1.0 / base**steps)
        angles = torch.cat((angles, angles), dim=-1)
        return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


def _embedding(rows: int, width: int) -> nn.Embedding:
    """Return vectors that are not begun with: to draw them, torch imports its compiler."""
    return nn.Embedding(rows, width, _weight=torch.empty(rows, width))


class _Norm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))


def load_bare(folder: Path, config: ModelConfig, dtype: torch.dtype) -> Bare | None:
    """Return a model without decoder layers and head from its files; nothing if they need more.

    Args:
        folder: of the model.
        config: what is known of it.
        dtype: of the weights. Those that are stored so stay views of their file.
    """
    if dtype not in (torch.float32, torch.bfloat16):  # what `Tower` knows
        return None
    found = tensors(folder)
    head = found.get(_HEAD, found.get("model.text_model.embed_tokens.weight"))
    try:
        generation = GenerationConfig.from_pretrained(folder, local_files_only=True)
    except OSError:  # there is none, and the library makes it of more than we know
        return None
    if head is None:
        return None
    bare = Bare(config, generation, head.shape[0], folder)
    wanted = bare.model.state_dict(prefix="model.")
    if any(name not in found or found[name].shape != it.shape for name, it in wanted.items()):
        return None
    try:
        for file_name in weight_files(folder):
            with safe_open(folder / file_name, framework="pt") as file:
                for name in wanted.keys() & file.keys():
                    _put(bare, name, file.get_tensor(name).to(dtype))
    except (SafetensorError, OSError):  # the library's loader says what is wrong
        return None
    return bare.requires_grad_(requires_grad=False).eval()


def _put(module: nn.Module, name: str, value: torch.Tensor) -> None:
    parent, _, last = name.rpartition(".")
    setattr(module.get_submodule(parent), last, nn.Parameter(value, requires_grad=False))


def library_model(bare: Bare, kind: Any) -> Any:  # noqa: ANN401 - two classes without a typed base
    """Return the library's model over the weights of `bare`: the same parameters, not copies.

    It is made without the library's loader, which changes torch's default dtype for all threads
    while it loads: another thread may be answering.

    Args:
        bare: without decoder layers and head, and so is what is returned.
        kind: the library's class.
    """
    config = kind.config_class.from_pretrained(bare.folder)
    text = config.get_text_config()
    layers, text.num_hidden_layers = text.num_hidden_layers, 0
    every = (config, config.vision_config, text)
    for part in every:
        part.dtype = None  # or it would be torch's default while the model is made
    with torch.device("meta"):
        model = kind(config)
    model.set_attn_implementation("sdpa")
    inner = model.model.text_model
    inner.rotary_emb = type(inner.rotary_emb)(config=text)
    for part in every:
        part.dtype = bare.dtype
    for known in (text, inner.config):
        known.num_hidden_layers = layers
    model.load_state_dict(bare.state_dict(keep_vars=True), assign=True, strict=False)
    model.lm_head = bare.lm_head
    model.generation_config = bare.generation_config
    return model.requires_grad_(requires_grad=False).eval()
