"""``vlmchat doctor``: what this machine has, what is wrong, and what to do about it."""

import json
import sys
from typing import Annotated

import typer

_MARKS = {"good": "✓", "note": "·", "bad": "✗"}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Examine this machine; exits with 3 when something makes answers impossible."""
    from vlmchat.cli.examination import examine

    findings = list(examine())
    if as_json:
        print(json.dumps([finding.as_json() for finding in findings], ensure_ascii=False, indent=1))
    else:
        topic = ""
        for finding in findings:
            if finding.topic != topic:
                topic = finding.topic
                print(f"\n{topic}" if finding is not findings[0] else topic)
            mark = _MARKS[finding.state] if _can_show(_MARKS[finding.state]) else finding.state
            print(f"  {mark} {finding.text}")
            if finding.advice:
                print(f"      → {finding.advice}" if _can_show("→") else f"      {finding.advice}")
    raise typer.Exit(3 if any(finding.fatal for finding in findings) else 0)


def _can_show(sign: str) -> bool:
    try:
        sign.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(doctor)
