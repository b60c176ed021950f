"""How long another adapter takes, in an engine that runs, over HTTP.

Builds a model of SmolVLM-256M's shape with random weights (or takes ``--model``, as ``demo``) and
two LoRA adapters of rank 16 on all linear layers of its text model, puts them on a shelf, starts
the engine, and times what the chat does: loading an adapter that was never loaded, and the first
token of an answer with it, with one that was loaded before, and with none. Swapping is what comes
on top of an answer: the loading.

    python benchmarks/adapter_swap.py --runs 5
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.key_latency import build
from tests.adapters import save_adapter
from tests.engine_process import EngineProcess
from vlmchat.finetune.modules import target_pattern
from vlmchat.finetune.settings import RunSettings

ALLOWED_SECONDS = 2.0
SETTLE_SECONDS = 9.0  # nobody asks for another adapter the moment the model is there


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def load(engine: EngineProcess, name: str, folder: Path) -> None:
    body = {"lora_name": name, "lora_path": str(folder)}
    response = engine.http.post("/v1/load_lora_adapter", json=body)
    assert response.status_code == 200, response.text


def unload(engine: EngineProcess, name: str) -> None:
    engine.http.post("/v1/unload_lora_adapter", json={"lora_name": name})


def answer(engine: EngineProcess, model: str) -> float:
    """Return the seconds until the first token of an answer, which is all that is asked for."""
    return timed(lambda: engine.chat("What do you see?", model=model, max_tokens=1).json())


def measure(engine: EngineProcess, adapters: dict[str, Path], runs: int) -> dict[str, list[float]]:
    base = engine.wait_ready()["model"]["id"]
    answer(engine, base)
    found: dict[str, list[float]] = {}

    def note(what: str, seconds: float) -> None:
        found.setdefault(what, []).append(seconds)

    for _ in range(runs):
        note("the model's own first token", answer(engine, base))
        for name, folder in adapters.items():
            note("another adapter, loading", timed(partial(load, engine, name, folder)))
            note("another adapter, its first token", answer(engine, name))
        note("back to the one before, its first token", answer(engine, next(iter(adapters))))
        note("back to none, first token", answer(engine, base))
        for name in adapters:
            unload(engine, name)
    return found


def model_folder(wanted: str, folder: Path) -> Path:
    if not wanted:
        build(folder)
        return folder
    from vlmchat.finetune.preparing import find_base

    return find_base(wanted).folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--model", default="", help="instead of the built one")
    parser.add_argument("--quant", default="none")
    options = parser.parse_args()
    pattern = target_pattern(RunSettings())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shelf = folder / "home" / "data" / "adapters"  # of the engine that is started here
        model = model_folder(options.model, folder / "model")
        adapters = {
            name: save_adapter(model, shelf / name, seed=seed, r=16, target_modules=pattern)
            for seed, name in enumerate(("one", "two"))
        }
        size = (adapters["one"] / "adapter_model.safetensors").stat().st_size
        print(f"adapters of {size / 1e6:.1f} MB over {options.model or '256M, random weights'}")
        with EngineProcess(model, folder, "--quant", options.quant) as engine:
            engine.wait_ready()
            time.sleep(SETTLE_SECONDS)
            found = measure(engine, adapters, options.runs)
    for what, seconds in found.items():
        print(f"{what:<42} median {statistics.median(seconds):.3f} s, worst {max(seconds):.3f} s")
    swap = max(found["another adapter, loading"])
    print(f"{'swapped':<42} worst {swap:.3f} s of {ALLOWED_SECONDS} s")
    return 0 if swap <= ALLOWED_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
