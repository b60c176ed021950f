"""Requests say on the wire what they say."""

import base64
import json

from hypothesis import given
from hypothesis import strategies as st

from vlmchat.client.body import request_body

PARTS = st.one_of(
    st.text().map(lambda text: {"type": "text", "text": text}),
    st.binary().map(
        lambda data: {
            "type": "image_url",
            "image_url": {
                "url": f"data:image/png;base64,{base64.b64encode(data).decode()}",
                "detail": "low",
            },
        }
    ),
    st.text().map(lambda url: {"type": "image_url", "image_url": {"url": f"file:{url}"}}),
)
ROWS = st.lists(
    st.fixed_dictionaries({"role": st.just("user"), "content": st.text() | st.lists(PARTS)})
)


@given(ROWS, st.text())
def test_as_plain_json(rows: list[object], model: str) -> None:
    body = {"messages": rows, "model": model, "stream": True}
    assert json.loads(request_body(body)) == body
