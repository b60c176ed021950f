"""``vlmchat serve``: its keys and adapters, its line, its end; and a small load."""

import asyncio
import signal
import threading
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest

from benchmarks import serve_load
from tests.adapters import save_adapter
from tests.cli.test_ask import refused
from vlmchat.cli.serve import check_origins, read_keys
from vlmchat.errors import UsageError


def test_keys_from_the_file_and_the_variable(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# ours\nalpha\n\n  beta \n")
    assert read_keys(file, " gamma, delta") == ["gamma", "delta", "alpha", "beta"]
    assert read_keys(None, None) == read_keys(None, "  ") == []
    for content, words in (("# none\n", "no key"), ("with space\n", "ASCII"), ("é", "ASCII")):
        file.write_text(content, "utf-8")
        with pytest.raises(UsageError, match=words):
            read_keys(file, None)
    with pytest.raises(UsageError, match="cannot be read"):
        read_keys(tmp_path / "none", None)


def test_origins_are_checked() -> None:
    check_origins(["https://example.org", "http://localhost:3000/", "*", "null"])
    for wrong in ("example.org", "https://example.org/page", "ftp://x", ""):
        with pytest.raises(UsageError, match="no origin"):
            check_origins([wrong])


def test_two_adapters_of_one_name_are_refused(tmp_path: Path) -> None:
    said = refused(2, "serve", "--adapter", tmp_path / "a" / "x", "--adapter", tmp_path / "b" / "x")
    assert "rename a folder" in said


def test_off_is_no_adapter_beside_others(tmp_path: Path) -> None:
    said = refused(2, "serve", "--adapter", "off", "--adapter", tmp_path / "x")
    assert "stands alone" in said


def client_of(one: serve_load.Serving) -> Any:
    return openai.OpenAI(base_url=f"{one.url}/v1", api_key=serve_load.KEY, max_retries=0)


def ask(client: Any, **fields: Any) -> Any:
    messages = [{"role": "user", "content": "Go on."}]
    return client.chat.completions.create(**{"model": "", "messages": messages, **fields})


@pytest.mark.slow
def test_adapters_by_name_and_an_orderly_end(tiny_model: Path, tmp_path: Path) -> None:
    made = [save_adapter(tiny_model, tmp_path / name, seed=i) for i, name in enumerate(("a", "b"))]
    options = [part for folder in made for part in ("--adapter", str(folder))]
    with serve_load.serving(tiny_model, tmp_path, *options, "--max-queue", "1") as one:
        assert serve_load.KEY not in " ".join(one.process.cmdline())
        with client_of(one) as client:
            names = [row.id for row in client.models.list()]
            assert len(names) == 3 and names[0] == "a" and names[2] == "b"
            said = {
                n: ask(client, model=n, max_tokens=16).choices[0].message.content for n in names
            }
            assert len(set(said.values())) == 3
            assert ask(client, max_tokens=16).choices[0].message.content == said["a"]
            stream = ask(client, stream=True, max_tokens=900)
            next(stream)
            with pytest.raises(openai.RateLimitError) as busy:
                ask(client, max_tokens=1)
            assert int(busy.value.response.headers["retry-after"]) >= 1
            one.process.send_signal(signal.SIGTERM)
            last = list(stream)[-1]  # what was begun is finished
            assert last.choices[0].finish_reason == "length"
            with pytest.raises((openai.APIConnectionError, openai.InternalServerError)):
                ask(client, max_tokens=1)
        psutil.wait_procs([one.process], timeout=10)
        assert not one.process.is_running() or one.process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.slow
def test_the_end_cuts_what_takes_too_long(slow_model: Path, tmp_path: Path) -> None:
    with serve_load.serving(slow_model, tmp_path, "--stop-seconds", "0.2") as one:
        with client_of(one) as client:
            stream = ask(client, stream=True, max_tokens=900)
            next(stream)
            waiting: list[Exception] = []

            def wait_in_line() -> None:
                try:
                    ask(client, max_tokens=900)
                except openai.OpenAIError as error:
                    waiting.append(error)

            other = threading.Thread(target=wait_in_line)
            other.start()
            while "vlmchat_requests_in_line 2.0" not in metrics(client):
                pass
            one.process.send_signal(signal.SIGTERM)
            with pytest.raises(openai.APIError, match="engine is being stopped"):
                list(stream)
            other.join(20)
        assert isinstance(waiting[0], openai.InternalServerError)
        assert waiting[0].status_code == 503 and "being stopped" in str(waiting[0])


def metrics(client: Any) -> str:
    return str(
        client._client.get(
            f"{client.base_url}".removesuffix("v1/") + "metrics",
            headers={"Authorization": f"Bearer {serve_load.KEY}"},
        ).text
    )


@pytest.mark.slow
def test_a_small_load(tiny_model: Path, tmp_path: Path) -> None:
    assert asyncio.run(serve_load.measured(tiny_model, tmp_path, 6, 4, 100))
