"""The client's part in adapters: loading, asking with one, and engines that have none."""

from pathlib import Path

import pytest

from tests.adapters import save_adapter
from tests.engine_process import TOKEN, EngineProcess
from tests.fake_engine import FakeEngine, running
from vlmchat.chat.messages import user_message
from vlmchat.client.api import EngineClient
from vlmchat.client.protocol import Finished, Sampling
from vlmchat.errors import EngineError, NoAdaptersError, UsageError


async def told(client: EngineClient, adapter: str | None) -> str:
    """Ask something and return which adapter answered."""
    events = client.chat([user_message("?", ())], Sampling(max_tokens=3), adapter=adapter)
    async for event in events:
        if isinstance(event, Finished):
            return str(event.provenance["adapter"])
    raise AssertionError("It never ended.")


async def test_load_ask_and_unload(engine: EngineProcess, tiny_model: Path, tmp_path: Path) -> None:
    path = save_adapter(tiny_model, tmp_path / "birds")
    async with EngineClient(engine.url, TOKEN) as client:
        made = await client.load_adapter("birds", path)
        assert made.model.id == "birds" and made.model.adapter.startswith("birds@")
        assert made.remark == "" and made.model.parent
        assert await told(client, "birds") == made.model.adapter
        assert await told(client, "") == await told(client, None) == ""
        with pytest.raises(UsageError, match="already"):
            await client.load_adapter("birds", path)
        assert (await client.load_adapter("birds", path, replace=True)) == made
        with pytest.raises(UsageError, match="does not exist"):
            await client.load_adapter("other", tmp_path / "nowhere")
        await client.unload_adapter("birds")
        with pytest.raises(UsageError, match="not served here"):
            await told(client, "birds")
        with pytest.raises(UsageError, match="no adapter “birds”"):
            await client.unload_adapter("birds")
    async with EngineClient(engine.url, "wrong") as client:
        with pytest.raises(EngineError, match="refused the key"):
            await client.load_adapter("birds", path)


async def test_an_engine_without_the_routes(tmp_path: Path) -> None:
    with running(FakeEngine()) as fake:
        async with EngineClient(fake.url) as client:
            with pytest.raises(NoAdaptersError, match="cannot change adapters while it runs"):
                await client.load_adapter("birds", tmp_path)
            with pytest.raises(NoAdaptersError):
                await client.unload_adapter("birds")
