"""The catalogue, names, and the choice of a default."""

import pytest

from tests.models.test_local import put_into_cache
from vlmchat.errors import ModelError
from vlmchat.models import choose, demo_model, hub, resolve
from vlmchat.models.catalogue import CATALOGUE, DEMO, QUANTIZATIONS, by_id, lookup, nearest
from vlmchat.models.progress import Progress, ProgressSink, ignore_progress

GB = 10**9


def test_names_are_found_in_any_case() -> None:
    entry = by_id("smolvlm2-500m")
    for name in ("SmolVLM2-500M", entry.hub_id.upper(), "smolvlm2-500m-video-instruct"):
        assert lookup(name) is entry
    assert lookup("smolvlm3") is None
    assert nearest("smolvm2-500m")[0] == "smolvlm2-500m"


def test_memory_falls_with_the_bits_and_grows_with_the_model() -> None:
    for entry in CATALOGUE:
        sizes = [entry.memory_bytes(one) for one in QUANTIZATIONS]
        assert sizes == sorted(sizes, reverse=True)
        assert entry.text.linear_weights < entry.parameters
    # The card's published figure for the 500M with a picture is 1.23 GB, for the 2.2B 5.2 GB.
    assert 1.2 * GB < by_id("smolvlm2-500m").memory_bytes() < 1.8 * GB
    assert 5 * GB < by_id("smolvlm2-2.2b").memory_bytes() < 6 * GB


def test_the_best_present_model_that_fits() -> None:
    everything = [entry.id for entry in CATALOGUE if not entry.is_demo]

    def best(memory: float, device: str, present: list[str] = everything) -> str | None:
        found = choose.best_present(present, int(memory * GB), device)
        return found.id if found else None

    assert best(16, "cuda") == "smolvlm2-2.2b"
    assert best(16, "cpu") == "smolvlm2-500m"
    assert best(1.3, "cpu") == "smolvlm2-256m"
    assert best(4, "cuda", ["smolvlm2-2.2b"]) == "smolvlm2-2.2b"
    assert best(0.2, "cpu") is None
    assert best(16, "cpu", []) is None


@pytest.mark.parametrize(
    ("memory", "device", "wanted"),
    [(16, "cpu", "smolvlm2-500m"), (1.3, "cpu", "smolvlm2-256m"), (16, "cuda", "smolvlm2-2.2b")],
)
def test_what_is_fetched_suits_the_hardware(memory: float, device: str, wanted: str) -> None:
    found = choose.best_to_fetch(int(memory * GB), device)
    assert found is by_id(wanted)


def test_a_model_in_the_cache_is_the_default_without_any_network(tiny_model: object) -> None:
    from pathlib import Path

    assert isinstance(tiny_model, Path)
    snapshot = put_into_cache(tiny_model, by_id("smolvlm2-256m").hub_id)
    found = resolve.resolve(None, ignore_progress, memory_bytes=8 * GB, device="cpu")
    assert (found.path, found.id) == (snapshot, "smolvlm2-256m")
    assert "SmolVLM2 256M was chosen for this CPU" in found.notice
    by_name = resolve.resolve("SMOLVLM2-256M", ignore_progress, memory_bytes=0, device="cpu")
    assert (by_name.path, by_name.notice) == (snapshot, "")


def test_without_model_and_hub_the_demo_says_why(
    monkeypatch: pytest.MonkeyPatch, tiny_model: object
) -> None:
    from pathlib import Path

    assert isinstance(tiny_model, Path)
    path = tiny_model

    def ensure(progress: ProgressSink) -> Path:
        progress(Progress("converting", "Preparing"))
        return path

    monkeypatch.setattr(demo_model, "ensure", ensure)
    found = resolve.resolve(None, ignore_progress, memory_bytes=8 * GB, device="cpu")
    assert found.is_demo
    assert found.title == DEMO.title
    assert "demo" in found.title.lower()
    assert "the Hugging Face Hub does not answer" in found.notice
    assert "vlmchat models pull smolvlm2-500m" in found.notice


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("smolvlm2-50m", "did you mean smolvlm2-500m"),
        ("gpt-9", "`vlmchat models` lists"),
        ("\x1b[31mred", "␛"),
        ("demo@1", "no revisions"),
        ("smolvlm2-500m@../x", "is no revision"),
        ("x" * 5000, "…"),
        ("a/b/c", "There is no model"),
    ],
)
def test_odd_names_are_refused_in_one_sentence(spec: str, said: str) -> None:
    with pytest.raises(ModelError) as caught:
        resolve.resolve(spec, ignore_progress, memory_bytes=0, device="cpu")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_offline_says_so() -> None:
    with pytest.raises(hub.HubUnreachableError, match="HF_HUB_OFFLINE forbids"):
        resolve.resolve("owner/name@v1", ignore_progress, memory_bytes=0, device="cpu")
