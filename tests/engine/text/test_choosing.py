"""Which way runs, and the change to the native step between answers."""

import threading
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import torch

from tests.adapters import save_adapter
from vlmchat.chat.messages import user_message
from vlmchat.engine.adapters import wear
from vlmchat.engine.generate import generate
from vlmchat.engine.loading import LoadedModel, LoadOptions, load_model
from vlmchat.engine.native import building
from vlmchat.engine.native.building import Build, Found
from vlmchat.engine.native.text import NativeText, UnsupportedModelError
from vlmchat.engine.sampling import SamplingParams
from vlmchat.engine.text import choosing
from vlmchat.engine.text.choosing import OwnText, describe
from vlmchat.models.progress import ignore_progress

IDS = [(7 * i * i + 3) % 390 for i in range(40)]


class Compiler:
    """Compiles when it is told to, and not before."""

    def __init__(self) -> None:
        self.asked: list[Callable[[Found], None]] = []

    def __call__(self, done: Callable[[Found], None]) -> Thread:
        self.asked.append(done)
        return Thread()

    def ends(self, found: Found) -> None:
        """Say what came of it, as a compiler does: from a thread of its own."""
        thread = Thread(target=self.asked.pop(), args=(found,))
        thread.start()
        thread.join()


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Found:
    found = Build(folder=tmp_path_factory.mktemp("native")).make()
    if found.library is None:
        pytest.skip(found.reason)
    return found


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Compiler:
    compiler = Compiler()
    monkeypatch.setenv("VLMCHAT_NATIVE_DIR", str(tmp_path / "nothing-compiled"))
    monkeypatch.setattr(building, "compile_in_background", compiler)
    return compiler


def load(model: Path, **options: Any) -> LoadedModel:
    return load_model(LoadOptions(str(model), dtype="float32", **options), ignore_progress)


def own(loaded: LoadedModel) -> OwnText:
    assert isinstance(loaded.text, OwnText)
    return loaded.text


def answer(loaded: LoadedModel, words: str = "What is it?") -> str:
    pieces: list[str] = []
    prompt = loaded.builder.build([user_message(words)])
    generate(loaded, prompt, SamplingParams(max_tokens=12), Event(), pieces.append)
    return "".join(pieces)


def logits(text: OwnText, ids: list[int] = IDS) -> torch.Tensor:
    return text.prefill(text.embed(ids), text.new_cache()).float().clone()


@pytest.mark.parametrize("quant", ["none", "8bit", "4bit"])
def test_it_answers_while_the_step_is_compiled(
    quant: str, tiny_model: Path, compiler: Compiler, native: Found
) -> None:
    loaded = load(tiny_model, quant=quant)
    text, kind = own(loaded), "float32" if quant == "none" else f"{quant[0]}-bit"
    assert text.way == f"portable {kind}"
    assert describe(text) == f"portable {kind}. The native decode step is being compiled."
    cache, before = text.new_cache(), answer(loaded)
    first = text.prefill(text.embed(IDS), cache).float().clone()
    compiler.ends(native)
    text.step(5, cache)
    assert text.way == f"portable {kind}"  # an answer ends as it began
    cache.crop(20)
    again = text.prefill(text.embed(IDS[20:]), cache)  # and the cache goes on
    assert text.way == describe(text).rstrip(". ") == f"native {kind}"
    near = 1e-4 if quant == "none" else 0.5
    torch.testing.assert_close(again.float(), first, rtol=near, atol=near)
    if quant == "none":
        assert answer(loaded) == before


def test_what_is_compiled_already_is_used_from_the_start(
    tiny_model: Path, compiler: Compiler, native: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "library", lambda: native)
    loaded = load(tiny_model, quant="8bit")
    assert own(loaded).way == "native 8-bit" and own(loaded).reason == "" and not compiler.asked
    plain = load(tiny_model, quant="8bit", native="off")
    assert own(plain).way == "portable 8-bit" and not compiler.asked
    torch.testing.assert_close(logits(own(loaded)), logits(own(plain)), rtol=0.3, atol=0.3)
    assert loaded.meta()["way"] == "native 8-bit."


def test_why_it_is_not_native_is_said(tiny_model: Path, compiler: Compiler) -> None:
    off = load(tiny_model, quant="8bit", native="off")
    assert describe(off.text) == "portable 8-bit. The native decode step is turned off."
    loaded = load(tiny_model, quant="8bit")
    compiler.ends(Found(reason="There is no compiler."))
    logits(own(loaded))
    assert describe(loaded.text) == "portable 8-bit. There is no compiler."
    library = load(tiny_model, library=True)
    assert describe(library.text) == "transformers float32. It is run by transformers."


def test_what_the_step_does_not_know_stays_portable(
    tiny_model: Path, compiler: Compiler, native: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Other(NativeText):
        def __init__(self, *_: object) -> None:
            raise UnsupportedModelError("It does not know this.")

    monkeypatch.setattr(choosing, "NativeText", Other)
    loaded = load(tiny_model, quant="8bit")
    compiler.ends(native)
    logits(own(loaded))
    assert describe(loaded.text) == "portable 8-bit. It does not know this."


def test_one_compiler_for_all_adapters(
    tiny_model: Path, tmp_path: Path, compiler: Compiler, native: Found
) -> None:
    base = load(tiny_model, quant="none")
    tuned = wear(base, "a", save_adapter(tiny_model, tmp_path / "a"))
    prompted = wear(base, "p", save_adapter(tiny_model, tmp_path / "p", "prompt"))
    models = (base, tuned, prompted)
    before = [answer(one) for one in models]
    assert len(set(before)) == 3 and len(compiler.asked) == 1
    assert {one.text.way for one in models} == {"portable float32"}
    compiler.ends(native)
    assert [answer(one) for one in models] == before
    assert {one.text.way for one in models} == {"native float32"}


def test_answers_go_on_while_the_step_comes(
    tiny_model: Path, native: Found, tmp_path: Path
) -> None:
    """The real background thread, with answers all the while; none is disturbed."""
    done = threading.Event()

    def compile_later(tell: Callable[[Found], None]) -> Thread:
        def work() -> None:
            tell(native)
            done.set()

        thread = Thread(target=work)
        thread.start()
        return thread

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLMCHAT_NATIVE_DIR", str(tmp_path))
        patch.setattr(building, "compile_in_background", compile_later)
        loaded = load(tiny_model, quant="none")
        said = {answer(loaded) for _ in range(3)}
        assert done.wait(30)
        said.add(answer(loaded))
    assert len(said) == 1 and loaded.text.way == "native float32"
