"""The local engine kept by its client."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from vlmchat.chat.messages import user_message
from vlmchat.client.protocol import Finished, Sampling, TextDelta
from vlmchat.client.supervisor import EngineOptions, LocalEngine
from vlmchat.errors import EngineError, UsageError


@pytest.mark.slow
async def test_life_of_an_engine(slow_model: Path, tmp_path: Path) -> None:
    engine = LocalEngine(EngineOptions(str(slow_model)), tmp_path / "engine.log")
    await engine.start()
    try:
        stages = [status.stage async for status in engine.watch()]
        assert stages[-1] == "ready" and {"loading", "quantizing"} & set(stages)
        messages, sampling = [user_message("Hello")], Sampling(max_tokens=4)
        events = [event async for event in engine.client.chat(messages, sampling)]
        assert isinstance(events[-1], Finished) and events[-1].usage is not None
        assert events[-1].provenance["model"] == str(slow_model)

        pieces: list[str] = []
        with pytest.raises(EngineError):
            async for event in engine.client.chat(messages, Sampling(max_tokens=900)):
                if isinstance(event, TextDelta):
                    pieces.append(event.text)
                if len(pieces) == 3:
                    assert engine.pid is not None
                    os.kill(engine.pid, signal.SIGKILL)
        assert "was killed" in await asyncio.wait_for(engine.exited(), 5)
        assert len(pieces) >= 3 and "listening" in engine.log_tail()

        await engine.start()
        await engine.wait_ready()
        events = [event async for event in engine.client.chat(messages, sampling)]
        assert isinstance(events[-1], Finished)
    finally:
        await engine.stop()
    assert engine.pid is None


@pytest.mark.slow
async def test_closing_the_stream_cancels(slow_model: Path, tmp_path: Path) -> None:
    engine = LocalEngine(EngineOptions(str(slow_model)), tmp_path / "engine.log")
    await engine.start()
    try:
        await engine.wait_ready()
        stream = engine.client.chat([user_message("Hello")], Sampling(max_tokens=900))
        async for _ in stream:
            break
        await stream.aclose()
        async with asyncio.timeout(2):
            async for _ in engine.client.chat([user_message("x")], Sampling(max_tokens=1)):
                pass
    finally:
        await engine.stop()


async def test_failed_load_is_a_sentence(tmp_path: Path) -> None:
    engine = LocalEngine(EngineOptions(str(tmp_path / "nothing")), tmp_path / "engine.log")
    await engine.start()
    try:
        with pytest.raises(EngineError, match="nothing"):
            await engine.wait_ready()
        assert engine.pid is not None  # it stays to be asked, and another model may be tried
        with pytest.raises(EngineError, match="nothing"):
            async for _ in engine.client.chat([user_message("x")], Sampling()):
                pass
    finally:
        await engine.stop()


async def test_engine_that_cannot_start(tmp_path: Path) -> None:
    engine = LocalEngine(EngineOptions(extra=("--nonsense",)), tmp_path / "engine.log")
    with pytest.raises(EngineError, match=r"engine\.log"):
        await engine.start()
    assert "--nonsense" in engine.log_tail()


async def test_refused_request_is_a_usage_error(tiny_model: Path, tmp_path: Path) -> None:
    engine = LocalEngine(EngineOptions(str(tiny_model)), tmp_path / "engine.log")
    await engine.start()
    try:
        await engine.wait_ready()
        with pytest.raises(UsageError, match="1024"):
            async for _ in engine.client.chat([user_message("word " * 3000)], Sampling()):
                pass
    finally:
        await engine.stop()
