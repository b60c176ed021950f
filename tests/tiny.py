"""A tiny SmolVLM with random weights and a small tokenizer, laid out like a model from the Hub."""

import json
from pathlib import Path
from typing import Any, Literal

SPECIALS = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<global-img>",
    *(f"<row_{row}_col_{col}>" for row in range(1, 7) for col in range(1, 7)),
    "<fake_token_around_image>",
    "<image>",
    "<end_of_utterance>",
]
# The template of SmolVLM and SmolVLM2 (the model cards' chat_template.json).
CHAT_TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}"
    "{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n"
    "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
_CORPUS = [
    "User: What is in the picture? Assistant: The picture shows a red circle on the left.",
    "System: You describe pictures in one sentence. How many stars are there? There are three.",
    "You are provided the following series of frames from a video. Frame from 00:01:",
]
TILE, TOKENS_PER_TILE, CONTEXT = 32, 4, 1024

Kind = Literal["smolvlm", "idefics3"]


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=SPECIALS,
        show_progress=False,
    )
    raw.train_from_iterator(_CORPUS, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        bos_token="<|im_start|>",
        eos_token="<end_of_utterance>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
        extra_special_tokens=SPECIALS[3:-1],
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _preprocessor(kind: Kind) -> dict[str, Any]:
    return {
        "do_convert_rgb": True,
        "do_image_splitting": True,
        "do_normalize": True,
        "do_pad": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "image_processor_type": "Idefics3ImageProcessor"
        if kind == "idefics3"
        else "SmolVLMImageProcessor",
        "max_image_size": {"longest_edge": TILE},
        "resample": 1,
        "rescale_factor": 1 / 255,
        "size": {"longest_edge": 4 * TILE},
    }


def _sizes(
    vocabulary: int, layers: int, intermediate: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the configurations of the text model and of the vision tower."""
    text = {
        "model_type": "llama",
        "hidden_size": 64,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "vocab_size": vocabulary,
        "max_position_embeddings": CONTEXT,
        "pad_token_id": 2,
    }
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": TILE,
        "patch_size": 8,
    }
    return text, vision


def build_tiny(
    folder: Path, kind: Kind = "smolvlm", layers: int = 2, intermediate: int = 128
) -> Path:
    """Write the model into `folder` and return it.

    Args:
        folder: made if missing.
        kind: which of the two architectures.
        layers: of the text model.
        intermediate: width inside the text model's MLP; many wide layers make it slow enough to be
            interrupted.
    """
    import torch
    from transformers import (
        Idefics3Config,
        Idefics3ForConditionalGeneration,
        SmolVLMConfig,
        SmolVLMForConditionalGeneration,
    )

    tokenizer = _tokenizer()
    text, vision = _sizes(len(tokenizer), layers, intermediate)
    config_class, model_class = (
        (Idefics3Config, Idefics3ForConditionalGeneration)
        if kind == "idefics3"
        else (SmolVLMConfig, SmolVLMForConditionalGeneration)
    )
    config = config_class(
        text_config=text,
        vision_config=vision,
        scale_factor=2,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        tie_word_embeddings=False,
    )
    torch.manual_seed(1)
    model = model_class(config)
    for parameter in model.parameters():  # louder than the usual 0.02, so that answers vary
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.15)
    with torch.no_grad():  # random answers must not end by chance
        model.lm_head.weight[tokenizer.eos_token_id] = 0
        model.lm_head.weight[: len(SPECIALS)] = 0
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    folder.mkdir(parents=True, exist_ok=True)
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    processor = {"image_seq_len": TOKENS_PER_TILE, "processor_class": "SmolVLMProcessor"}
    (folder / "processor_config.json").write_text(json.dumps(processor))
    (folder / "preprocessor_config.json").write_text(json.dumps(_preprocessor(kind)))
    return folder
