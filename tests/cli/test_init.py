"""``init`` as a command: what it looks at, asks, pays for and writes, and that ``plan`` accepts the file at once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.cells import cell_len

from asyncfilter.job import Job, load_job
from asyncfilter.job.shipped_schema import schema_line
from asyncfilter.sandbox import BucketSpec, SamplesSpec, SandboxOptions, SandboxProcess, SyntheticSpec
from asyncfilter.sandbox.options import LoadSpec
from tests.kit.pictures import plain
from tests.kit.services import boto_client
from tests.kit.terminal import Terminal
from tests.kit.workspace import Workspace

PICTURES = 60
PLACE = "s3://raw/raw/"
HOSTILE = 'a "b" ${HOME} $$ #c: *&\u202e\n/日本/'
PROMPTS = ("[y/N]", "Keep [", "Copy to [", "Budget [")
"""What is asked on a terminal, in this order: the offer to examine images, and the three questions."""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    """One sandbox for all tests."""
    folder = tmp_path_factory.mktemp("odd")
    (folder / "bare").mkdir()
    (folder / "mixed").mkdir()
    for name in ("mixed/one.webp", "mixed/two.gif", "mixed/three.JPG", "mixed/notes.txt", "bare/0001", "bare/0002"):
        (folder / name).write_bytes(b"content of " + name.encode())
    options = SandboxOptions(
        samples=(SamplesSpec("raw", PICTURES),),
        buckets=(BucketSpec("clean"), BucketSpec("north", "eu-north-1"), BucketSpec("hostile"), BucketSpec("empty")),
        load=(LoadSpec("odd", str(folder)),),
        synthetic=(SyntheticSpec("large", 300_000),),
        tps=200.0,
    )
    with SandboxProcess(options) as process:
        with boto_client(process, "s3") as s3:
            s3.put_object(Bucket="hostile", Key=f"{HOSTILE}x.jpg", Body=b"no image")
        yield process


@pytest.fixture
def workspace(tmp_path: Path, sandbox: SandboxProcess) -> Workspace:
    """A new workspace without a job file."""
    workspace = Workspace(tmp_path, sandbox)
    workspace.job.unlink()
    return workspace


def job_of(workspace: Workspace, name: str = "job.yaml") -> Job:
    """The job in a file of the workspace."""
    return load_job(workspace.folder / name, environ={})


def planned(workspace: Workspace, name: str = "job.yaml") -> dict[str, Any]:
    """The plan of a file that was written; it must be accepted."""
    return workspace.json("plan", name)


def answered(workspace: Workspace, *answers: str, place: str = PLACE, columns: int = 80) -> Terminal:
    """``init`` on a terminal, with these answers to the first of ``PROMPTS``."""
    terminal = workspace.terminal("init", place, columns=columns, has_stdout=False, TERM="xterm-256color")
    for prompt, answer in zip(PROMPTS, answers, strict=False):
        terminal.read_until(prompt)
        terminal.type(answer)
    return terminal


# -- Without a terminal ------------------------------------------------------------------------------------------------


def test_without_a_terminal_the_defaults_are_written(workspace: Workspace) -> None:
    """Nothing is asked or paid; the file has the schema line, is valid, and ``plan`` accepts it at once."""
    before = workspace.billed()
    ended = workspace("init", PLACE)
    assert ended.returncode == 0, ended.stderr
    assert "60 of 60 objects" in ended.stdout
    assert "asyncfilter plan job.yaml" in ended.stdout
    text = (workspace.folder / "job.yaml").read_text("utf-8")
    assert text.splitlines()[0] == schema_line()
    job = job_of(workspace)
    assert (job.source.bucket, job.source.prefix, job.limits.budget_micros) == ("raw", "raw/", 1_000_000)
    assert workspace.here("config", "check", "job.yaml")[0] == 0
    assert planned(workspace)["candidates"] == PICTURES
    assert workspace.billed() == before
    assert not (workspace.folder / ".asyncfilter").exists()


@pytest.mark.parametrize("target", ["s3://clean/x", "s3://clean"])
def test_a_target_is_a_prefix(workspace: Workspace, target: str) -> None:
    """Without its slash it would be the name of every copy: one copy, and all others collide with it."""
    found = workspace.json("init", PLACE, "--copy-to", target)
    assert found["copy_to"] == f"{target}/"
    assert not any("one target" in caution for caution in found["cautions"])


@pytest.mark.parametrize(
    ("place", "output", "target"),
    [("./", "job.yaml", "../kept/"), ("./pics", "job.yaml", "./kept/"), ("./pics", "pics/job.yaml", "../kept/")],
)
def test_the_example_of_an_action_can_be_used(workspace: Workspace, place: str, output: str, target: str) -> None:
    """The folder in it is not inside the source, which would be refused."""
    (workspace.folder / "pics").mkdir()
    (workspace.folder / "pics" / "1.jpg").write_bytes(plain())
    workspace.json("init", place, "-o", output)
    file = workspace.folder / output
    text = file.read_text("utf-8")
    assert f'#   keep: {{copy: "{target}{{relative}}"}}' in text
    file.write_text(text.replace("# actions:", "actions:").replace("#   keep:", "  keep:"), "utf-8")
    assert workspace.here("config", "check", output)[0] == 0


def test_options_replace_the_questions(workspace: Workspace) -> None:
    """Labels, target, budget, name and file by options; the JSON says all that was found and written."""
    options = ("--keep", "Robin, Jay", "--keep", "Wren", "--copy-to", "s3://clean/x/", "--budget", "2.5", "--name", "b")
    found = workspace.json("init", PLACE, *options, "-o", "other.yaml")
    assert found["keep"] == ["Robin", "Jay", "Wren"]
    assert (found["copy_to"], found["budget_usd"], found["name"], found["output"]) == (
        "s3://clean/x/",
        2.5,
        "b",
        "other.yaml",
    )
    assert (found["listed"], found["images"], found["is_whole"], found["region"]) == (
        PICTURES,
        PICTURES,
        True,
        "us-east-1",
    )
    assert found["formats"] == {"jpg": PICTURES}
    assert found["prefixes"] == dict.fromkeys(("blackbird/", "jay/", "robin/", "sparrow/"), 15)
    assert (found["store"], found["source"], found["labels_from"]) == ("s3", PLACE, "given")
    assert found["calls"] == found["spent_usd"] == 0
    job = job_of(workspace, "other.yaml")
    assert (job.name, job.limits.budget_micros, job.rules[0].conditions[0].any) == (
        "b",
        2_500_000,
        ("Robin", "Jay", "Wren"),
    )
    assert planned(workspace, "other.yaml")["budget_usd"] == 2.5


def test_an_existing_file_is_never_replaced_without_a_yes(workspace: Workspace) -> None:
    """Without a terminal the answer is no, before anything is looked at; ``--yes`` replaces it."""
    path = workspace.folder / "job.yaml"
    path.write_text("mine")
    ended = workspace("init", "s3://no-such-bucket/")
    assert (ended.returncode, path.read_text()) == (130, "mine")
    assert "--yes" in ended.stderr
    assert workspace("init", PLACE, "--yes").returncode == 0
    assert job_of(workspace).source.bucket == "raw"


def test_a_file_of_another_place_keeps_its_checkpoint(workspace: Workspace) -> None:
    """A name whose checkpoint has labels of another source is not used again, so that ``plan`` accepts the file."""
    workspace.here("init", PLACE)
    workspace.here("run", "job.yaml", "--set", "limits.max_images=1")
    found = workspace.json("init", PLACE, "--yes")
    assert found["name"] == "raw", "the labels that were paid for are of this source"
    code, _, err = workspace.here("init", "s3://raw/", "--yes", "--name", "raw")
    assert (code, "another source" in err) == (2, True)
    found = workspace.json("init", "s3://raw/", "--yes")
    assert found["name"] == "raw-2"
    assert planned(workspace)["listed"] >= PICTURES


def test_stdout_is_a_file_too(workspace: Workspace) -> None:
    """``-o -`` writes the job to stdout and nothing else there; with ``--json`` it is refused."""
    code, out, err = workspace.here("init", PLACE, "-o", "-")
    assert code == 0
    assert out.startswith(schema_line())
    assert "60 of 60 objects" in err
    assert not (workspace.folder / "job.yaml").exists()
    assert workspace.here("init", PLACE, "-o", "-", "--json")[0] == 2


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("init", "s3://no-such-bucket/"), 4, "no-such-bucket"),
        (("init", "./no-such-folder"), 4, "no such folder"),
        (("init", "no-such-folder"), 2, "s3://bucket/prefix"),
        (("init", "s3://Raw_Images/"), 2, "bucket name"),
        (("init", "own:store/"), 2, "program's own"),
        (("init", PLACE, "-o", "absent/job.yaml"), 2, "folder that does not exist"),
        (("init", PLACE, "-o", "."), 2, "is a folder"),
        (("init", PLACE, "--name", "Birds"), 2, "--name: expected 1 to 64"),
        (("init", PLACE, "--keep", " , "), 2, "no label"),
        (("init", PLACE, "--budget", "much"), 2, "expected dollars"),
        (("init", PLACE, "--budget", "-1"), 2, "expected dollars"),
        (("init", PLACE, "--budget", "0.0000001"), 2, "expected dollars"),
        (("init", PLACE, "--copy-to", "s3://raw/raw/x/"), 2, "--copy-to: expected a destination outside"),
        (("init", PLACE, "--copy-to", "./kept/{kye}"), 2, "--copy-to: unknown placeholder"),
        (("init", PLACE, "--copy-to", "s3://no-such-bucket/"), 4, "no-such-bucket"),
        (("init", PLACE, "--region", "mars-north-1"), 4, "mars-north-1"),
        (("init", PLACE, "--examine", "3"), 2, "--yes"),
        (("init", PLACE, "--examine", "21"), 2, "--examine"),
    ],
)
def test_errors_are_reported_in_a_line(workspace: Workspace, arguments: tuple[str, ...], code: int, text: str) -> None:
    """Each mistake has its exit code and a message; no file is written and nothing is paid for."""
    before = workspace.billed()
    found, _, err = workspace.here(*arguments)
    assert (found, text in err, "Traceback" in err) == (code, True, False), err
    assert not (workspace.folder / "job.yaml").exists()
    assert workspace.billed() == before


def test_without_credentials_a_bucket_cannot_be_looked_at(workspace: Workspace) -> None:
    """Exit 4, with the remedy."""
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    ended = workspace("init", PLACE, env={name: value for name, value in workspace.env.items() if name not in keys})
    assert ended.returncode == 4
    assert "hint:" in ended.stderr


# -- Places ------------------------------------------------------------------------------------------------------------


def test_a_hostile_prefix(workspace: Workspace) -> None:
    """Quotes, variables, line ends and marks of direction in a prefix: the file names exactly that prefix."""
    place = f"s3://hostile/{HOSTILE}"
    ended = workspace("init", place, "--json")
    assert ended.returncode == 0, ended.stderr
    assert job_of(workspace).source.prefix == HOSTILE
    assert planned(workspace)["candidates"] == 1
    text = (workspace.folder / "job.yaml").read_text("utf-8")
    assert all(line.isprintable() for line in text.split("\n"))


def test_other_formats_are_converted(workspace: Workspace) -> None:
    """Formats that Rekognition does not read are included and converted, and this is said."""
    found = workspace.json("init", "s3://odd/mixed/")
    assert found["formats"] == {"gif": 1, "jpg": 1, "webp": 1}
    assert found["others"] == {"txt": 1}
    assert any("sent as JPEG" in caution for caution in found["cautions"])
    job = job_of(workspace)
    assert (job.convert, job.source.include) == (True, ("*.jpg", "*.jpeg", "*.png", "*.gif", "*.webp"))
    assert planned(workspace)["candidates"] == 3


def test_names_without_an_extension(workspace: Workspace) -> None:
    """All are included, and what is no image by its content costs nothing."""
    found = workspace.json("init", "s3://odd/bare/")
    assert any("no extension" in caution for caution in found["cautions"])
    assert planned(workspace)["candidates"] == 2
    before = workspace.billed()
    workspace.summary("run", "job.yaml")
    assert workspace.billed() == before


def test_an_empty_place_is_said_to_be_empty(workspace: Workspace) -> None:
    """The nearest place with images is named; the file is written all the same."""
    found = workspace.json("init", "s3://raw/raw/robins/")
    assert (found["listed"], found["images"]) == (0, 0)
    assert "no object is listed in s3://raw/raw/robins/" in found["cautions"][0]
    assert "s3://raw/raw/robin/" in found["cautions"][0]
    found = workspace.json("init", "s3://empty/birds/", "--yes")
    assert "no object is listed in s3://empty/birds/" in found["cautions"][0]
    assert planned(workspace)["candidates"] == 0


def test_a_region_without_rekognition(workspace: Workspace) -> None:
    """Images are sent to the nearest region that has it, which is said; ``plan`` accepts that."""
    found = workspace.json("init", "s3://north/")
    assert (found["bucket_region"], found["region"]) == ("eu-north-1", "eu-central-1")
    assert any("eu-central-1" in caution for caution in found["cautions"])
    job = job_of(workspace)
    assert (job.detector.region, job.convert) == ("eu-central-1", True)
    planned(workspace)


def test_a_large_bucket_is_not_listed_as_a_whole(workspace: Workspace) -> None:
    """A bounded number of pages shows all folders, not only the first ones."""

    def listings() -> int:
        operations = workspace.sandbox.stats().operations
        return operations["ListObjectsV2"].attempts if "ListObjectsV2" in operations else 0

    before = listings()
    found = workspace.json("init", "s3://large/raw/")
    assert 10 < listings() - before <= 32
    assert (found["is_whole"], len(found["prefixes"])) == (False, 8)
    assert 10_000 < found["listed"] < 40_000
    assert found["budget_usd"] >= 10
    assert "at least" in (workspace.folder / "job.yaml").read_text()


@pytest.mark.parametrize(
    ("place", "output", "uri"),
    [
        ("./photos", "job.yaml", "./photos"),
        ("photos", "job.yaml", "./photos"),
        ("photos/", "jobs/job.yaml", "../photos"),
        ("./photos/../photos", "jobs/job.yaml", "../photos"),
        ("~/photos", "jobs/job.yaml", "~/photos"),
        ("file:photos", "job.yaml", "./photos"),
        (None, "photos/job.yaml", ".."),
    ],
)
def test_a_folder_is_named_from_the_file(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, place: str | None, output: str, uri: str
) -> None:
    """A folder needs no credentials; relative paths start from the file, wherever the command is given."""
    for folder in ("photos", "jobs"):
        (workspace.folder / folder).mkdir()
    Image.new("RGB", (100, 100)).save(workspace.folder / "photos" / "a.png")
    monkeypatch.setenv("HOME", str(workspace.folder))
    with_keys = dict(workspace.env)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        del workspace.env[name]
    arguments = ["init", *([] if place is None else [place]), "-o", output, "--copy-to", "../kept/"]
    code, _, err = workspace.here(*arguments)
    assert code == 0, err
    source = job_of(workspace, output).source
    assert source.folder == workspace.folder / ("photos" if place is not None else "")
    text = (workspace.folder / output).read_text()
    assert f"uri: {uri} " in text or f'uri: "{uri}" ' in text
    target = job_of(workspace, output).actions["keep"].target  # type: ignore[index]  # a StrEnum is its text
    assert target == f"file://{workspace.folder.parent}/kept/{{key}}"
    workspace.env = with_keys
    assert planned(workspace, output)["candidates"] == 1


def test_a_folder_without_a_region(workspace: Workspace) -> None:
    """Where no region is set the file has one, since a plan needs it, and this is said."""
    (workspace.folder / "photos").mkdir()
    env = {name: value for name, value in workspace.env.items() if not name.endswith("_REGION")}
    ended = workspace("init", "./photos", env=env)
    assert "no region is set" in " ".join(ended.stdout.split())
    assert job_of(workspace).detector.region == "us-east-1"
    assert workspace("plan", "job.yaml", env=env).returncode == 0


# -- On a terminal -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [40, 80])
def test_three_questions(workspace: Workspace, columns: int) -> None:
    """What was found is shown first, then each question with its default; no line is wider than the terminal."""
    terminal = answered(workspace, "n\n", "Robin, Jay\n", "s3://clean/kept/\n", "3\n", columns=columns)
    assert terminal.end() == 0, terminal.seen
    assert "60 of 60 objects" in terminal.seen
    assert ("Keep [as above]" in terminal.seen) == (columns == 40)
    job = job_of(workspace)
    assert job.rules[0].conditions[0].any == ("Robin", "Jay")
    assert job.limits.budget_micros == 3_000_000
    assert "s3://clean/kept/" in (workspace.folder / "job.yaml").read_text()
    assert max(map(cell_len, terminal.lines)) <= columns
    assert planned(workspace)["candidates"] == PICTURES


def test_enter_takes_every_default(workspace: Workspace) -> None:
    """Enter at the offer means no, and nothing is paid."""
    before = workspace.billed()
    terminal = answered(workspace, *["\n"] * 4)
    assert terminal.end() == 0, terminal.seen
    job = job_of(workspace)
    assert job.rules[0].conditions[0].any == ("Blackbird", "Jay", "Robin", "Sparrow"), "what folders are named after"
    assert (job.limits.budget_micros, job.actions["keep"].target) == (1_000_000, None)  # type: ignore[index]  # likewise
    assert workspace.billed() == before


def test_the_place_is_asked_for_where_it_is_not_given(workspace: Workspace) -> None:
    """The default is this folder."""
    terminal = workspace.terminal("init", has_stdout=False)
    terminal.read_until("Place [./]")
    terminal.type("s3://raw/raw/jay/\n")
    for prompt in PROMPTS:
        terminal.read_until(prompt)
        terminal.type("\n")
    assert terminal.end() == 0, terminal.seen
    assert job_of(workspace).source.prefix == "raw/jay/"


def test_wrong_answers_are_asked_for_again(workspace: Workspace) -> None:
    """Each with the reason: a target in the source, a bucket that does not exist, a budget that is no number."""
    terminal = workspace.terminal("init", PLACE, has_stdout=False)
    for prompt, answer in (
        ("[y/N]", "n\n"),
        ("Keep [", ",\n"),
        ("no label is named", "Robin\n"),
        ("Copy to [", f"{PLACE}x/\n"),
        ("could land inside it", "s3://no-such-bucket/\n"),
        ("does not exist", "s3://clean/\n"),
        ("Budget [", "much\n"),
        ("expected dollars", "none\n"),
    ):
        terminal.read_until(prompt)
        terminal.type(answer)
    assert terminal.end() == 0, terminal.seen
    job = job_of(workspace)
    assert (job.actions["keep"].target, job.limits.budget_micros) == ("s3://clean/{key}", None)  # type: ignore[index]  # likewise


@pytest.mark.parametrize(("key", "code"), [("\x03", 75), ("\x04", 130)])
@pytest.mark.parametrize("questions", [1, 2, 3])
def test_a_question_can_be_left(workspace: Workspace, questions: int, key: str, code: int) -> None:
    """Ctrl-C (75) and Ctrl-D (130) at each question: no file is written, nothing is paid for, no traceback is shown."""
    before = workspace.billed()
    terminal = answered(workspace, *["\n"] * questions)
    terminal.read_until(PROMPTS[questions])
    terminal.type(key)
    assert terminal.end() == code, terminal.seen
    assert "Traceback" not in terminal.seen
    assert not (workspace.folder / "job.yaml").exists()
    assert workspace.billed() == before


def test_an_existing_file_is_asked_about(workspace: Workspace) -> None:
    """On a terminal the first question is whether it may be replaced."""
    path = workspace.folder / "job.yaml"
    path.write_text("mine")
    terminal = workspace.terminal("init", PLACE)
    terminal.read_until("job.yaml exists. Replace it? [y/N]")
    terminal.type("n\n")
    assert (terminal.end(), path.read_text()) == (130, "mine")


# -- Examined images ---------------------------------------------------------------------------------------------------


def test_an_offer_to_examine_images(workspace: Workspace) -> None:
    """The price is shown; after a yes a few images are examined, and their labels are the default."""
    before = workspace.billed()
    terminal = workspace.terminal("init", "s3://raw/raw/robin/", has_stdout=False)
    terminal.read_until("[y/N]")
    assert "for at most $0.005" in " ".join(terminal.seen.split())
    terminal.type("y\n")
    terminal.read_until("Keep [Robin]")
    assert "Robin in" in terminal.seen
    for prompt in PROMPTS[1:]:
        terminal.read_until(prompt)
        terminal.type("\n")
    assert terminal.end() == 0, terminal.seen
    assert 1 <= workspace.billed() - before <= 5
    assert job_of(workspace).rules[0].conditions[0].any == ("Robin",)


def test_yes_alone_pays_for_nothing(workspace: Workspace) -> None:
    """``--yes`` takes the defaults; only ``--examine`` with it pays."""
    before = workspace.billed()
    assert workspace.terminal("init", PLACE, "--yes").end() == 0
    assert workspace.billed() == before
    found = workspace.json("init", "s3://raw/raw/jay/", "--yes", "--examine", "3")
    assert found["calls"] <= 3
    assert found["spent_usd"] == pytest.approx(0.001 * (workspace.billed() - before))
    assert (found["keep"], found["labels_from"]) == (["Jay"], "images")
    assert "examined" in (workspace.folder / "job.yaml").read_text()


def test_images_of_a_folder_are_examined_too(workspace: Workspace) -> None:
    """Broken files are left out."""
    photos = workspace.folder / "photos"
    photos.mkdir()
    for number in range(3):
        Image.new("RGB", (200, 150), (number * 50, 0, 200)).save(photos / f"{number}.jpg")
    (photos / "broken.jpg").write_bytes(b"no image")
    found = workspace.json("init", "./photos", "--examine", "4", "--yes")
    assert (found["calls"], found["spent_usd"]) == (4, 0.003)
    assert max(found["labels"].values()) <= 3


def test_the_labels_are_kept_beside_the_file(workspace: Workspace) -> None:
    """The same images cost nothing the second time, also for ``labels``."""
    (workspace.folder / "jobs").mkdir()
    options = ("init", "s3://raw/raw/jay/", "--yes", "--examine", "2", "-o", "jobs/job.yaml")
    assert workspace.json(*options)["calls"] == 2
    assert (workspace.folder / "jobs" / ".asyncfilter" / "references.db").exists()
    assert workspace.json(*options)["calls"] == 0
    shutil.rmtree(workspace.folder / "jobs")
