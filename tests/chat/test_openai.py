"""Messages as chat-completions engines read them."""

import base64

from tests.pictures import encoded
from vlmchat.chat.messages import Message, TextPart, user_message
from vlmchat.chat.openai import to_openai
from vlmchat.media.images import media_from_bytes


def test_text_turns_have_plain_content() -> None:
    messages = [Message("system", (TextPart("Be brief."),)), user_message("Hi [/red] \x1b")]
    assert to_openai(messages) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi [/red] \x1b"},
    ]


def test_pictures_come_first_and_whole() -> None:
    data = encoded("JPEG")
    media = media_from_bytes(data, "a.jpg")
    (row,) = to_openai([user_message("What?", (media, media), "low")])
    first, second, text = row["content"]
    assert first == second and text == {"type": "text", "text": "What?"}
    url = first["image_url"]["url"]
    assert first["image_url"]["detail"] == "low"
    assert url.startswith("data:image/jpeg;base64,")
    assert base64.b64decode(url.partition(",")[2]) == data


def test_a_picture_alone_is_a_question_too() -> None:
    media = media_from_bytes(encoded(), "a.png")
    (row,) = to_openai([user_message("", (media,))])
    assert [part["type"] for part in row["content"]] == ["image_url"]
