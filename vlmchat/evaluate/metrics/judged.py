"""What a metric looks at."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Judged:
    """One answer beside what it is compared with.

    Attributes:
        said: what the model answered.
        answers: what is right, in the set's own words; several where several people answered.
        options: of a question with options, their texts in order; the first is option A.
    """

    said: str
    answers: tuple[str, ...]
    options: tuple[str, ...] = ()
