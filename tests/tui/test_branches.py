"""The tree: other versions of what was said, and going between them."""

from pathlib import Path

from textual.widgets import OptionList

from tests.fake_engine import FakeEngine, Reply, Script, running
from tests.pictures import saved
from tests.tui.driving import Chat, chatting, remote
from vlmchat import paths
from vlmchat.store.store import Store
from vlmchat.tui.screens.branches import TreeScreen
from vlmchat.tui.screens.comparison import Comparison, marked
from vlmchat.tui.screens.provenance import ProvenancePager
from vlmchat.tui.widgets.turns import TurnView

REPLIES = [Reply([text]) for text in ("One.", "Two.", "Three.", "Four.")]


def heads(chat: Chat) -> list[str]:
    return [view.head() for view in chat.screen.query(TurnView)]


async def test_regenerating_makes_a_sibling(tmp_path: Path) -> None:
    with running(FakeEngine(Script(replies=REPLIES))) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            await chat.ask("Hello?")
            await chat.answered()
            await chat.ask("/regenerate")
            await chat.until(lambda: [t.text for t in chat.replies] == ["Two."])
            await chat.answered()
            assert heads(chat) == ["You", "Fake VLM ‹2/2›"]
            await chat.ask("More?")
            await chat.answered(2)
            await chat.ask("/previous")  # the newest turn with versions
            await chat.until(lambda: [t.text for t in chat.replies] == ["One."])
            assert heads(chat) == ["You", "Fake VLM ‹1/2›"]
            await chat.pilot.press("alt+right")
            await chat.until(lambda: [t.text for t in chat.replies] == ["Two.", "Three."])
        assert [row["content"] for row in fake.requests[1]["messages"]] == ["Hello?"]
        async with chatting(overrides=remote(fake.url), resume=True) as chat:
            await chat.until(lambda: [t.text for t in chat.replies] == ["Two.", "Three."])
            await chat.until(lambda: "Fake VLM ‹2/2›" in heads(chat))


async def test_the_new_version_has_the_focus_of_the_old_one(tmp_path: Path) -> None:
    with running(FakeEngine(Script(replies=REPLIES))) as fake:
        async with chatting(overrides=remote(fake.url), attach=[saved(tmp_path / "a.png")]) as chat:
            await chat.ready()
            await chat.until(lambda: chat.screen.attachments.media)
            await chat.ask("Hello?")
            await chat.answered()
            await chat.screen.go_to(chat.replies[0])
            await chat.pilot.press("r")
            await chat.until(lambda: [t.text for t in chat.replies] == ["Two."])
            await chat.answered()
            await chat.until(lambda: chat.screen.selected() is chat.replies[0])
            await chat.pilot.press("left")
            await chat.until(lambda: [t.text for t in chat.replies] == ["One."])
            await chat.until(lambda: chat.screen.selected() is chat.replies[0])


async def test_a_question_is_edited_with_its_pictures(tmp_path: Path) -> None:
    photo = saved(tmp_path / "photo.png")
    with running(FakeEngine(Script(replies=REPLIES))) as fake:
        async with chatting(overrides=remote(fake.url), attach=[photo]) as chat:
            await chat.ready()
            await chat.until(lambda: chat.screen.attachments.media)
            await chat.ask("What is it")
            await chat.answered()
            await chat.ask("Sure?")
            await chat.answered(2)
            await chat.screen.go_to(chat.session.path[0])
            await chat.pilot.press("e")
            assert chat.composer.text == "What is it" and chat.composer.has_focus
            assert "Editing the question" in str(chat.screen.query_one("#prompt").border_title)
            await chat.type("?")
            await chat.pilot.press("enter")
            await chat.until(lambda: [t.text for t in chat.replies] == ["Three."])
            await chat.answered()
            assert heads(chat)[0] == "You ‹2/2›"
            assert not chat.screen.query_one("#prompt").border_title
            sent = fake.requests[-1]["messages"]
            assert len(sent) == 1 and sent[0]["content"][0]["type"] == "image_url"
            assert sent[0]["content"][1]["text"] == "What is it?"


async def test_leaving_an_edit_leaves_the_turn(tmp_path: Path) -> None:
    with running(FakeEngine(Script(replies=REPLIES))) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            await chat.ask("Hello?")
            await chat.answered()
            await chat.ask("/edit")
            await chat.until(lambda: chat.composer.text == "Hello?")
            await chat.pilot.press("escape")
            await chat.until(lambda: not chat.screen.query_one("#prompt").border_title)
            assert chat.composer.text == ""
            await chat.ask("Next?")
            await chat.answered(2)
            assert [t.text for t in chat.session.path] == ["Hello?", "One.", "Next?", "Two."]


async def test_an_answer_is_corrected_and_gone_on_from(tmp_path: Path) -> None:
    with running(FakeEngine(Script(replies=REPLIES))) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            await chat.ask("Hello?")
            await chat.answered()
            await chat.screen.go_to(chat.replies[0])
            await chat.pilot.press("e")
            chat.composer.clear()
            await chat.ask("What I would have said.")
            await chat.until(lambda: chat.replies[0].text == "What I would have said.")
            await chat.until(lambda: heads(chat)[1] == "Assistant ‹2/2›")
            await chat.ask("Go on.")
            await chat.answered(2)
        sent = [row["content"] for row in fake.requests[-1]["messages"]]
        assert sent == ["Hello?", "What I would have said.", "Go on."]
    with Store(paths.data_dir()) as store:
        (thread,) = store.threads()
        first, corrected = store.conversation(thread.id).entries[1:3]
        assert corrected.author == "person" and corrected.labels[0].kind == "correction"
        assert corrected.labels[0].other == first.uid


async def test_a_cut_answer_is_continued(tmp_path: Path) -> None:
    replies = [Reply(["It is ", "a"], finish="length"), Reply([" cat", "."])]
    with running(FakeEngine(Script(replies=replies))) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            await chat.ask("What is it?")
            await chat.answered()
            assert "cut short" in chat.answers()[0]
            await chat.ask("/continue")
            await chat.until(lambda: chat.replies[0].text == "It is a cat.")
            await chat.answered()
            assert heads(chat)[1] == "Fake VLM ‹2/2›"
            assert "It is a cat." in chat.answers()[0]
        assert fake.requests[-1]["continue_final_message"] is True
        assert fake.requests[-1]["messages"][-1] == {"role": "assistant", "content": "It is a"}


async def test_what_comes_to_nothing_leaves_the_old_version(tmp_path: Path) -> None:
    replies = [Reply(["One."]), Reply(status=500, body="{}"), Reply(["Two."])]
    with running(FakeEngine(Script(replies=replies))) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            await chat.ask("Hello?")
            await chat.answered()
            await chat.ask("/regenerate")
            await chat.until(chat.errors)
            await chat.until(lambda: not chat.session.answering)
            assert [t.text for t in chat.session.path] == ["Hello?", "One."]
            assert heads(chat) == ["You", "Fake VLM"]


async def test_a_fork_is_a_conversation_of_its_own(tmp_path: Path) -> None:
    with running(FakeEngine(Script(replies=REPLIES))) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            for number, text in enumerate(("First?", "Second?"), 1):
                await chat.ask(text)
                await chat.answered(number)
            await chat.screen.go_to(chat.session.path[1])
            await chat.pilot.press("f")
            await chat.until(lambda: [t.text for t in chat.session.path] == ["First?", "One."])
            chat.composer.focus()
            await chat.ask("Otherwise?")
            await chat.answered(2)
    with Store(paths.data_dir()) as store:
        fork, original = store.threads()
        texts = [[n.message.text for n in store.path(t.id)] for t in (original, fork)]
    assert texts[0] == ["First?", "One.", "Second?", "Two."]
    assert texts[1] == ["First?", "One.", "Otherwise?", "Three."]
    assert original.title == "First?" and fork.title == "First? (fork)"


async def test_rating_is_saved_and_shown(tmp_path: Path) -> None:
    with running(FakeEngine(Script(replies=REPLIES))) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            await chat.ask("Hello?")
            await chat.answered()
            await chat.ask("/bad")
            await chat.until(lambda: "rated bad" in heads(chat)[1])
            await chat.ask("/regenerate")
            await chat.until(lambda: [t.text for t in chat.replies] == ["Two."])
            await chat.answered()
            await chat.screen.go_to(chat.replies[0])
            await chat.pilot.press("plus")
            await chat.until(lambda: "rated good" in heads(chat)[1])
            await chat.pilot.press("asterisk")
            await chat.until(lambda: "the better one" in heads(chat)[1])
        with Store(paths.data_dir()) as store:
            (thread,) = store.threads()
            _, one, two = store.conversation(thread.id).entries
        assert [label.kind for label in one.labels] == ["bad"]
        assert [(label.kind, label.other) for label in two.labels] == [
            ("good", ""),
            ("better", one.uid),
        ]
        async with chatting(overrides=remote(fake.url), resume=True) as chat:
            await chat.until(lambda: "rated good" in "".join(heads(chat)))
            await chat.ask("/good")  # once more takes it back
            await chat.until(lambda: "rated" not in "".join(heads(chat)))


async def test_the_tree_shows_where_one_is_and_leads_elsewhere(tmp_path: Path) -> None:
    with running(FakeEngine(Script(replies=REPLIES))) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            await chat.ask("Hello?")
            await chat.answered()
            await chat.ask("/regenerate")
            await chat.until(lambda: [t.text for t in chat.replies] == ["Two."])
            await chat.answered()
            await chat.ask("/tree")
            await chat.until(lambda: isinstance(chat.app.screen, TreeScreen))
            lines = chat.app.screen.query_one(OptionList)
            texts = [str(lines.get_option_at_index(n).prompt) for n in range(3)]
            assert texts == [
                "● You: Hello?",
                "├─○ ‹1/2› Assistant: One.",
                "└─● ‹2/2› Assistant: Two.",
            ]
            assert lines.highlighted == 2
            await chat.pilot.press("up", "enter")
            await chat.until(lambda: [t.text for t in chat.replies] == ["One."])


async def test_two_versions_side_by_side(tmp_path: Path) -> None:
    with running(FakeEngine(Script(replies=REPLIES))) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            await chat.ask("Hello?")
            await chat.answered()
            await chat.ask("/compare")
            await chat.until(lambda: "only one version" in "".join(chat.errors()))
            await chat.ask("/regenerate")
            await chat.until(lambda: [t.text for t in chat.replies] == ["Two."])
            await chat.answered()
            await chat.ask("/compare")
            await chat.until(lambda: isinstance(chat.app.screen, Comparison))
            await chat.until(lambda: "‹1/2›" in chat.text() and "‹2/2›" in chat.text())
            await chat.pilot.press("less_than_sign")
            await chat.until(lambda: "better" in chat.text())
            await chat.pilot.press("1")
            await chat.until(lambda: [t.text for t in chat.replies] == ["One."])
            assert [label.kind for label in chat.replies[0].labels] == ["better"]


def test_what_differs_is_marked() -> None:
    left, right = marked("A red circle.", "A blue circle. [b]")
    assert left.plain == "A red circle." and right.plain == "A blue circle. [b]"
    assert [left.plain[span.start : span.end] for span in left.spans] == ["red"]
    assert [right.plain[s.start : s.end] for s in right.spans] == ["blue", " [b]"]


async def test_what_produced_an_answer_is_shown(tmp_path: Path) -> None:
    with running(FakeEngine(Script(replies=REPLIES))) as fake:
        async with chatting(overrides=remote(fake.url), size=(100, 40)) as chat:
            await chat.ready()
            await chat.ask("/set temperature 0.25")
            await chat.ask("Hello?")
            await chat.answered()
            await chat.screen.go_to(chat.replies[0])
            await chat.pilot.press("i")
            await chat.until(lambda: isinstance(chat.app.screen, ProvenancePager))
            await chat.until(lambda: "0.25" in chat.text() and "prompt tokens" in chat.text())


async def test_walking_through_the_turns(tmp_path: Path) -> None:
    with running(FakeEngine(Script(replies=REPLIES))) as fake:
        async with chatting(overrides=remote(fake.url)) as chat:
            await chat.ready()
            for number, text in enumerate(("First?", "Second?"), 1):
                await chat.ask(text)
                await chat.answered(number)
            await chat.pilot.press("alt+up")
            await chat.until(lambda: chat.screen.selected() is chat.replies[1])
            await chat.pilot.press("up", "up")
            await chat.until(lambda: chat.screen.selected() is chat.replies[0])
            await chat.pilot.press("home")
            await chat.until(lambda: chat.screen.selected() is chat.session.path[0])
            await chat.pilot.press("c")
            await chat.until(lambda: chat.app.clipboard == "First?")
            await chat.pilot.press("escape")
            await chat.until(lambda: chat.composer.has_focus)
