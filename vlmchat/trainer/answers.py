"""What the model as it is now answers to validation prompts."""

from typing import Any

import torch

from vlmchat.finetune.events import Sample
from vlmchat.trainer.base import Base
from vlmchat.trainer.batches import Collator

_NEW_TOKENS = 48


def answer(model: Any, base: Base, collator: Collator, index: int, step: int) -> Sample:  # noqa: ANN401
    """Return the greedy answer to the prompt of a validation row, as an event.

    Args:
        model: PEFT's wrapper around the base.
        base: the base.
        collator: of the validation rows.
        index: of the row.
        step: that was trained last.
    """
    row = collator.rows[index]
    question = row.branches[0].question()
    device = base.hardware.device
    ids = torch.tensor([question.ids], device=device)
    sight: Any = collator.sight([question], [row])
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), torch.autocast(device, base.hardware.dtype, _mixed(base)):
            told = model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=_NEW_TOKENS,
                do_sample=False,
                pad_token_id=base.pad_id,
                **_on(device, sight),
            )
    finally:
        model.train(training)
    # Prompt tuning is given embeddings, and then only what is new is given back.
    new = told[0, len(question.ids) :] if told.shape[1] > len(question.ids) else told[0]
    text = base.tokenizer.decode(new, skip_special_tokens=True)
    return Sample(step=step, index=index, text=str(text).strip())


def _mixed(base: Base) -> bool:
    return base.hardware.dtype != torch.float32


def _on(device: str, value: Any) -> Any:  # noqa: ANN401 - nested dictionaries of tensors
    if isinstance(value, torch.Tensor):
        return value.to(device)
    return type(value)({name: _on(device, one) for name, one in value.items()})
