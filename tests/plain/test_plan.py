"""What attachments cost, and their parts, in plain lines."""

import base64
import io
from pathlib import Path

from PIL import Image

from tests.fake_engine import MODEL, FakeEngine, Reply, Script, running
from tests.pictures import draw, saved
from tests.plain.piping import piped
from vlmchat.models.catalogue import by_id

_META = MODEL["meta"] | {"processor": by_id("smolvlm2-500m").processor.as_row(), "context": 400}
_TIMINGS = {"prompt_n": 100, "prompt_ms": 3000.0, "vision_ms": 1000.0, "vision_tiles": 5}


def test_the_sentence_the_part_and_the_room(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", 1024, 1024)
    lines = [
        *("Hello", f"/attach {path}", "/detail low", "/crop 10,20,110,220", "What is it?"),
        *("/crop", "/crop 1", "top left", "/crop off", "/crop 1", "", "/quit", ""),
    ]
    script = Script([Reply(timings=_TIMINGS)], model=MODEL | {"meta": _META})
    with running(FakeEngine(script)) as fake:
        done = piped(
            "\n".join(lines), "--plain", "--engine-url", fake.url, VLMCHAT_HOME=str(tmp_path / "h")
        )
    said = done.stdout
    assert done.returncode == 0, said
    assert "a.png, PNG, 1024 by 1024 pixels," in said and ", 5 tiles, 333 tokens" in said
    assert "What is attached needs 333 tokens, 298 are left: /detail low or /new." in said
    assert (
        "of which the part from 10, 20 to 110, 220 (100 by 200 pixels), 1 tile, 67 tokens" in said
    )
    assert "a.png is 1024 by 1024 pixels." in said
    assert "the part from 0, 0 to 512, 512 (512 by 512 pixels) of a.png" in said
    assert "the whole picture of a.png" in said
    parts = fake.requests[1]["messages"][-1]["content"]
    data = parts[0]["image_url"]["url"].partition(",")[2]
    sent = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")
    assert sent.tobytes() == draw(1024, 1024).crop((10, 20, 110, 220)).tobytes()
