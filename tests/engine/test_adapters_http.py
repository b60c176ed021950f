"""Adapters over HTTP: loaded, asked for by name, unloaded, while the engine answers."""

from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import httpx2 as httpx
import pytest

from tests.adapters import save_adapter
from tests.engine.test_http import message_of, picture, text
from tests.engine_process import EngineProcess


@pytest.fixture(scope="module")
def made(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the folders of three adapters."""
    folder = tmp_path_factory.mktemp("adapters")
    seeds = {"birds": 1, "charts": 2}
    paths = {name: save_adapter(tiny_model, folder / name, seed=seeds[name]) for name in seeds}
    return {**paths, "prompt": save_adapter(tiny_model, folder / "prompt", "prompt")}


@pytest.fixture
def served(engine: EngineProcess, made: dict[str, Path]) -> Iterator[EngineProcess]:
    """Return the engine with `birds` and `charts`; afterwards it has none."""
    for name in ("birds", "charts"):
        assert load(engine, name, made[name]).status_code == 200
    yield engine
    for row in rows(engine)[1:]:
        engine.http.post("/v1/unload_lora_adapter", json={"lora_name": row["id"]})


def load(engine: EngineProcess, name: str, path: Path, **fields: Any) -> httpx.Response:
    body = {"lora_name": name, "lora_path": str(path), **fields}
    return engine.http.post("/v1/load_lora_adapter", json=body)


def unload(engine: EngineProcess, name: str) -> httpx.Response:
    return engine.http.post("/v1/unload_lora_adapter", json={"lora_name": name})


def rows(engine: EngineProcess) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = engine.http.get("/v1/models").json()["data"]
    return found


def said(engine: EngineProcess, model: str | None = None) -> tuple[str, str]:
    """Return what is answered and which adapter it says it was."""
    body = engine.chat([picture(), text("What is this?")], max_tokens=16, model=model).json()
    return body["choices"][0]["message"]["content"], body["vlmchat"]["adapter"]


def test_each_request_chooses(served: EngineProcess) -> None:
    base, *adapters = rows(served)
    assert [row["id"] for row in adapters] == ["birds", "charts"] and base["parent"] is None
    assert all(row["parent"] == base["id"] for row in adapters)
    plain, birds, charts = (said(served, name) for name in (base["id"], "birds", "charts"))
    assert (plain[1], birds[1][:6], charts[1][:7]) == ("", "birds@", "charts@")
    assert len({plain[0], birds[0], charts[0]}) == 3
    assert [said(served, "birds"), said(served), said(served, "charts")] == [birds, plain, charts]
    answered = served.chat("?", model="birds").json()
    assert answered["model"] == "birds"
    refused = served.chat("?", model="bords")
    assert refused.status_code == 400 and "“birds”, “charts”" in message_of(refused)


def test_unloaded_and_refused(served: EngineProcess, made: dict[str, Path], tmp_path: Path) -> None:
    plain = said(served)
    assert unload(served, "birds").status_code == 200
    assert served.chat("?", model="birds").status_code == 400
    assert "There is no adapter “birds” here" in message_of(unload(served, "birds"))
    assert "already" in message_of(load(served, "charts", made["prompt"]))
    before = said(served, "charts")
    replaced = load(served, "charts", made["prompt"], load_inplace=True).json()
    assert replaced["id"] == "charts" and replaced["meta"]["adapter"] == said(served, "charts")[1]
    assert said(served, "charts")[0] != before[0] and said(served) == plain
    again = load(served, "charts", made["prompt"], load_inplace=True).json()
    assert again["meta"]["adapter"] == replaced["meta"]["adapter"]
    (tmp_path / "adapter_config.json").write_text("{}")
    for path, sentence in ((tmp_path, "is no adapter folder"), (Path("/nowhere"), "not exist")):
        refused = load(served, "new", path)
        assert refused.status_code == 400 and sentence in message_of(refused)
    assert "cannot be called" in message_of(load(served, rows(served)[0]["id"], made["birds"]))
    bare = served.http.post("/v1/load_lora_adapter", json={"lora_name": "x"})
    assert bare.status_code == 400 and "“lora_path” is missing" in message_of(bare)


def test_an_answer_keeps_its_adapter(served: EngineProcess, made: dict[str, Path]) -> None:
    question = "Say a great deal."
    whole = served.chat(question, model="birds", max_tokens=80).json()
    events = served.stream(question, model="birds", max_tokens=80)
    begun = [next(events) for _ in range(3)]
    # Another question waits in line with the adapter that is about to be taken away.
    waiting: list[Any] = []
    queued = Thread(target=lambda: waiting.append(said(served, "charts")))
    queued.start()
    assert unload(served, "birds").status_code == 200
    assert load(served, "birds", made["prompt"]).status_code == 200
    rest = [event for event in events if event]
    queued.join()
    assert waiting[0][1].startswith("charts@")
    pieces = [c["delta"].get("content", "") for e in (*begun, *rest) for c in e["choices"]]
    assert "".join(pieces) == whole["choices"][0]["message"]["content"]
    assert rest[-1]["vlmchat"]["adapter"] == whole["vlmchat"]["adapter"]


@pytest.mark.slow
def test_the_adapter_it_began_with(tiny_model: Path, made: dict[str, Path], tmp_path: Path) -> None:
    with EngineProcess(tiny_model, tmp_path, "--adapter", str(made["birds"])) as engine:
        model = engine.wait_ready()["model"]
        assert model["meta"]["adapter"].startswith("birds@")
        assert [row["id"] for row in rows(engine)] == ["birds", model["id"]]
        assert said(engine) == said(engine, "birds") != said(engine, model["id"])
        assert load(engine, "charts", made["charts"]).status_code == 200
        assert said(engine)[1].startswith("birds@")
        assert unload(engine, "birds").status_code == 200
        assert said(engine) == said(engine, model["id"])
        assert [row["id"] for row in rows(engine)] == [model["id"], "charts"]


def test_only_who_has_the_key_loads(engine: EngineProcess, made: dict[str, Path]) -> None:
    for route in ("load", "unload"):
        body = {"lora_name": "x", "lora_path": str(made["birds"])}
        response = httpx.post(f"{engine.url}/v1/{route}_lora_adapter", json=body, trust_env=False)
        assert response.status_code == 401
