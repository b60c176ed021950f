"""Every command does what its help says, and says why not when it cannot.

`CASES` names a test for each command; most commands have tests where their feature has. A command
without one, or with one that is gone, fails here.
"""

import ast
from functools import partial
from pathlib import Path

import pytest

from tests.fake_engine import FakeEngine, Reply, Script, running
from tests.tui.driving import Chat, chatting, remote
from vlmchat import paths
from vlmchat.store.records import Thread
from vlmchat.store.store import Store
from vlmchat.talk.commands.base import Command
from vlmchat.talk.commands.branches import code_blocks
from vlmchat.talk.commands.registry import COMMANDS, default_keys, find
from vlmchat.tui.screens.pager import HelpPager
from vlmchat.tui.screens.search import FindScreen, SearchScreen
from vlmchat.tui.widgets.turns import SystemTurn

CODE = "Look:\n\n```python\none = 1\n```\n\nand\n\n```\ntwo\n```\n"

CASES = {
    "attach": "test_attach.test_the_command_the_chips_and_the_question",
    "describe": "test_describe.test_describe_asks_for_what_is_attached_then_for_the_last_picture",
    "detach": "test_attach.test_the_command_the_chips_and_the_question",
    "frames": "test_frames.test_frames_by_words",
    "new": "test_recorder.test_a_new_conversation_is_another_thread",
    "system": "test_commands.test_the_system_prompt_is_set_shown_and_removed",
    "stop": "test_chat.test_stop_before_the_first_word_joins_the_questions",
    "set": "test_commands.test_a_parameter_is_set_and_shown",
    "model": "test_engine_change.test_the_conversation_goes_on_with_another_model",
    "quant": "test_engine_change.test_the_conversation_goes_on_with_another_model",
    "adapter": "test_adapter.test_on_and_off_and_what_is_wrong",
    "detail": "test_engine_change.test_detail_goes_with_the_question",
    "parameters": "test_parameters.test_what_is_set_goes_with_the_next_question",
    "settings": "test_settings_screen.test_every_setting_is_there_with_its_source",
    "keys": "test_keys.test_a_key_is_pressed_and_kept",
    "editor": "test_external_editor.test_in_a_real_terminal",
    "paste-image": "test_clipboard.test_pasting_into_the_chat",
    "history": "test_history.test_the_search",
    "edit": "test_branches.test_a_question_is_edited_with_its_pictures",
    "regenerate": "test_branches.test_regenerating_makes_a_sibling",
    "continue": "test_branches.test_a_cut_answer_is_continued",
    "fork": "test_branches.test_a_fork_is_a_conversation_of_its_own",
    "previous": "test_branches.test_regenerating_makes_a_sibling",
    "next": "test_branches.test_regenerating_makes_a_sibling",
    "tree": "test_branches.test_the_tree_shows_where_one_is_and_leads_elsewhere",
    "compare": "test_branches.test_two_versions_side_by_side",
    "good": "test_branches.test_rating_is_saved_and_shown",
    "bad": "test_branches.test_rating_is_saved_and_shown",
    "better": "test_branches.test_rating_is_saved_and_shown",
    "finetune": "test_finetune_steps.test_a_job_runs_and_its_result_is_used",
    "jobs": "test_finetune_steps.test_a_killed_job_goes_on_and_jobs_are_deleted",
    "info": "test_branches.test_what_produced_an_answer_is_shown",
    "copy": "test_commands.test_what_can_be_copied",
    "copy-code": "test_commands.test_what_can_be_copied",
    "chats": "test_commands.test_a_conversation_is_opened_by_number_or_words",
    "search": "test_commands.test_a_hit_of_the_search_is_gone_to",
    "find": "test_commands.test_finding_in_this_conversation",
    "rename": "test_commands.test_rename_pin_and_archive",
    "pin": "test_commands.test_rename_pin_and_archive",
    "archive": "test_commands.test_rename_pin_and_archive",
    "delete": "test_commands.test_delete_and_undelete",
    "undelete": "test_commands.test_delete_and_undelete",
    "export": "test_files.test_export",
    "import": "test_files.test_import",
    "judge": "test_judging.test_judged_side_by_side",
    "why": "test_why.test_stepping_through_an_answer",
    "eval": "test_eval.test_a_set_is_evaluated_while_the_chat_goes_on",
    "batch": "test_batch.test_every_picture_has_its_row",
    "locate": "test_locate.test_what_is_found_is_attached",
    "synth": "test_synth.test_a_set_is_made",
    "view": "test_viewer.test_the_view_command",
    "crop": "test_plan.test_the_crop_command",
    "gallery": "test_gallery.test_from_the_store_by_command",
    "watch": "test_watch.test_each_look_is_a_turn_until_escape_or_off",
    "restart": "test_failures.test_a_failed_load_is_said_and_can_be_tried_again",
    "log": "test_failures.test_an_engine_that_does_not_come_up",
    "theme": "test_theme_picker.test_a_name_behind_the_command_needs_no_list",
    "help": "test_commands.test_help_and_quit",
    "quit": "test_commands.test_help_and_quit",
}

NOTHING_SAID, NOTHING_ANSWERED = "Nothing was said yet", "Nothing was answered yet"
UNSAID, NOT_KEPT = "Nothing was said in this conversation yet", "not kept"
# What each says in an empty conversation with a server.
IN_AN_EMPTY_CHAT = {
    "detach": "Nothing is attached",
    "frames": "No video is attached",
    "describe": "There is no picture to describe",
    "stop": "Nothing is being answered",
    "quant": "cannot be changed from here",
    "adapter": "cannot be changed from here",
    "edit": NOTHING_SAID,
    "regenerate": NOTHING_ANSWERED,
    "continue": NOTHING_ANSWERED,
    "fork": NOTHING_SAID,
    "previous": NOTHING_ANSWERED,
    "next": NOTHING_ANSWERED,
    "tree": NOTHING_SAID,
    "compare": "There is only one version",
    "good": NOTHING_ANSWERED,
    "bad": NOTHING_ANSWERED,
    "better": "There is only one version",
    "info": NOTHING_ANSWERED,
    "copy": NOTHING_ANSWERED,
    "copy-code": NOTHING_ANSWERED,
    "find": NOTHING_SAID,
    "rename": UNSAID,
    "pin": UNSAID,
    "archive": UNSAID,
    "delete": UNSAID,
    "undelete": "Nothing was deleted",
    "export": UNSAID,
    "view": "There is no picture",
    "crop": "There is no picture to crop",
    "log": "The engine runs elsewhere",
    "judge": "cannot be changed from here",
}
NOT_SAVED = ("chats", "search", "rename", "pin", "archive", "delete", "undelete", "import")
WHILE_ANSWERING = ("edit", "regenerate", "continue", "fork", "previous", "next")
# What else has a reason, and the test that shows it.
OTHER_REASONS = {
    "attach": "test_attach.test_a_model_without_eyes_refuses",
    "parameters": "test_commands.test_parameters_wait_for_the_settings",
    "gallery": "test_gallery.test_without_a_store",
    "watch": "test_watch.test_a_model_without_eyes_watches_nothing",
    "batch": "test_batch.test_a_model_without_eyes_is_not_asked",
    "synth": "test_synth.test_a_model_without_eyes_makes_none",
    "locate": "test_locate.test_a_model_without_eyes_finds_nothing",
    "finetune": "test_finetune_steps.test_a_model_elsewhere_is_not_tuned",
    "detail": "test_elsewhere.test_what_a_server_does_not_know_is_greyed",
    "why": "test_why.test_a_server_that_cannot_tell",
}


def _exists(test: str) -> bool:
    module, _, name = test.partition(".")
    tree = ast.parse((Path(__file__).parent / f"{module}.py").read_text("utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return any(isinstance(node, kinds) and node.name == name for node in tree.body)


def test_every_command_has_a_test() -> None:
    assert set(CASES) == {command.name for command in COMMANDS}
    for test in {*CASES.values(), *OTHER_REASONS.values()}:
        assert _exists(test), test


def test_every_reason_has_a_test() -> None:
    can_refuse = {x.name for x in COMMANDS if type(x).available is not Command.available}
    shown = {*IN_AN_EMPTY_CHAT, *NOT_SAVED, *WHILE_ANSWERING, *OTHER_REASONS}
    assert can_refuse <= shown


def test_no_two_commands_have_the_same_key() -> None:
    seen: dict[tuple[bool, str], str] = {}
    for name, keys in default_keys().items():
        for key in keys:
            place = name.startswith("turn."), key
            assert seen.setdefault(place, name) == name, (key, seen[place], name)


async def _says(chat: Chat, command: str, kind: str = "error") -> str:
    """Run a command and return what it says."""

    def said() -> list[str]:
        return chat.errors() if kind == "error" else chat.notices()

    before = len(said())
    await chat.ask(command)
    await chat.until(lambda: len(said()) > before)
    return said()[-1]


async def test_what_cannot_be_done_in_an_empty_chat(tmp_path: Path) -> None:
    with running(FakeEngine()) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            for name, reason in IN_AN_EMPTY_CHAT.items():
                assert reason in await _says(chat, f"/{name} x"), name
            assert chat.app.screen is chat.screen and chat.session.path == []


async def test_what_cannot_be_done_when_nothing_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLMCHAT_CHAT__SAVE", "false")
    with running(FakeEngine()) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            await chat.ask("Hello?")
            await chat.answered()
            for name in NOT_SAVED:
                assert NOT_KEPT in await _says(chat, f"/{name} x"), name


async def test_what_cannot_be_done_while_the_model_answers(tmp_path: Path) -> None:
    replies = [Reply(["Done."]), Reply(["On "], delay=0.02, forever=True)]
    with running(FakeEngine(Script(replies=replies))) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            await chat.ask("Hello?")
            await chat.answered()
            await chat.ask("And?")
            await chat.until(lambda: len(chat.replies) == 2 and chat.replies[1].text)
            for name in WHILE_ANSWERING:
                assert "is answering" in await _says(chat, f"/{name}"), name
            await chat.ask("/stop")
            await chat.answered(2)
            assert "There is no other version" in await _says(chat, "/next")


async def test_parameters_wait_for_the_settings(tmp_path: Path) -> None:
    with running(FakeEngine()) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            assert find("parameters").available(chat.screen) is None
            chat.screen.engine_changer.settings = None
            assert "still being read" in await _says(chat, "/parameters")


async def test_the_system_prompt_is_set_shown_and_removed(tmp_path: Path) -> None:
    with running(FakeEngine()) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            assert "There is no system prompt" in await _says(chat, "/system", "note")
            await chat.ask("/system Be [brief].")
            await chat.until(lambda: chat.screen.query(SystemTurn))
            assert "Be [brief]." in chat.text()
            await chat.ask("Hello?")
            await chat.answered()
            assert "There is no system prompt" in await _says(chat, "/system none", "note")
            await chat.ask("Hello again?")
            await chat.answered(2)
    first, second = (request["messages"] for request in fake.requests)
    assert first[0] == {"role": "system", "content": "Be [brief]."}
    assert second[0]["role"] == "user"


async def test_a_parameter_is_set_and_shown(tmp_path: Path) -> None:
    with running(FakeEngine()) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            assert "temperature: 0.25" in await _says(chat, "/set temperature 0.25", "note")
            assert "top_p: the engine's default" in await _says(chat, "/set top-p", "note")
            everything = await _says(chat, "/set", "note")
            assert "temperature: 0.25" in everything and "stop: none" in everything
            await chat.ask("Hello?")
            await chat.answered()
            assert "the engine's default" in await _says(chat, "/set temperature default", "note")
    assert fake.requests[0]["temperature"] == 0.25


async def test_what_can_be_copied(tmp_path: Path) -> None:
    with running(FakeEngine(Script(replies=[Reply([CODE])]))) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            await chat.ask("Show me")
            await chat.answered()
            one, two = code_blocks(CODE)
            whole = f"user: Show me\n\nassistant: {CODE}"
            for typed, copied in (
                ("/copy", CODE),
                ("/copy code", one),
                ("/copy code 2", two),
                ("/copy all", whole),
            ):
                await chat.ask(typed)
                await chat.until(partial(_clipboard_is, chat, copied))
            assert "code blocks 1 to 2" in await _says(chat, "/copy code 3")
            assert "Copy takes" in await _says(chat, "/copy this")
            for number, copied in ((1, one), (2, two), (1, one)):
                assert f"Code block {number} of 2" in await _says(chat, "/copy-code", "note")
                assert chat.app.clipboard == copied


def _clipboard_is(chat: Chat, text: str) -> bool:
    return chat.app.clipboard == text


async def _two_conversations(chat: Chat) -> None:
    await chat.ready()
    await chat.ask("Where is the harbour?")
    await chat.answered()
    await chat.ask("/new")
    await chat.until(lambda: not chat.session.path)
    await chat.ask("What colour is the boat?")
    await chat.answered()


def _first(chat: Chat) -> str:
    return chat.session.path[0].text if chat.session.path else ""


async def test_a_conversation_is_opened_by_number_or_words(tmp_path: Path) -> None:
    with running(FakeEngine()) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await _two_conversations(chat)
            await chat.ask("/chats 1")
            await chat.until(lambda: _first(chat) == "Where is the harbour?")
            await chat.ask("/chats COLOUR")
            await chat.until(lambda: _first(chat) == "What colour is the boat?")
            assert "No conversation is called “[x]”" in await _says(chat, "/chats [x]")
            assert _first(chat) == "What colour is the boat?"


async def test_a_hit_of_the_search_is_gone_to(tmp_path: Path) -> None:
    with running(FakeEngine(Script(replies=[Reply(["At the [sea]\n\nfront."])]))) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await _two_conversations(chat)
            await chat.ask("/search harbour")
            await chat.until(lambda: isinstance(chat.app.screen, SearchScreen))
            await chat.until(lambda: "1 found" in chat.text())
            await chat.pilot.press("enter")
            await chat.until(lambda: _first(chat) == "Where is the harbour?")
            await chat.until(lambda: chat.screen.selected() is chat.session.path[0])
            await chat.pilot.press("escape", "ctrl+f")
            await chat.until(lambda: isinstance(chat.app.screen, SearchScreen))
            await chat.pilot.press(*"front")
            await chat.until(lambda: "2 found" in chat.text())
            assert "At the [sea] front." in chat.text()
            await chat.pilot.press(*"zzz")
            await chat.until(lambda: "Nothing found." in chat.text())
            await chat.pilot.press("enter", "escape")
            await chat.until(lambda: chat.app.screen is chat.screen)
            assert _first(chat) == "Where is the harbour?"


async def test_finding_in_this_conversation(tmp_path: Path) -> None:
    long = "word " * 100 + "the [needle] here " + "word " * 100
    with running(FakeEngine(Script(replies=[Reply([long]), Reply(["No."])]))) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            for count, text in enumerate(("One?", "Two?"), 1):
                await chat.ask(text)
                await chat.answered(count)
            await chat.pilot.press("f3")
            await chat.until(lambda: isinstance(chat.app.screen, FindScreen))
            await chat.pilot.press(*"NEEDLE")
            await chat.until(lambda: "1 found" in chat.text() and "[needle]" in chat.text())
            await chat.pilot.press("enter")
            await chat.until(lambda: chat.screen.selected() is chat.replies[0])


def _threads(archived: bool = False) -> list[Thread]:
    with Store(paths.data_dir()) as store:
        return store.threads(archived=archived)


async def test_rename_pin_and_archive(tmp_path: Path) -> None:
    with running(FakeEngine()) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await _two_conversations(chat)
            await chat.ask("/chats 1")
            await chat.until(lambda: _first(chat) == "Where is the harbour?")
            assert "Write the title" in await _says(chat, "/rename")
            assert "“My [b] harbour”" in await _says(chat, "/rename My [b] harbour", "note")
            assert [x.title for x in _threads()][-1] == "My [b] harbour"
            assert "stays at the top" in await _says(chat, "/pin", "note")
            assert next((x.title, x.pinned) for x in _threads()) == ("My [b] harbour", True)
            assert "where its date puts it" in await _says(chat, "/pin", "note")
            assert not any(x.pinned for x in _threads())
            assert "is archived" in await _says(chat, "/archive", "note")
            assert [x.title for x in _threads(archived=True)] == ["My [b] harbour"]
            assert "in the list again" in await _says(chat, "/archive", "note")
            assert _threads(archived=True) == []


async def test_delete_and_undelete(tmp_path: Path) -> None:
    with running(FakeEngine()) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await _two_conversations(chat)
            assert "/undelete brings it back" in await _says(chat, "/delete", "note")
            assert chat.session.path == []
            assert [x.title for x in _threads()] == ["Where is the harbour?"]
            await chat.ask("/undelete")
            await chat.until(lambda: _first(chat) == "What colour is the boat?")
            assert len(_threads()) == 2
            assert "Nothing was deleted" in await _says(chat, "/undelete")


async def test_help_and_quit(tmp_path: Path) -> None:
    with running(FakeEngine()) as fake:
        async with chatting(overrides=remote(fake.url), size=(120, 400)) as chat:
            await chat.ready()
            await chat.ask("/help")
            await chat.until(lambda: isinstance(chat.app.screen, HelpPager))
            text = chat.text()
            assert [x.name for x in COMMANDS if f"/{x.name}" not in text] == []
            await chat.pilot.press("escape")
            await chat.until(lambda: chat.app.screen is chat.screen)
            await chat.ask("/quit")
            await chat.until(lambda: not chat.app.is_running)
            assert chat.app.return_code == 0
