"""What produces an answer, noted when it is asked for: settings may change while it arrives."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from vlmchat.chat.conversation import Provenance
from vlmchat.client.protocol import Sampling
from vlmchat.talk.engine_keeper import EngineKeeper
from vlmchat.talk.turns.tree import Reply

_FACTS = ("revision", "quantization", "adapter", "device", "dtype")


@dataclass(frozen=True, slots=True)
class Asked:
    """What an answer was asked for with.

    Attributes:
        engine: the model as far as it is known before it answers, and where it is.
        sampling: the parameters that are sent.
        system: the system prompt that is sent.
        continued_from: characters of the answer that were there already.
        adapter: that is asked for, as `EngineKeeper.adapter`.
    """

    engine: Mapping[str, Any]
    sampling: Sampling
    system: str
    continued_from: int = 0
    adapter: str | None = None

    def made(self, answer: Reply) -> Provenance:
        """Return what produced `answer`, which has ended somehow."""
        finished = answer.finished
        usage = finished.usage if finished else None
        seen: Mapping[str, Any] = {
            "first_token_seconds": answer.first_token_seconds,
            "seconds": answer.seconds,
        }
        continued = {"continued_from": self.continued_from} if self.continued_from else {}
        made = Provenance(
            engine={"title": answer.speaker, **self.engine, **answer.told, **continued},
            sampling=self.sampling.as_fields(),
            system=self.system,
            finish_reason=finished.finish_reason if finished else None,
            timings={**seen, **(finished.timings if finished else {})},
        )
        return replace(made, **asdict(usage)) if usage else made


def asked_of(engine: EngineKeeper, sampling: Sampling, system: str, begun: str) -> Asked:
    """Return what is known of an answer before it begins.

    Args:
        engine: what is asked.
        sampling: the parameters that are sent.
        system: the system prompt that is sent.
        begun: the text that is continued; empty for an answer from the beginning.
    """
    model = engine.model
    known: dict[str, Any] = {}
    if model is not None:
        known["model"] = model.id
        facts = {name: getattr(model, name) for name in _FACTS}
        # An engine that tells its number format tells all; of others, empty means unknown.
        known |= {name: fact for name, fact in facts.items() if fact or model.dtype}
    found = {**known, **engine.whereabouts}
    return Asked(found, sampling, system, len(begun), engine.adapter)
