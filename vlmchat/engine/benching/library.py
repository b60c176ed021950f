"""The other side: the same model run as its card says, by transformers' ``generate``."""

import io
import time
from collections.abc import Collection
from statistics import median
from typing import Any

import torch
from PIL import Image

from vlmchat.chat.messages import Detail, ImagePart, Message
from vlmchat.engine.benching.material import asked, long_text, picture, second_turn
from vlmchat.engine.hardware import find_hardware
from vlmchat.engine.loading import LoadOptions, load_tokenizer
from vlmchat.engine.prompt import PromptBuilder
from vlmchat.engine.threads import usable_cores
from vlmchat.engine.weights import load_weights
from vlmchat.media.rules import rules
from vlmchat.media.tiles import ProcessorSpec, TilePlan, default_grid
from vlmchat.models.local import read_json
from vlmchat.models.progress import ProgressSink
from vlmchat.models.resolve import ModelFolder, resolve


class Library:
    """The model in bfloat16 (float16 or float32 where the device wants it), never quantized.

    Its prompts are this program's, which equal those of the library's processor token by token;
    the pixels are cut by the library's own image processor, and that counts.

    Args:
        options: what to load; the quantization is not looked at.
        progress: is told what loading does.

    Attributes:
        load_seconds: from the folder to a model in memory; the libraries are imported already.
    """

    def __init__(self, options: LoadOptions, progress: ProgressSink) -> None:
        torch.set_num_threads(options.threads or usable_cores())
        hardware = find_hardware(options.device)
        dtype = hardware.dtype if hardware.device == "cuda" else torch.bfloat16
        folder = resolve(
            options.model, progress, memory_bytes=hardware.available, device=hardware.device
        )
        began = time.perf_counter()
        config = read_json(folder.path / "config.json")
        self._hardware = type(hardware)(hardware.device, dtype, hardware.available)
        self.model = load_weights(folder, config, "none", self._hardware)
        self.tokenizer = load_tokenizer(folder)
        self.load_seconds = time.perf_counter() - began
        self.context = int(self.model.config.get_text_config().max_position_embeddings)
        self._processor = load_image_processor(folder, config)
        preprocessor = read_json(folder.path / "preprocessor_config.json")
        blank = len(self.tokenizer.encode("\n\n", add_special_tokens=False))
        self.spec = ProcessorSpec.from_configs(config, preprocessor, blank)
        self._builder = PromptBuilder(self.tokenizer, self.spec, rules().limits)
        self._seed = 10_000

    def fresh(self, size: tuple[int, int], detail: Detail) -> Message:
        """Return a question about a picture that nobody has seen yet."""
        self._seed += 1
        return asked(picture(*size, seed=self._seed), detail)

    @torch.inference_mode()
    def ask(
        self, messages: list[Message], most: int = 1, ends: Collection[int] = ()
    ) -> tuple[float, list[int]]:
        """Return the seconds of an answer, and its tokens.

        Args:
            messages: the conversation.
            most: tokens of the answer.
            ends: tokens that end it sooner; by default nothing does.
        """
        began = time.perf_counter()
        prompt = self._builder.build(messages)
        ids = torch.tensor([prompt.ids], device=self.model.device)
        given = {}
        if prompt.images:
            given["pixel_values"] = self.pixels(messages).to(self.model.device)
        out = self._generate(ids, most, ends, **given)
        return time.perf_counter() - began, out

    def pixels(self, messages: list[Message]) -> torch.Tensor:
        """Return the pictures' tiles as the library cuts them: (1, tiles, 3, side, side)."""
        found = []
        for message in messages:
            for part in message.parts:
                if isinstance(part, ImagePart):
                    opened = Image.open(io.BytesIO(part.media.data)).convert("RGB")
                    (plan,) = (it.plan for it in self._builder.build([message]).images)
                    options = library_options(plan, *opened.size, self.spec)
                    cut = self._processor(images=[opened], return_tensors="pt", **options)
                    found.append(cut["pixel_values"][0])
        return torch.cat(found)[None]

    def _generate(
        self, ids: torch.Tensor, most: int, ends: Collection[int] = (), **given: torch.Tensor
    ) -> list[int]:
        """Return the tokens behind `ids`, of shape (1, tokens); see `ask`."""
        length = {"eos_token_id": sorted(ends)} if ends else {"min_new_tokens": most}
        out = self.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=most,
            do_sample=False,
            use_cache=True,
            **length,
            **given,
        )
        said: list[int] = out[0, ids.shape[1] :].tolist()
        return said

    def first_token(self, size: tuple[int, int], detail: Detail, runs: int) -> float:
        """Return the seconds from a picture's bytes to the first token of the answer."""
        return median(self.ask([self.fresh(size, detail)])[0] for _ in range(runs))

    def follow_up(self, size: tuple[int, int], detail: Detail, runs: int) -> float:
        """Return the seconds to the first token of a second answer about the same picture."""
        turns = [second_turn(self.fresh(size, detail), "A picture.") for _ in range(runs)]
        return median(self.ask(messages)[0] for messages in turns)

    @torch.inference_mode()
    def encode(self, size: tuple[int, int], detail: Detail, runs: int) -> tuple[float, int]:
        """Return the seconds a tile of vision tower and connector, and how many tiles there are."""
        times = []
        for _ in range(runs):
            pixels = self.pixels([self.fresh(size, detail)]).to(self.model.device)
            began = time.perf_counter()
            self.model.get_image_features(pixel_values=pixels)
            times.append((self._finished() - began) / pixels.shape[1])
        return median(times), int(pixels.shape[1])

    @torch.inference_mode()
    def prefill(self, tokens: int, runs: int) -> float:
        """Return the tokens a second at which a text is read."""
        ids = self.ids(tokens)

        def one() -> float:
            began = time.perf_counter()
            self._generate(ids, 1)
            return time.perf_counter() - began

        return tokens / median(one() for _ in range(runs))

    @torch.inference_mode()
    def decode(self, context: int, tokens: int) -> float:
        """Return the tokens a second that are said behind so many."""
        ids = self.ids(context)

        def seconds(most: int) -> float:
            began = time.perf_counter()
            self._generate(ids, most)
            return time.perf_counter() - began

        return tokens / max(seconds(tokens + 1) - seconds(1), 1e-9)

    def ids(self, count: int) -> torch.Tensor:
        """Return the first tokens of a long text, of shape (1, count)."""
        found = self.tokenizer.encode(long_text(), add_special_tokens=False)
        ids = [found[index % len(found)] for index in range(count)]
        return torch.tensor([ids], device=self.model.device)

    def _finished(self) -> float:
        if self._hardware.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


def library_options(plan: TilePlan, width: int, height: int, spec: ProcessorSpec) -> dict[str, Any]:
    """Return what makes the library's processor cut a picture as `plan` says."""
    if not plan.rows:
        cuts = default_grid(width, height, spec) != (0, 0)
        edge = spec.tile if cuts else spec.longest_edge
        return {"do_image_splitting": False, "size": {"longest_edge": edge}}
    if (plan.rows, plan.cols) == default_grid(width, height, spec):
        return {}
    size = {"height": plan.rows * plan.tile, "width": plan.cols * plan.tile}
    return {"do_image_splitting": True, "size": size}


def load_image_processor(folder: ModelFolder, config: dict[str, Any]) -> Any:  # noqa: ANN401
    """Return the library's processor with the PIL backend; the default one wants torchvision."""
    if config["model_type"] == "idefics3":
        from transformers.models.idefics3 import image_processing_pil_idefics3 as module

        return module.Idefics3ImageProcessorPil.from_pretrained(folder.path)
    from transformers.models.smolvlm import image_processing_pil_smolvlm

    return image_processing_pil_smolvlm.SmolVLMImageProcessorPil.from_pretrained(folder.path)
