"""What the chat itself stands on: neither a screen nor a model, and nothing heavy at first."""

from tests.fresh_process import modules_after_importing


def test_the_whole_room_is_light() -> None:
    imported = modules_after_importing("vlmchat.talk")
    assert "vlmchat.talk.commands.registry" in imported
    assert "vlmchat.talk.desktop.clipboard" in imported
    heavy = {"torch", "transformers", "PIL", "av", "numpy", "pydantic", "httpx"}
    assert not imported & heavy
    assert not imported & {"textual", "textual_image", "rich"}
    assert not {name for name in imported if name.startswith(("vlmchat.tui", "vlmchat.plain"))}


def test_the_commands_do_not_bring_the_store() -> None:
    imported = modules_after_importing("vlmchat.talk.commands")
    assert "sqlite3" not in imported
