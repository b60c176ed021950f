"""Tiny CLIP and SigLIP models with random weights, laid out as the Hub's cache lays them out."""

from pathlib import Path
from typing import Any, Literal

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def cached_embedder(cache: Path, kind: Literal["clip", "siglip"]) -> str:
    """Put a model into the Hub's cache and return its id."""
    name = f"tiny/{kind}"
    repository = cache / ("models--" + name.replace("/", "--"))
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    _save(repository / "snapshots" / COMMIT, kind)
    return name


def _save(folder: Path, kind: Literal["clip", "siglip"]) -> None:
    import torch
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.clip.modeling_clip import CLIPModel
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
    from transformers.models.siglip.modeling_siglip import SiglipModel

    tokenizer = _tokenizer()
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    sizes |= {"num_attention_heads": 2}
    ids = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    text = {**sizes, **ids, "vocab_size": len(tokenizer), "max_position_embeddings": 16}
    vision = {**sizes, "image_size": 32, "patch_size": 8}
    torch.manual_seed(4)
    model: Any
    processor: Any
    if kind == "clip":
        config: Any = CLIPModel.config_class(
            text_config=text, vision_config=vision, projection_dim=24
        )
        model = CLIPModel(config)
        edge = {"shortest_edge": 32}
        processor = CLIPImageProcessorPil(size=edge, crop_size={"height": 32, "width": 32})
    else:
        model = SiglipModel(
            SiglipModel.config_class(
                text_config={**text, "projection_size": 32}, vision_config=vision
            )
        )
        processor = SiglipImageProcessorPil(size={"height": 32, "width": 32})
    for parameter in model.parameters():  # louder, so that places differ
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    processor.save_pretrained(folder)


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<s>", "</s>"],
        show_progress=False,
    )
    raw.train_from_iterator(["a red circle on the left of a blue square"], trainer)
    raw.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
