"""Ranking with the real engine on the tiny model."""

from pathlib import Path

import pytest

from tests.engine_process import TOKEN, EngineProcess
from tests.pictures import encoded, saved
from vlmchat.chat.messages import user_message
from vlmchat.client.api import EngineClient
from vlmchat.media.images import media_from_bytes
from vlmchat.retrieve.index import FolderIndex
from vlmchat.retrieve.ranking import ANY, PROMPT, Asker, pictures_for, sentences_for


async def test_pictures_for_a_sentence(engine: EngineProcess, tmp_path: Path) -> None:
    colours = ("red", "green", "blue")
    files = [saved(tmp_path / f"{colour}.png", colour=colour) for colour in colours]
    broken = tmp_path / "broken.jpg"
    broken.write_text("no picture")
    told: list[tuple[int, int]] = []
    index, _ = FolderIndex.open(tmp_path)
    async with EngineClient(engine.url, TOKEN) as client:
        asker = Asker(client, index=index)
        ranking = await pictures_for(
            asker, "A red circle.", [*files, broken], lambda *how: told.append(how)
        )
        # The same by hand.
        asked = ["A red circle.", *ANY]
        media = media_from_bytes(encoded(colour="green"), "green.png")
        seen = await client.score([user_message(PROMPT, [media], "low")], asked)
        unseen = await client.score([user_message(PROMPT)], asked)
    assert told[0] == (0, 4) and told[-1] == (4, 4) and index.files == 3
    assert [path for path, _ in ranking.skipped] == [broken]
    assert "not a picture" in ranking.skipped[0][1]
    scores = [one.score for one in ranking.found]
    assert scores == sorted(scores, reverse=True) and len(set(scores)) == 3
    gains = [with_it.mean - without.mean for with_it, without in zip(seen, unseen, strict=True)]
    wanted = gains[0] - sum(gains[1:]) / len(ANY)
    found = next(one for one in ranking.found if one.what == files[1])
    assert found.score == pytest.approx(wanted, abs=0.02)  # bfloat16, in another order


async def test_sentences_for_a_picture(engine: EngineProcess, tmp_path: Path) -> None:
    photo = saved(tmp_path / "photo.png")
    sentences = [f"There are {count} stars." for count in range(40)]  # more than one request
    async with EngineClient(engine.url, TOKEN) as client:
        ranking = await sentences_for(Asker(client), photo, sentences)
        grey = await sentences_for(Asker(client, prior="blank"), photo, sentences[:3])
        [one] = await client.score([user_message(PROMPT)], [sentences[7]])
    assert {one.what for one in ranking.found} == set(sentences) and ranking.seen == 40
    seven = next(found for found in ranking.found if found.what == sentences[7])
    assert seven.without.logprob == pytest.approx(one.logprob, abs=0.1)
    assert {found.without.logprob for found in grey.found}.isdisjoint(
        found.without.logprob for found in ranking.found
    )
