"""One HTML file for people to read: pictures inside, every branch, nothing fetched, no scripts.

Of a video there are the frames that the model got, each with its time.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from typing import TypeAlias

from vlmchat.chat.conversation import Conversation, Entry
from vlmchat.chat.formats.described import (
    children_of,
    date_of,
    facts_of,
    frames_line,
    length_line,
    moment_of,
    newest_chain,
    region_line,
    remarks_of,
    speaker_of,
    title_of,
)
from vlmchat.chat.formats.values import Link, Views
from vlmchat.chat.messages import ImagePart, Media, VideoPart
from vlmchat.errors import VlmchatError
from vlmchat.text import visible, visible_line

# Nothing is ever loaded from elsewhere, whatever a model has written.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light dark; --edge: #c9d1d9; --soft: #57606a; --you: #eef3f8; --ink: #1b1f24;
  --paper: #fff; --link: #0a58b8; }
@media (prefers-color-scheme: dark) { :root { --edge: #3a434d; --soft: #a3adb8; --you: #1c2530;
  --ink: #e4e8ec; --paper: #11161b; --link: #7cb7ff; } }
body { background: var(--paper); color: var(--ink); font: 1rem/1.55 system-ui, sans-serif;
  max-width: 46rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; } h2 { font-size: 1rem; margin: 0 0 .4rem; }
article { border-left: 3px solid var(--edge); padding: .5rem .9rem; margin: 1rem 0; }
article.user { background: var(--you); } article.system { border-left-style: dotted; }
.about, .remarks, summary, dl { color: var(--soft); font-size: .875rem; }
.said { white-space: pre-wrap; } a { color: var(--link); }
img { max-width: 100%; max-height: 24rem; height: auto; display: block; margin: .4rem 0; }
figure { margin: 0; } .frames { display: flex; flex-wrap: wrap; gap: .5rem; }
.frames figure { max-width: 10rem; } .frames img { margin: .2rem 0; }
figcaption { color: var(--soft); font-size: .8rem; }
pre { overflow-x: auto; border: 1px solid var(--edge); padding: .6rem; white-space: pre; }
table { border-collapse: collapse; } td, th { border: 1px solid var(--edge); padding: .2rem .5rem; }
details.branch { border: 1px dashed var(--edge); padding: .2rem .8rem; margin: .5rem 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: .4rem 0; }
dd { margin: 0; } section + section { border-top: 2px solid var(--edge); margin-top: 3rem; }
"""


@dataclass(frozen=True, slots=True)
class _Chain:
    """A branch that is still to be written."""

    start: Entry


_Piece: TypeAlias = str | Entry | _Chain


def html_chunks(
    conversations: Iterable[Conversation], link: Link, views: Views | None = None
) -> Iterator[str]:
    """Yield the file piece by piece.

    Args:
        conversations: what is written.
        link: is to return data: URLs.
        views: shows frames and cut-outs; without, words say which they are.
    """
    found = list(conversations)
    title = title_of(found[0]) if len(found) == 1 else f"{len(found)} conversations"
    yield (
        '<!doctype html>\n<html lang="und">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
    )
    for conversation in found:
        yield "<section>\n" + _head(conversation)
        yield from _tree(conversation, link, views)
        yield "</section>\n"
    yield "</body>\n</html>\n"


def _head(conversation: Conversation) -> str:
    dates = [date_of(conversation.created), visible_line(conversation.uid)]
    about = escape(" · ".join(part for part in dates if part))
    head = f'<h1>{escape(title_of(conversation))}</h1>\n<p class="about">{about}</p>\n'
    if not conversation.system:
        return head
    said = escape(visible(conversation.system))
    return f'{head}<article class="system"><h2>System</h2><p class="said">{said}</p></article>\n'


def _tree(conversation: Conversation, link: Link, views: Views | None) -> Iterator[str]:
    """Yield the current path, with the branches that leave it folded where they leave it.

    Trees can be deeper than Python may call, so what is left to write is kept in a list.
    """
    children = children_of(conversation)
    path = list(conversation.path())
    if not path and conversation.entries:
        path = newest_chain(conversation.entries[0], children)
    waiting: list[_Piece] = list(reversed(_chain(path, children, siblings_of_first=True)))
    while waiting:
        piece = waiting.pop()
        if isinstance(piece, str):
            yield piece
        elif isinstance(piece, Entry):
            yield from _entry(piece, link, views)
        else:
            chain = newest_chain(piece.start, children)
            waiting += reversed(_chain(chain, children, siblings_of_first=False))


def _chain(
    chain: Sequence[Entry],
    children: Mapping[str | None, Sequence[Entry]],
    *,
    siblings_of_first: bool,
) -> list[_Piece]:
    pieces: list[_Piece] = []
    for number, entry in enumerate(chain):
        pieces.append(entry)
        siblings = children[entry.parent]
        if len(siblings) > 1 and (number or siblings_of_first):
            for place, other in enumerate(siblings, 1):
                if other.uid != entry.uid:
                    name = f"Version {place} of {len(siblings)}"
                    pieces += [f'<details class="branch"><summary>{name}</summary>\n']
                    pieces += [_Chain(other), "</details>\n"]
    if chain and (below := children.get(chain[-1].uid)):  # it was left before the end
        for other in below:
            pieces += ['<details class="branch"><summary>What followed</summary>\n']
            pieces += [_Chain(other), "</details>\n"]
    return pieces


def _entry(entry: Entry, link: Link, views: Views | None) -> Iterator[str]:
    role = entry.message.role
    yield f'<article class="{role}">\n<h2>{escape(speaker_of(entry))}</h2>\n'
    for part in entry.message.parts:
        if isinstance(part, VideoPart):
            yield _video(part, link, views)
        elif isinstance(part, ImagePart):
            yield _picture(part, link, views)
        elif part.text.strip():
            text = visible(part.text)
            typed = f'<p class="said">{escape(text)}</p>\n'
            yield _markdown()(text) if role == "assistant" else typed
    remarks = remarks_of(entry)
    if remarks:
        yield f'<p class="remarks">{escape(", ".join(remarks))}</p>\n'
    if entry.provenance is not None and (facts := facts_of(entry.provenance)):
        rows = "".join(f"<dt>{escape(a)}</dt><dd>{escape(b)}</dd>" for a, b in facts)
        yield f"<details><summary>How it was made</summary><dl>{rows}</dl></details>\n"
    yield "</article>\n"


def _picture(part: ImagePart, link: Link, views: Views | None) -> str:
    media, name = part.media, visible_line(part.media.name)
    if part.region is None:
        return _figure(media, link, name, name)
    caption = f"{name}: {region_line(part.region)}"
    if views is not None:
        return _figure(views.cut(part), link, name, caption)
    return _figure(media, link, name, caption)


def _figure(media: Media, link: Link, name: str, caption: str) -> str:
    size = f'width="{media.width}" height="{media.height}"'
    image = f'<img src="{escape(link(media))}" alt="{escape(name)}" {size}>'
    return f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>\n"


def _video(part: VideoPart, link: Link, views: Views | None) -> str:
    """Return the frames the model got, each with its time; words where they cannot be shown."""
    name = visible_line(part.media.name)
    caption, frames = f"{name}: {frames_line(part)}", ""
    if views is not None:
        try:
            shown = views.storyboard(part)
        except VlmchatError as error:  # the talk about it is worth keeping
            caption = f"{caption}. {visible_line(str(error))}"
        else:
            moments = [moment_of(time) for time in part.clip.times]
            frames = "".join(
                _figure(frame, link, f"{name} at {moment}", moment)
                for frame, moment in zip(shown, moments, strict=False)
            )
            frames = f'<div class="frames">{frames}</div>'
            caption = f"{name}: {length_line(part)}"
    return f"<figure>{frames}<figcaption>{escape(caption)}</figcaption></figure>\n"


@cache
def _markdown() -> Callable[[str], str]:
    """Return what renders a reply: tags are shown as text, pictures from elsewhere as links."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    parser.disable("image")

    def render(text: str) -> str:
        return str(parser.render(text))

    return render
