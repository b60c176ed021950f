"""Text models of given sizes with random weights, for tests and benchmarks."""

from collections.abc import Sequence

import torch
from transformers.models.smolvlm.configuration_smolvlm import SmolVLMConfig
from transformers.models.smolvlm.modeling_smolvlm import SmolVLMForConditionalGeneration

from vlmchat.engine.text.model import TextShape
from vlmchat.engine.text.weights import LayerWeights

# hidden, layers, heads, kv_heads, ffn, vocab of the text models (config.json on the Hub).
TEXTS = {
    "256M": (576, 30, 9, 3, 1536, 49280),
    "500M": (960, 32, 15, 5, 2560, 49280),
    "2.2B": (2048, 24, 32, 32, 8192, 49155),
}
POSITIONS = 8192


def text_shape(name: str = "256M", layers: int = 0) -> TextShape:
    """Return the sizes of a catalogue model's text model, with fewer layers if asked for."""
    hidden, all_layers, heads, kv_heads, ffn, vocab = TEXTS[name]
    return TextShape(layers or all_layers, hidden, heads, kv_heads, 64, ffn, vocab, 1e-5, POSITIONS)


def library_model(
    shape: TextShape, dtype: torch.dtype = torch.bfloat16, std: float = 0.05
) -> SmolVLMForConditionalGeneration:
    """Return a SmolVLM with a text model of this shape, random weights and a tiny vision tower."""
    text = {
        **{"model_type": "llama", "hidden_size": shape.hidden, "head_dim": shape.head_dim},
        **{"intermediate_size": shape.ffn, "num_hidden_layers": shape.layers},
        **{"num_attention_heads": shape.heads, "num_key_value_heads": shape.kv_heads},
        **{"vocab_size": shape.vocab, "max_position_embeddings": shape.positions},
        **{"rms_norm_eps": shape.eps, "pad_token_id": 2},
    }
    vision = {
        **{"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1},
        **{"num_attention_heads": 2, "image_size": 32, "patch_size": 8},
    }
    config = SmolVLMConfig(
        text_config=text, vision_config=vision, scale_factor=2, tie_word_embeddings=False
    )
    torch.manual_seed(3)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        model = SmolVLMForConditionalGeneration(config).eval()
    finally:
        torch.set_default_dtype(before)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=std)
        else:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    return model


class RandomWeights:
    """Random `TextWeights` of a shape, made a layer at a time; the same for the same seed.

    Args:
        shape: the sizes.
        dtype: of the weights.
        seed: another gives other weights.
    """

    def __init__(
        self, shape: TextShape, dtype: torch.dtype = torch.bfloat16, seed: int = 0
    ) -> None:
        self.shape, self._dtype, self._seed = shape, dtype, seed
        self.final_norm = torch.ones(shape.hidden, dtype=dtype)
        self.head = self._random(-1, shape.vocab, shape.hidden)
        self._table = self._random(-2, shape.vocab, shape.hidden)
        half = shape.head_dim // 2
        angles = torch.arange(shape.positions)[:, None] * 1e5 ** -(torch.arange(half) / half)
        self.cos, self.sin = angles.cos(), angles.sin()

    def _random(self, index: int, rows: int, columns: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(self._seed * 1000 + index + 2)
        made = torch.randn(rows, columns, generator=generator).div_(columns**0.5)
        return made.to(self._dtype)

    def embed(self, ids: Sequence[int]) -> torch.Tensor:
        """Return the embeddings of tokens: (tokens, hidden)."""
        return self._table[torch.tensor(ids, dtype=torch.long)]

    def layer(self, index: int) -> LayerWeights:
        """Return one decoder layer."""
        shape = self.shape
        queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        return LayerWeights(
            torch.ones(shape.hidden, dtype=self._dtype),
            self._random(4 * index, queries + 2 * keys, shape.hidden),
            self._random(4 * index + 1, shape.hidden, queries),
            torch.ones(shape.hidden, dtype=self._dtype),
            self._random(4 * index + 2, 2 * shape.ffn, shape.hidden),
            self._random(4 * index + 3, shape.hidden, shape.ffn),
        )
