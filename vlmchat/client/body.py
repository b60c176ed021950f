"""A request as it goes over the wire."""

import json
import re
import secrets
from typing import Any


def request_body(body: dict[str, Any]) -> bytes:
    """Return a request as JSON.

    Pictures are put in afterwards: their ``data:`` URLs hold nothing that JSON escapes, and looking
    for it in megabytes takes longer than to send them.
    """
    mark = secrets.token_hex(16)  # nothing that anybody can have written
    urls: list[str] = []

    def marked(part: Any) -> Any:  # noqa: ANN401 - JSON may be anything
        picture = part.get("image_url") if isinstance(part, dict) else None
        url = picture.get("url") if isinstance(picture, dict) else None
        if not isinstance(picture, dict) or not isinstance(url, str) or not _PLAIN.match(url):
            return part
        urls.append(url)
        return {**part, "image_url": {**picture, "url": f"{mark}{len(urls) - 1}."}}

    if "messages" not in body:
        return json.dumps(body).encode()
    messages = [
        {**row, "content": [marked(part) for part in row["content"]]}
        if isinstance(row.get("content"), list)
        else row
        for row in body["messages"]
    ]
    pieces = re.split(rf"{mark}(\d+)\.", json.dumps({**body, "messages": messages}))
    pieces[1::2] = [urls[int(number)] for number in pieces[1::2]]
    return "".join(pieces).encode()


# As this program makes them: a media type, and base64, in which nothing is to be escaped.
_PLAIN = re.compile(r"data:[\w/+.-]+;base64,", re.ASCII)
