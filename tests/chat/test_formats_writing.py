"""Files appear whole or not at all; Markdown, HTML and training rows say what they should."""

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from tests.chat.conversations import BLUE, RED, example, said
from vlmchat.chat.conversation import Conversation, Entry
from vlmchat.chat.formats.plain import plain_lines, tree_lines
from vlmchat.chat.formats.writing import Format, export_to, format_named
from vlmchat.chat.messages import ImagePart, Message, TextPart, user_message
from vlmchat.errors import MediaError, UsageError, VlmchatError


def exchange(question: str, answer: str, **values: Any) -> Conversation:
    entries = (
        Entry("q", None, user_message(question), "person"),
        Entry("a", "q", said(answer), "model"),
    )
    return Conversation("u", "T", tip="a", entries=entries, **values)


def written(tmp_path: Path, form: Format, *conversations: Conversation, **options: Any) -> str:
    path = tmp_path / f"out-{form}"
    export_to(path, form, conversations, force=True, **options)
    return path.read_text("utf-8")


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def rows(tmp_path: Path, form: Format, **options: Any) -> list[dict[str, Any]]:
    text = written(tmp_path, form, example(), **options)
    return [json.loads(line) for line in text.splitlines()]


# Files -----------------------------------------------------------------------------------------


def test_an_existing_file_is_replaced_only_when_told(tmp_path: Path) -> None:
    path = tmp_path / "x.md"
    path.write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        export_to(path, "markdown", [example()])
    assert path.read_text() == "mine" and names(tmp_path) == ["x.md"]
    export_to(path, "markdown", [example()], force=True)
    assert path.read_text("utf-8").startswith("---\n")


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    def gone() -> bytes:
        raise MediaError("The picture is gone.")

    lost = replace(BLUE, read=gone)
    bad = Entry("x", None, Message("user", (ImagePart(RED), ImagePart(lost))), "person")
    conversation = Conversation("c", tip="x", entries=(bad,))
    for form in ("markdown", "html", "json", "jsonl"):
        with pytest.raises(MediaError, match="gone"):
            export_to(tmp_path / "x", format_named(form), [conversation])
        assert names(tmp_path) == []


def test_what_was_there_survives_a_failure(tmp_path: Path) -> None:
    export_to(tmp_path / "x.jsonl", "jsonl", [example()])
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    with pytest.raises(UsageError, match="nothing to write"):
        export_to(tmp_path / "x.jsonl", "kto", [exchange("q", "a")], force=True)
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before
    assert "conv-1" in (tmp_path / "x.jsonl").read_text("utf-8")


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(VlmchatError, match="No such file"):
        export_to(tmp_path / "none" / "x.md", "markdown", [example()])
    with pytest.raises(UsageError, match="folder"):
        export_to(tmp_path, "markdown", [example()], force=True)
    with pytest.raises(UsageError, match="no format"):
        format_named("pdf")
    with pytest.raises(UsageError, match="one file"):
        export_to(tmp_path / "x.html", "html", [example()], media="beside")


def test_pictures_beside_are_written_once_and_mended(tmp_path: Path) -> None:
    done = export_to(tmp_path / "x.md", "markdown", [example(), example()])
    (picture,) = (tmp_path / "x_media").iterdir()
    assert picture.name == f"{RED.sha256}.png" and picture.read_bytes() == RED.data
    assert str(done) == (
        f"2 conversations written to {tmp_path}/x.md, 1 picture in {tmp_path}/x_media."
        if len(str(tmp_path)) < 45
        else str(done)
    )
    picture.write_bytes(b"cut off")
    export_to(tmp_path / "x.md", "markdown", [example()], force=True)
    assert picture.read_bytes() == RED.data


# Markdown --------------------------------------------------------------------------------------


def test_markdown(tmp_path: Path) -> None:
    text = written(tmp_path, "markdown", example())
    assert text.startswith('---\ntitle: "A picture"\nuid: "conv-1"\ncreated: "2023-11-1')
    assert 'system: "Be brief."' in text
    html = MarkdownIt().render(text.split("---\n", 2)[2])
    assert "<h1>A picture</h1>" in html
    assert html.count("<h2>You</h2>") == 2 and "<h2>smolvlm</h2>" in html
    assert f'src="out-markdown_media/{RED.sha256}.png" alt="red.png"' in html
    assert "What is &lt;b&gt;it&lt;/b&gt;?" in html
    assert "A disc." in html and "A ball." not in html
    embedded = written(tmp_path, "markdown", example(), media="embed")
    assert "](data:image/png;base64," in embedded


@pytest.mark.parametrize(
    "typed",
    [
        "# no heading *no* _emphasis_ [no](link) <b> `code` &amp; 1. | $x$",
        "- no list",
        "1. no list",
        "12) no list",
        "one line\nand another",
        "=====",
        "a \\ backslash at the end \\",
    ],
)
def test_what_a_person_typed_is_seen_as_it_was_typed(tmp_path: Path, typed: str) -> None:
    text = written(tmp_path, "markdown", exchange(typed, "ok"))
    tokens = MarkdownIt().parse(text.split("---\n", 2)[2])
    kinds = [token.type for token in tokens]
    begin = next(i for i, token in enumerate(tokens) if token.content == "You") + 2
    inline = tokens[begin + 1] if kinds[begin] == "paragraph_open" else tokens[begin]
    seen = inline.content
    if inline.children:
        seen = "".join(
            "\n" if child.type in ("hardbreak", "softbreak") else child.content
            for child in inline.children
        )
    assert seen.strip() == typed.strip()


def test_code_that_a_person_typed_is_fenced(tmp_path: Path) -> None:
    code = "def f():\n    return '```'\n"
    html = MarkdownIt().render(written(tmp_path, "markdown", exchange(code, "ok")))
    assert "def f():\n    return '```'\n</code>" in html


def test_a_reply_cannot_disturb_what_is_around_it(tmp_path: Path) -> None:
    answer = "<script>x</script> `<b>` <!-- \n```python\n<i>\n~~~\n"
    conversation = exchange("q", answer)
    after = Entry("z", "a", user_message("After"), "person")
    text = written(
        tmp_path, "markdown", replace(conversation, tip="z", entries=(*conversation.entries, after))
    )
    html = MarkdownIt().render(text.split("---\n", 2)[2])
    assert "<script>" not in html and "&lt;script&gt;" in html
    assert "<code>&lt;b&gt;</code>" in html and "<h2>You</h2>\n<p>After</p>" in html


# HTML ------------------------------------------------------------------------------------------


class _Tags(HTMLParser):
    _VOID = frozenset({"meta", "img", "br", "hr"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self._VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self._VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def parsed(text: str) -> _Tags:
    tags = _Tags()
    tags.feed(text)
    assert tags.open == []
    return tags


def test_html(tmp_path: Path) -> None:
    tags = parsed(written(tmp_path, "html", example()))
    text = " ".join(tags.text)
    (image,) = [attrs for tag, attrs in tags.seen if tag == "img"]
    assert (image["src"] or "").startswith("data:image/png;base64,")
    for shown in ("A picture", "What is <b>it</b>?", "A ball.", "Another beginning", "Well"):
        assert shown in text
    assert text.count("Version") == 4 and "How it was made" in text and "temperature" in text
    assert not [tag for tag, _ in tags.seen if tag in ("script", "link", "iframe")]
    assert "em" in [tag for tag, _ in tags.seen]  # replies are Markdown


def test_html_loads_and_runs_nothing(tmp_path: Path) -> None:
    nasty = "<script>x</script> ![a](http://evil/x.png) [b](javascript:alert(1)) <img src=x>"
    conversation = exchange(nasty, nasty, system=nasty)
    text = written(tmp_path, "html", replace(conversation, title=f"{nasty}\x1b\u202e"))
    tags = parsed(text)
    assert not [tag for tag, _ in tags.seen if tag in ("script", "img")]
    assert all("javascript" not in (attrs.get("href") or "") for _, attrs in tags.seen)
    assert "\x1b" not in text and "\u202e" not in text


def test_deep_and_bushy_trees_are_written(tmp_path: Path) -> None:
    entries: list[Entry] = []
    parent = None
    for number in range(3_000):  # each level has an older sibling that goes on
        entries.append(Entry(f"{number}", parent, user_message(str(number)), "person"))
        entries.append(Entry(f"{number}'", parent, user_message("side"), "person"))
        parent = f"{number}"
    conversation = Conversation("deep", tip="2999'", entries=tuple(entries))
    for form in ("markdown", "html", "json", "jsonl"):
        assert len(written(tmp_path, format_named(form), conversation)) > 10_000
    assert len(list(tree_lines(conversation))) == 6_001
    beside = replace(conversation, tip="0'")
    assert "2999" in written(tmp_path, "html", beside)


# Plain text ------------------------------------------------------------------------------------


def test_plain_text() -> None:
    lines = list(plain_lines(example(), str))
    assert lines[0] == "A picture" and "[System]" in lines
    region = "the part of 29 × 38 pixels at 1, 2"
    assert f"(picture: red.png, 64 × 48, {region})" in lines
    assert "[Assistant, as you wrote it] (2/3, corrects another version)" in lines
    assert "[smolvlm] (1/2, rated good)" in lines and lines[-1] == "Yes."
    tree = list(tree_lines(example()))
    assert tree[1] == "* You: (red.png) What is <b>it</b>?"
    assert tree[2] == "  - smolvlm: A *square*. (rated bad)"
    assert tree[-1] == "- You: Another beginning"


# Training --------------------------------------------------------------------------------------


def text_in(messages: list[dict[str, Any]]) -> list[str]:
    return [part["text"] for row in messages for part in row["content"] if part["type"] == "text"]


def test_sft(tmp_path: Path) -> None:
    found = rows(tmp_path, "sft")
    assert [row["source"] for row in found] == [
        {"conversation": "conv-1", "message": uid} for uid in ("b", "e")
    ]
    assert text_in(found[0]["messages"]) == ["Be brief.", "What is <b>it</b>?", "A disc."]
    image = found[0]["messages"][1]["content"][0]
    assert (tmp_path / image["path"]).read_bytes() == RED.data
    assert text_in(found[1]["messages"])[-2:] == ["Sure?", "Yes."]
    every = [row["source"]["message"] for row in rows(tmp_path, "sft", every=True)]
    assert every == ["b", "c", "e"]  # neither the bad one nor the one that was stopped


def test_kto(tmp_path: Path) -> None:
    found = {row["source"]["message"]: row for row in rows(tmp_path, "kto")}
    assert {uid: row["label"] for uid, row in found.items()} == {"a": False, "b": True, "e": True}
    row = found["e"]
    assert [message["role"] for message in row["prompt"]] == [
        *("system", "user", "assistant", "user"),
    ]
    # TRL finds the picture in the list; which part of it was meant is there for who asks.
    assert row["prompt"][1]["content"][0] == {"type": "image", "region": [1, 2, 30, 40]}
    assert len(row["images"]) == 1
    assert text_in(row["completion"]) == ["Yes."]


def test_preference(tmp_path: Path) -> None:
    found = rows(tmp_path, "preference")
    pairs = [(text_in(row["chosen"])[0], text_in(row["rejected"])[0]) for row in found]
    assert pairs == [("A disc.", "A *square*."), ("A ball.", "A *square*.")]
    assert found[0]["source"] == {"conversation": "conv-1", "message": "b", "rejected": "a"}
    assert text_in(found[0]["prompt"]) == ["Be brief.", "What is <b>it</b>?"]


def test_a_training_set_without_rows_is_refused(tmp_path: Path) -> None:
    plain = exchange("q", "a")
    for form in ("sft", "kto", "preference"):
        with pytest.raises(UsageError, match="nothing to write"):
            export_to(tmp_path / "x", format_named(form), [plain])
    assert names(tmp_path) == []
    entries = (plain.entries[0], replace(plain.entries[1], message=Message("assistant", ())))
    with pytest.raises(UsageError):
        export_to(tmp_path / "x", "sft", [replace(plain, entries=entries)], every=True)
    assert TextPart("a") in plain.entries[1].message.parts
