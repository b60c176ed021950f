"""What is in a model's words: questions, a last answer, a judge's choice, a refusal."""

import re

from vlmchat.synth.likeness import alike, words_of

_LEAST_WORDS = 3
_LONGEST = 300  # characters of a question
_LEAD = re.compile(
    r"^\W*(?:(?:question|q)\s*\d*\s*[:.)]|(?:new|rewritten|harder) question\s*:|"
    r"[^?:]{0,80}\b(?:ask|answer|question)\b[^?:]{0,40}:|\(?\d{1,2}[.):])\W*",
    re.IGNORECASE,
)
_ANSWER = re.compile(r"\b(?:final\s+)?answer\s*(?:is\s*)?:\s*", re.IGNORECASE)
_TOLD_TO = re.compile(
    r"^(?:describe|name|list|count|compare|explain|tell|read|identify|find|point out|say)\b",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"\b(?:i['’]?m sorry|i am sorry|i apologi[sz]e|as an ai\b|i (?:cannot|can['’]?t|am unable to|"
    r"do not|don['’]t) (?:see|view|answer|help|assist|provide|access|have access))",
    re.IGNORECASE,
)
# What copies the request that asks for a harder question (Evol-Instruct's fourth elimination).
_COPIED = re.compile(
    r"\b(?:given question|new question|rewritten|rewrite|harder (?:one|question)|this question|"
    r"original question)\b",
    re.IGNORECASE,
)
_VERDICT = re.compile(r"\b(?:([12])|(first|one)|(second|two))\b", re.IGNORECASE)


def questions_in(text: str) -> list[str]:
    """Return the questions in what a model said when it was asked for some, in order.

    A question stands on a line, with or without a number, or behind another question. What ends
    with a question mark is one, and so is what begins with what is to be done (“Describe …”).
    """
    found: list[str] = []
    for line in text.splitlines():
        pieces = re.split(r"(?<=[.!?])\s+(?=[^\W\d_])", re.sub(r"[*_`#]+", "", line).strip())
        for piece in pieces:
            bare = _bare(piece)
            if _is_question(bare) and bare not in found:
                found.append(bare)
    return found


def _bare(piece: str) -> str:
    previous = None
    while piece != previous:
        previous = piece
        piece = _LEAD.sub("", piece).strip(' \t"“”-•–')
    return piece


def _is_question(text: str) -> bool:
    if len(text) > _LONGEST or len(words_of(text)) < _LEAST_WORDS or refuses(text):
        return False
    return text.endswith("?") or bool(_TOLD_TO.match(text))


def harder_in(said: str, question: str) -> tuple[str, str]:
    """Return the harder question in what a model said, or nothing and why it is none.

    The reasons are those of Evol-Instruct's elimination (arXiv:2304.12244, section 3.2).

    Returns:
        The question, and one sentence where it is empty.
    """
    found = questions_in(said)
    if not found:
        return "", "The model wrote no question."
    new = found[0]
    if _COPIED.search(new):
        return "", "The model copied the request."
    if alike(new, question):
        return "", "The new question says what the old one says."
    return new, ""


def last_answer(text: str) -> str:
    """Return what a chain of reasoning comes to: what follows the last “Answer:”, else its end."""
    parts = _ANSWER.split(text)
    if len(parts) > 1 and parts[-1].strip():
        return parts[-1].strip().splitlines()[0].strip()
    sentences = [one for one in re.split(r"(?<=[.!?])\s+", text.strip()) if one.strip()]
    return sentences[-1].strip() if sentences else ""


def refuses(text: str) -> bool:
    """Return whether a model says that it cannot answer."""
    return bool(_REFUSAL.search(text))


def verdict_in(text: str) -> int | None:
    """Return which answer a judge named first, 1 or 2; ``None`` if none."""
    match = _VERDICT.search(text)
    if match is None:
        return None
    return int(match[1]) if match[1] else 1 if match[2] else 2
