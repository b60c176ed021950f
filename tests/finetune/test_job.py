"""The job folder says where a run is, whoever comes and whatever was killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.finetune.logs import asked, read, write_log
from tests.pictures import encoded, saved
from vlmchat.chat.messages import Clip, ImagePart, Media, Message, Part, Region, TextPart, VideoPart
from vlmchat.errors import MediaError, ModelError, UsageError
from vlmchat.finetune.canonical import from_row, to_row
from vlmchat.finetune.events import Ended, Error, Event, EventWriter, Paused, Started, Step
from vlmchat.finetune.examples import Example, Source
from vlmchat.finetune.files import JobError
from vlmchat.finetune.job import (
    BaseModelRef,
    Job,
    JobSpec,
    create,
    data_file,
    list_jobs,
    open_job,
)
from vlmchat.finetune.rendering import Renderer
from vlmchat.finetune.settings import RunSettings, make
from vlmchat.media.images import media_from_bytes

BASE = BaseModelRef("smolvlm-256m", "abc", "/models/256m")
PICTURE = media_from_bytes(encoded(width=64, height=48), "p [red].png")


def spec(name: str = "stars", **values: object) -> JobSpec:
    return JobSpec(name, BASE, make(values))


@pytest.fixture
def examples(tmp_path: Path) -> list[Example]:
    saved(tmp_path / "a.png")
    rows = [asked(f"What {n}?", f"A circle {n}.", "a.png") for n in range(4)]
    found, dropped = read(write_log(tmp_path / "log.jsonl", rows))
    assert not dropped
    return found


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    folder = tmp_path / "jobs"
    folder.mkdir()
    return folder


def test_a_job_holds_all_that_it_needs(tmp_path: Path, examples: list[Example], jobs: Path) -> None:
    about = JobSpec(
        "My stars!",
        BASE,
        make({"patience": None, "rank": 4}),
        (data_file(tmp_path / "log.jsonl"),),
    )
    job = create(about, examples[:3], examples[3:], folder=jobs)
    (tmp_path / "a.png").unlink()
    assert job.id == "My-stars"
    found = Job(job.folder).spec()
    assert (found.name, found.base, found.files) == (about.name, BASE, about.files)
    assert found.settings == about.settings
    assert (found.rows, found.validation_rows, len(found.data_hash)) == (3, 1, 64)
    train = list(job.examples("train"))
    assert train == examples[:3]
    assert [e.digest for e in train] == [e.digest for e in examples[:3]]
    assert train[0].media[0].data == encoded()
    assert len(list((job.folder / "media").iterdir())) == 1
    assert job.state() == "prepared"


def test_a_changed_picture_is_told(examples: list[Example], jobs: Path) -> None:
    job = create(spec(), examples, folder=jobs)
    (picture,) = (job.folder / "media").iterdir()
    picture.write_bytes(b"other")
    with pytest.raises(MediaError, match="was changed"):
        _ = next(job.examples("train")).media[0].data


def test_a_damaged_line_is_told_with_its_number(examples: list[Example], jobs: Path) -> None:
    job = create(spec(), examples, folder=jobs)
    with (job.folder / "train.jsonl").open("a") as file:
        file.write('{"kind": "sft"')
    with pytest.raises(JobError, match="line 5"):
        list(job.examples("train"))


def test_nothing_is_left_of_a_job_that_cannot_be_prepared(
    tmp_path: Path, examples: list[Example], jobs: Path
) -> None:
    (tmp_path / "a.png").unlink()
    with pytest.raises(MediaError):
        create(spec(), examples, folder=jobs)
    with pytest.raises(UsageError, match="nothing to train on"):
        create(spec(), [], folder=jobs)
    assert not list(jobs.iterdir())


def test_a_full_disk_is_a_sentence_and_leaves_nothing(
    small_disk: Callable[[int], Path], jobs: Path
) -> None:
    disk = small_disk(200_000)
    picture = Media.held(os.urandom(400_000), "p.png", "image/png", 400, 300)
    said = (Message("user", (ImagePart(picture),)), Message("assistant", (TextPart("x"),)))
    example = Example("sft", said, Source("f", 1), "g", (1,))
    with pytest.raises(JobError, match="No space left"):
        create(spec(), [example], folder=disk)
    assert not list(disk.iterdir())


def test_a_damaged_chat_template_or_tokenizer_is_a_sentence(
    tmp_path: Path, tiny_model: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match="fetch the model again"):
        Renderer(folder).count([Message("user", (TextPart("x"),))])
    (folder / "chat_template.jinja").write_text("{% for %}")
    with pytest.raises(ModelError, match="template"):
        Renderer(folder)
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="no chat template"):
        Renderer(folder)


def test_jobs_are_listed_and_opened(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, examples: list[Example]
) -> None:
    monkeypatch.setenv("VLMCHAT_HOME", str(tmp_path / "home"))
    first = create(spec(), examples)
    second = create(spec(), examples)
    assert [first.id, second.id] == ["stars", "stars-2"]
    (first.folder.parent / "stray").mkdir()
    assert [job.id for job in list_jobs()] == ["stars-2", "stars"]
    assert open_job("stars").folder == first.folder == open_job(first.folder).folder
    for bad in ("none", "", "../jobs/stars", "."):
        with pytest.raises(JobError, match="no job"):
            open_job(bad)
    second.delete()
    assert [job.id for job in list_jobs()] == ["stars"]


STARTED = Started(steps=3, rows=4)
STEP = Step(step=1, epoch=0.3, loss=1.0, learning_rate=1e-4)


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([], "prepared"),
        ([STARTED, STEP], "dead"),
        ([STARTED, STEP, Paused(step=1)], "paused"),
        ([STARTED, Paused(step=1), STARTED], "dead"),
        ([STARTED, Ended(reason="finished", step=3)], "finished"),
        ([STARTED, Ended(reason="early", step=2)], "finished"),
        ([STARTED, Ended(reason="stopped", step=2)], "stopped"),
        ([STARTED, Ended(reason="cancelled", step=2)], "stopped"),
        ([STARTED, Error(message="The disk is full.")], "failed"),
    ],
)
def test_states_without_a_trainer(
    examples: list[Example], jobs: Path, events: list[Event], state: str
) -> None:
    job = create(spec(), examples, folder=jobs)
    with EventWriter(job.events_file) as writer:
        for event in events:
            writer.write(event)
    assert job.state() == state


TRAINER = """
import sys
from collections.abc import Callable
from pathlib import Path
from vlmchat.finetune.events import EventWriter, Started
from vlmchat.finetune.job import Job
job = Job(Path(sys.argv[1]))
with job.hold(), EventWriter(job.events_file) as writer:
    writer.write(Started(steps=3, rows=4))
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_trainer_is_known_to_be_alive_until_it_is_killed(
    examples: list[Example], jobs: Path
) -> None:
    job = create(spec(), examples, folder=jobs)
    assert job.pid() is None
    command = [sys.executable, "-c", TRAINER, str(job.folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as trainer:
        assert trainer.stdout is not None
        assert trainer.stdout.readline() == "held\n"
        assert (job.state(), job.pid()) == ("running", trainer.pid)
        with pytest.raises(JobError, match="running"):
            job.delete()
        os.kill(trainer.pid, signal.SIGKILL)
        trainer.wait()
    assert (job.state(), job.pid()) == ("dead", None)
    with job.hold():
        assert job.state() == "running"
    assert job.state() == "dead"


def test_whoever_asks_at_the_same_moment_is_not_taken_for_a_trainer(
    examples: list[Example], jobs: Path
) -> None:
    job = create(spec(), examples, folder=jobs)
    with job.hold():
        pass
    with FileLock(job.folder / "lock"):
        assert not job.alive()
        (job.folder / "pid").write_text(f"{_process_that_has_ended()}\n")
        assert not job.alive() and job.pid() is None


def _process_that_has_ended() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def test_two_trainers_do_not_share_a_job(
    examples: list[Example], jobs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vlmchat.finetune.job._LOCK_SECONDS", 0.05)
    job = create(spec(), examples, folder=jobs)
    command = [sys.executable, "-c", TRAINER, str(job.folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as trainer:
        assert trainer.stdout is not None and trainer.stdin is not None
        trainer.stdout.readline()
        with pytest.raises(JobError, match="running already"), job.hold():
            pass
        trainer.stdin.close()


def test_each_request_is_given_once(examples: list[Example], jobs: Path) -> None:
    job = create(spec(), examples, folder=jobs)
    requests = job.requests()
    assert requests.new() is None
    for request in ("pause", "resume", "pause", "pause"):
        job.ask(request)
        assert requests.new() == request
        assert requests.new() is None
    (job.folder / "control").write_text("dance 1\n")
    assert requests.new() is None
    job.ask("stop")
    job.clear_requests()
    assert job.requests().new() is None


# The canonical form ----------------------------------------------------------------------------

TEXTS = st.builds(TextPart, st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1))
PICTURES = st.builds(
    ImagePart,
    st.just(PICTURE),
    st.sampled_from(["low", "auto", "high", 5]),
    st.sampled_from([None, Region(0, 0, 10, 10), Region(3, 4, 64, 48)]),
)
VIDEOS = st.builds(
    VideoPart,
    st.just(PICTURE),
    st.builds(
        Clip,
        st.lists(st.floats(0, 1e5), min_size=1, unique=True).map(lambda t: tuple(sorted(t))),
        st.one_of(st.none(), st.floats(0, 1e5)),
    ),
)
PARTS: st.SearchStrategy[Part] = st.one_of(TEXTS, PICTURES, VIDEOS)
USER = st.builds(Message, st.just("user"), st.lists(PARTS, min_size=1, max_size=4).map(tuple))
ANSWER = st.builds(Message, st.just("assistant"), st.tuples(TEXTS))
SOURCE = st.builds(Source, st.text(max_size=5), st.one_of(st.none(), st.integers(1)))
GROUP = st.text(alphabet=st.characters(exclude_categories=["Cs"]))
EXAMPLES = st.one_of(
    st.builds(Example, st.just("sft"), st.tuples(USER, ANSWER), SOURCE, GROUP, st.just((1,))),
    st.builds(
        Example,
        st.just("preference"),
        st.tuples(USER),
        SOURCE,
        GROUP,
        chosen=st.tuples(ANSWER),
        rejected=st.tuples(ANSWER),
    ),
    st.builds(
        Example,
        st.just("kto"),
        st.tuples(USER),
        SOURCE,
        GROUP,
        completion=st.tuples(ANSWER),
        label=st.booleans(),
    ),
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(EXAMPLES)
def test_the_canonical_form_loses_nothing(example: Example) -> None:
    row = json.loads(json.dumps(to_row(example, lambda media: f"media/{media.sha256}.png")))
    again = from_row(row, Path("/job"))
    assert again == example
    assert again.digest == example.digest


def test_paths_that_leave_the_job_are_refused(examples: list[Example]) -> None:
    row = to_row(examples[0], lambda media: "../../etc/passwd")
    with pytest.raises(UsageError, match="outside"):
        from_row(row, Path("/job"))


def test_settings_of_a_job_are_checked(examples: list[Example], jobs: Path) -> None:
    job = create(spec(), examples, folder=jobs)
    assert job.spec().settings == RunSettings()
    path = job.folder / "job.toml"
    for old, new in (("rank = 16", "rank = 0"), ("version = 1", "version = 9"), ("[base]", "[")):
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        with pytest.raises((JobError, UsageError)):
            job.spec()
        path.write_text(text)
