"""TRL's trainers, given batches that are ready.

TRL prepares raw text and pictures in ways that are wrong here (a loss on pictures and questions,
``max_length`` below one picture) or slow (pixels in every epoch). The rows come prepared
(`rows`, `batches`); what is left to TRL is the loss, the reference model, and the loop.
"""

from collections.abc import Mapping
from typing import Any

import trl.trainer.utils
from datasets import Dataset
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, SFTConfig, SFTTrainer

from vlmchat.finetune.job import Job
from vlmchat.finetune.settings import RunSettings
from vlmchat.trainer.checkpoints import WholeCheckpoints

# TRL scores the positions with a loss only, but on a CPU it scores all of them, so that compilers
# with fixed shapes need not compile anew. Nothing is compiled here, and an answer is a few of many
# positions: scoring all takes a quarter of a step's time and half a gigabyte. Where TRL no longer
# asks this question, nothing is lost but that.
if hasattr(trl.trainer.utils, "_use_triton"):
    trl.trainer.utils._use_triton = lambda device: True


class _Prepared(WholeCheckpoints):
    """Leaves a dataset as it is."""

    def __init__(self, *, job: Job, **arguments: Any) -> None:  # noqa: ANN401 - TRL's
        self.job = job
        super().__init__(**arguments)

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:  # noqa: ANN401 - TRL's
        return dataset


class Sft(_Prepared, SFTTrainer):
    """Supervised fine-tuning."""


class Dpo(_Prepared, DPOTrainer):
    """Direct preference optimization (arXiv:2305.18290), and its mix with the SFT loss."""


class Kto(_Prepared, KTOTrainer):
    """Kahneman-Tversky optimization (arXiv:2402.01306)."""


def dataset_of(rows: int, *, train: bool) -> Dataset:
    """Return a dataset that names rows by side and number; the collator knows them."""
    return Dataset.from_dict({"row": list(range(rows)), "train": [train] * rows})


def method_of(settings: RunSettings, common: Mapping[str, Any]) -> tuple[type[_Prepared], Any]:
    """Return the trainer's class and its arguments.

    Args:
        settings: of the run.
        common: arguments that all trainers share.
    """
    # Rows too long were left out before; nothing is ever cut.
    common = {**common, "max_length": None}
    if settings.method == "sft":
        return Sft, SFTConfig(**common, dataset_kwargs={"skip_prepare_dataset": True})
    if settings.method == "kto":
        batch = max(2, settings.batch)  # TRL takes no single rows; see `batches.Collator`
        each = -(-settings.effective_batch // batch)
        common |= {"per_device_train_batch_size": batch, "gradient_accumulation_steps": each}
        # TRL's own pairing for the KL term wants the order of the rows; ours are shuffled before.
        return Kto, KTOConfig(**common, beta=settings.beta, train_sampling_strategy="sequential")
    losses, weights = ["sigmoid"], [1.0]
    if settings.method == "mpo":
        # Mixed preference optimization (arXiv:2411.10442): the preference loss with the SFT loss.
        losses, weights = ["sigmoid", "sft"], [1.0, settings.sft_weight]
    return Dpo, DPOConfig(**common, beta=settings.beta, loss_type=losses, loss_weights=weights)
