"""/eval in plain lines."""

from pathlib import Path

import pytest

from tests.cli.test_eval import questions
from tests.fake_engine import FakeEngine, Reply, Script, running
from tests.plain.piping import piped


@pytest.mark.slow
def test_the_report_is_told_in_sentences(tmp_path: Path) -> None:
    path = questions(tmp_path)
    with running(FakeEngine(Script([Reply(["red"])]))) as fake:
        lines = f"/eval {path} exact 4\n/eval\nHello\n/quit\n"
        said = piped(lines, "--plain", "--engine-url", fake.url).stdout
    assert "Evaluating colours.jsonl: 4 questions, exact match." in said
    assert "2 of 4 questions are answered." in said
    assert "50.0, 95 % interval" in said and "Wilson" not in said
    assert "1.png: Which colour (1)? “red”, right is “blue”" in said
