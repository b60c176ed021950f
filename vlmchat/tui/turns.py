"""What the transcript and the queue are made of. No widgets."""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from vlmchat.chat.messages import Detail, Media, Message, TextPart, user_message
from vlmchat.client.protocol import Finished

AnswerState: TypeAlias = Literal["waiting", "streaming", "done", "stopped", "failed"]
NoticeKind: TypeAlias = Literal["note", "error"]


@dataclass(slots=True)
class Question:
    """What the person said.

    Attributes:
        text: unchanged, as typed.
        media: the pictures that go with it.
        number: identity within one session.
        detail: how finely the model looks at the pictures.
        held: kept in the queue until the person takes it up again (the engine refused it).
    """

    text: str
    media: tuple[Media, ...] = ()
    number: int = 0
    held: bool = False
    detail: Detail = "auto"


@dataclass(slots=True)
class Answer:
    """What the model says, as it says it.

    Attributes:
        speaker: the model's title (untrusted text).
        text: all that arrived, unchanged.
        first_token_seconds: from sending the question to the first text, measured here.
        seconds: from the first text to the end, measured here.
        finished: the engine's own account, when it came to an end.
    """

    speaker: str
    text: str = ""
    state: AnswerState = "waiting"
    first_token_seconds: float | None = None
    seconds: float = 0.0
    finished: Finished | None = None

    @property
    def tokens(self) -> int | None:
        """Tokens in the answer, when the engine counted them."""
        usage = self.finished.usage if self.finished else None
        return usage.completion_tokens if usage else None

    @property
    def tokens_per_second(self) -> float | None:
        """Decoding speed: the engine's own figure, else tokens after the first by our clock."""
        if self.finished is None:
            return None
        speed = self.finished.timings.get("predicted_per_second")
        if isinstance(speed, int | float) and speed > 0:
            return float(speed)
        tokens = self.tokens
        if tokens is not None and tokens > 1 and self.seconds > 0:
            return (tokens - 1) / self.seconds
        return None

    def footnote(self) -> str:
        """Return the line of figures under the answer."""
        parts: list[str] = []
        if self.first_token_seconds is not None:
            parts.append(f"first token {seconds_text(self.first_token_seconds)}")
        if (speed := self.tokens_per_second) is not None:
            parts.append(f"{speed:.1f} tokens/s")
        if (tokens := self.tokens) is not None:
            parts.append(f"{tokens} token{'' if tokens == 1 else 's'}")
        if self.state == "stopped":
            parts.append("stopped")
        elif self.state == "failed":
            parts.append("broken off" if self.text else "no answer")
        elif self.finished is not None and self.finished.finish_reason == "length":
            parts.append("cut short by max_tokens")
        return " · ".join(parts)


@dataclass(slots=True)
class Exchange:
    """One question and its answer.

    Attributes:
        dropped: the engine never took the question, which went back to the person.
    """

    question: Question
    answer: Answer
    dropped: bool = field(default=False)


def seconds_text(seconds: float) -> str:
    """Return a duration for a person (``0.4 s``, ``12 s``)."""
    return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"


def history(system: str, exchanges: list[Exchange]) -> list[Message]:
    """Return the messages to send, in order.

    Questions that stayed without a word of answer are joined with the one after them: many chat
    templates demand that user and assistant turns alternate.
    """
    messages: list[Message] = []
    if system:
        messages.append(Message("system", (TextPart(system),)))
    for exchange in exchanges:
        if exchange.dropped:
            continue
        question = exchange.question
        parts = user_message(question.text, question.media, question.detail).parts
        if messages and messages[-1].role == "user":
            parts = (*messages.pop().parts, *parts)
        messages.append(Message("user", parts))
        if exchange.answer.text:
            messages.append(Message("assistant", (TextPart(exchange.answer.text),)))
    return messages
