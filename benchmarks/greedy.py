"""Whether greedy answers are those of transformers' ``generate`` in bfloat16, token by token.

Asks the demo model, whose text weights are SmolLM2's, fifty questions, 200 tokens each, by this
program's unquantized path and by the library's. Where two answers part, the float32 model says
whether it was a tie: whether the two tokens are closer there than bfloat16 can tell apart. Its
error is measured at that very place, as the standard deviation of what the library's bfloat16
logits of the 50 likeliest tokens are off (by more than all of them are); the difference of two
logits with such errors has 1.4 times that deviation, and twice of it is where a tie ends here. The
answers behind a tie are not compared; those that part elsewhere count as different. Whether
bfloat16 as computed here is worse than the library's shows in whose token the float32 model
prefers: it should be either's in half of the cases.

    python benchmarks/greedy.py
    python benchmarks/greedy.py --first 0 --count 10
"""

import argparse
import itertools
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from vlmchat.chat.messages import user_message
from vlmchat.engine.loading import LoadedModel, LoadOptions, load_model

ALLOWED = 0.95
_LIKELY = 50
TASKS = (
    "Explain in simple words what {} is.",
    "Write a short story about {}.",
    "List five facts about {}.",
    "Write a poem about {}.",
    "Give me advice: I want to learn more about {}.",
    "What are the advantages and disadvantages of {}?",
    "Write a letter to a friend about {}.",
    "Tell me the history of {}.",
    "Why do people care about {}?",
    "Write a dialogue between two people who talk about {}.",
)
TOPICS = ("the sea", "photography", "electricity", "a small village", "bread")


@dataclass(frozen=True, slots=True)
class Parting:
    """Where two answers part.

    Attributes:
        place: of the first token that differs.
        gap: by which the float32 model prefers our token; below 0 where it prefers the library's.
        noise: the standard deviation of the library's bfloat16 logits there; see above.
    """

    place: int
    gap: float
    noise: float

    @property
    def tie(self) -> bool:
        """Whether bfloat16 may say the one or the other."""
        return abs(self.gap) <= 2 * math.sqrt(2) * self.noise


@torch.inference_mode()
def ours(loaded: LoadedModel, ids: list[int], most: int) -> list[int]:
    cache = loaded.text.new_cache()
    logits = loaded.text.prefill(loaded.text.embed(ids), cache)
    said: list[int] = []
    while len(said) < most:
        said.append(int(logits.argmax()))
        if said[-1] in loaded.end_ids:
            break
        logits = loaded.text.step(said[-1], cache)
    return said


@torch.inference_mode()
def librarys(reference: LoadedModel, ids: list[int], most: int) -> tuple[list[int], Any]:
    """Return the tokens, and the logits before each of them."""
    given = torch.tensor([ids])
    out = reference.model.generate(
        input_ids=given,
        attention_mask=torch.ones_like(given),
        max_new_tokens=most,
        do_sample=False,
        eos_token_id=sorted(reference.end_ids),
        return_dict_in_generate=True,
        output_logits=True,
    )
    return out.sequences[0, len(ids) :].tolist(), out.logits


@torch.inference_mode()
def parting(
    exact: LoadedModel,
    ids: list[int],
    mine: list[int],
    theirs: list[int],
    logits: Any,  # noqa: ANN401 - a tuple of tensors, (1, vocabulary) each
) -> Parting | None:
    """Return where the answers part; ``None`` where they do not."""
    pairs = itertools.zip_longest(mine, theirs)
    place = next((at for at, (one, other) in enumerate(pairs) if one != other), None)
    if place is None:
        return None
    whole = exact.model(input_ids=torch.tensor([ids + theirs[:place]]), logits_to_keep=1)
    precise = whole.logits[0, -1].float()
    likely = precise.topk(_LIKELY).indices
    off = logits[place][0, likely].float() - precise[likely]
    return Parting(place, float(precise[mine[place]] - precise[theirs[place]]), float(off.std()))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--tokens", type=int, default=200)
    options = parser.parse_args()
    loaded = load_model(LoadOptions("demo", "none", "cpu", dtype="bfloat16"), lambda _: None)
    reference, exact = (
        load_model(LoadOptions("demo", "none", "cpu", dtype=dtype, library=True), lambda _: None)
        for dtype in ("bfloat16", "float32")
    )
    questions = [task.format(topic) for task in TASKS for topic in TOPICS]
    chosen = questions[options.first : options.first + options.count]
    same = ties = preferred = 0
    for number, question in enumerate(chosen, options.first):
        ids = loaded.builder.build([user_message(question)]).ids
        mine = ours(loaded, ids, options.tokens)
        theirs, logits = librarys(reference, ids, options.tokens)
        found = parting(exact, ids, mine, theirs, logits)
        same += found is None
        if found is None:
            print(f"{number:3} the same {len(mine)} tokens", flush=True)
            continue
        ties += found.tie
        preferred += found.gap > 0
        kind = "a tie" if found.tie else "DIFFERENT"
        print(
            f"{number:3} {kind} at token {found.place}: gap {found.gap:+.3f}, "
            f"bfloat16's error {found.noise:.3f}",
            flush=True,
        )
    share = (same + ties) / len(chosen)
    print(f"{loaded.text.way}: {same} the same, {ties} but for ties, of {len(chosen)}: {share:.0%}")
    print(f"where they part, float32 prefers ours {preferred} times of {len(chosen) - same}")
    return 0 if share >= ALLOWED else 1


if __name__ == "__main__":
    sys.exit(main())
