"""Beside a server of another make: what it cannot do is greyed everywhere, with the reason."""

from tests.fake_engine import FakeEngine, Reply, Script, running
from tests.tui.driving import chatting, remote
from vlmchat.tui.palette import CommandProvider

CONTEXT = 8192


async def test_what_a_server_does_not_know_is_greyed() -> None:
    row = {"id": "org/model", "owned_by": "vllm", "max_model_len": CONTEXT, "meta": {}}
    with running(FakeEngine(Script([Reply(["Yes."])], model=row))) as engine:
        async with chatting(overrides=remote(engine.url)) as chat:
            await chat.ready()
            assert chat.session.context.limit == CONTEXT
            await chat.type("/detail")
            await chat.until(lambda: "vLLM cuts pictures in its own way" in chat.text())
            chat.composer.clear()
            await chat.ask("/set repeat_guard on")
            await chat.until(lambda: any("vLLM does not know repeat" in n for n in chat.notices()))
            await chat.ask("/detail low")
            await chat.until(chat.errors)
            assert "does not ask how finely" in chat.errors()[0]
            provider = CommandProvider(chat.screen)
            hits = [str(hit.help) async for hit in provider.discover() if hit.help]
            assert any("vLLM cuts pictures" in one for one in hits)
            assert any("/model lists them" in one for one in hits)
            await chat.pilot.press("f1")
            rows = list(chat.app.screen.query(".-barred .help-right"))
            assert "vLLM cuts pictures" in str([one.render() for one in rows])
