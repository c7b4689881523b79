"""Whole runs with a model of one's own: free, without a service, and bound to what the model is."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from asyncfilter import Summary, plan, refilter, run
from asyncfilter.checkpoint import read_identity, read_status
from asyncfilter.clock import SystemClock
from asyncfilter.errors import CheckpointMismatchError, JobError, ObjectMissingError, UsageError
from asyncfilter.events import ignore
from asyncfilter.job import Job
from asyncfilter.model import ObjectRef, StopReason
from asyncfilter.records.known_model import KnownModel
from asyncfilter.sandbox import BucketSpec, LoadSpec, SandboxOptions
from asyncfilter.wiring.inputs import open_inputs
from asyncfilter.wiring.located import with_bucket
from asyncfilter.wiring.model_memory import ModelMemory
from asyncfilter.wiring.model_use import ModelUse
from asyncfilter.wiring.overrides import Overrides
from asyncfilter.wiring.own_models import open_own_model
from asyncfilter.wiring.own_scores import with_decided_scores
from tests.kit.jobs import make_bare_job
from tests.kit.onnx_models import COLOUR_NAMES, COLOURS, FLOAT, colour_model, write_model
from tests.kit.services import serving

pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")

RED, GREEN, BLUE = (250, 10, 10), (10, 250, 10), (10, 10, 250)
SURE = ((0.1, 0, 0, 0), (0, 0.1, 0, 0), (0, 0, 0.1, 0))
"""Weights with which the colour of a picture is nearly certain."""

NO_AWS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION")


def picture(
    colour: tuple[int, int, int], kind: str = "PNG", size: tuple[int, int] = (40, 30), **settings: Any
) -> bytes:
    """A picture of one colour."""
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, kind, **settings)
    return out.getvalue()


def write_pictures(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, body in files.items():
        (folder / name).write_bytes(body)


def own_job(folder: Path, detector: Mapping[str, Any] | None = None, **sections: Any) -> Job:
    """A job over the folder ``in`` that keeps red pictures."""
    made: dict[str, Any] = {
        "source": {"uri": "./in/", "include": "*"},
        "rules": [{"keep": {"any": "Ruby", "confidence": 80}}],
        "detector": {"kind": "onnx", "model": "m.onnx", "labels": "l.txt", **(detector or {})},
    }
    return make_bare_job(base_dir=folder, **(made | sections))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model and some pictures; no credentials, and no network."""
    for name in NO_AWS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))

    async def refused(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(asyncio.BaseEventLoop, "create_connection", refused)
    write_model(tmp_path, colour_model(SURE))
    write_pictures(
        tmp_path / "in",
        {
            "a-red.png": picture(RED),
            "b-green.jpg": picture(GREEN, "JPEG"),
            "c-red.webp": picture(RED, "WEBP"),
            "d-blue.bmp": picture(BLUE, "BMP"),
            "e-red.ppm": picture(RED, "PPM"),
        },
    )
    return tmp_path


def labels_of(job: Job) -> dict[str, list[tuple[str, float, tuple[str, ...]]]]:
    """Labels, percent and aliases of each image, by key."""
    from asyncfilter.checkpoint import read_images

    return {
        one.key: [(label.name, label.confidence_pct, label.aliases) for label in one.detection.labels]
        for one in read_images(job.checkpoint)
        if one.detection is not None
    }


async def test_a_folder_is_examined_without_a_service(folder: Path) -> None:
    """No credentials, no network, no price; every format that Pillow reads is examined."""
    job = own_job(folder, limits={"budget_usd": 0}, pricing={"tiers": [{"up_to": None, "usd": 1}]})
    found = await run(job)
    assert found.stop_reason is StopReason.COMPLETED
    assert (found.counts.examined, found.counts.keep, found.counts.failed) == (5, 3, {})
    assert (found.counts.billed_calls, found.counts.spent_micros) == (0, 0)
    assert "pricing has no effect: onnx costs nothing" in found.cautions
    again = await run(job)
    assert (again.this_run.calls, again.counts.examined) == (0, 5)


async def test_labels_have_names_and_aliases(folder: Path) -> None:
    """As the label file has them; the version is that of the model."""
    job = own_job(folder)
    await run(job)
    labels = labels_of(job)["a-red.png"]
    assert labels[0][0] == "Ruby"
    assert labels[0][1] > 99.9
    assert labels[0][2] == ("Red Stone",)
    assert all(percent >= 0.5 for _, percent, _ in labels)


@pytest.mark.parametrize("source", ["folder", "s3"])
async def test_pictures_are_upright_in_rgb_and_fail_alone(source: str, folder: Path, tmp_path: Path) -> None:
    """EXIF, CMYK, alpha and grey; what is no picture fails as other detectors say, and its fellows are examined."""
    pixels = Image.new("RGB", (16, 16), BLUE)
    pixels.paste(RED, (0, 0, 16, 8))  # red above, once it is upright
    turned = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels.transpose(Image.Transpose.ROTATE_90).save(turned, "PNG", exif=exif)
    clear = io.BytesIO()
    Image.new("RGBA", (16, 16), (*RED, 0)).save(clear, "PNG")
    inks = io.BytesIO()
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(inks, "JPEG")
    files = {
        "cmyk.jpg": inks.getvalue(),
        "clear.png": clear.getvalue(),
        "cut.jpg": picture(RED, "JPEG")[:200],
        "grey.png": picture((9, 9, 9)),
        "page.jpg": b"<html>404</html>",
        "turned.png": turned.getvalue(),
    }
    shutil.rmtree(folder / "in")
    # The mean of the upper half alone: what is upright is red.
    write_model(folder, upper_half_model())
    write_pictures(folder / "in", files)
    if source == "folder":
        job = own_job(folder)
        found = await run(job)
    else:
        options = SandboxOptions(load=(LoadSpec("raw", str(folder / "in")),), buckets=(BucketSpec("clean"),))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(asyncio.BaseEventLoop, "create_connection", REAL_CONNECTION)
            async with serving(options) as sandbox:
                job = own_job(
                    folder,
                    source={"uri": "s3://raw/", "include": "*"},
                    actions={"keep": {"copy": "s3://clean/{key}"}},
                )
                found = await run(job)
                operations = set(sandbox.stats().operations)
                assert sorted(sandbox.keys("clean")) == ["clear.png", "cmyk.jpg", "turned.png"]
        assert not operations & {
            "DetectLabels",
            "DetectCustomLabels",
            "GetServiceQuota",
            "GetAWSDefaultServiceQuota",
            "GetCallerIdentity",
            "SimulatePrincipalPolicy",
        }
    assert found.counts.failed == {"invalid_image_format": 2}
    labels = labels_of(job)
    assert {key: labels[key][0][0] for key in ("clear.png", "cmyk.jpg", "turned.png")} == dict.fromkeys(
        ("clear.png", "cmyk.jpg", "turned.png"), "Ruby"
    )


REAL_CONNECTION = asyncio.BaseEventLoop.create_connection


def upper_half_model() -> bytes:
    """A model of the colours of the upper half of a picture."""
    from tests.kit.onnx_models import UINT8, graph, model, node, tensor, value

    flat = [one for row in SURE for one in row]
    nodes = [
        node("Cast", ["image"], ["numbers"], to=FLOAT),
        node("MaxPool", ["numbers_first"], ["pooled"], kernel_shape=[4, 8], strides=[4, 8]),
        node("Transpose", ["numbers"], ["numbers_first"], perm=[0, 3, 1, 2]),
        node("Split", ["pooled"], ["upper", "lower"], axis=2),
        node("ReduceMean", ["upper"], ["means"], axes=[2, 3], keepdims=0),
        node("MatMul", ["means", "w"], ["scores"]),
    ]
    nodes[1], nodes[2] = nodes[2], nodes[1]
    body = graph(
        nodes,
        [value("image", UINT8, ("N", 8, 8, 3))],
        [value("scores", FLOAT, ("N", 4))],
        [tensor("w", (3, 4), flat)],
    )
    return model(body, opset=11)


# -- What the checkpoint is bound to -----------------------------------------------------------------------------------


def changed(folder: Path, what: str) -> Job:
    """The job after a change."""
    match what:
        case "model":
            write_model(folder, colour_model(COLOURS))
        case "labels":
            write_model(folder, colour_model(SURE), COLOUR_NAMES.replace("fog", "mist"))
        case "weights":
            (folder / "w.bin").write_bytes(b"\1" * 48)
    detector: dict[str, Mapping[str, Any]] = {
        "preprocess": {"preprocess": {"resample": 3}},
        "output": {"output": "scores"},
        "scores": {"scores": "softmax"},
        "min_confidence": {"min_confidence": 2},
        "max_labels": {"max_labels": 3},
        "batch": {"batch": 1},
        "threads": {"threads": 2},
        "device": {"device": "auto"},
    }
    return own_job(folder, detector.get(what, {}))


BOUND = ("preprocess", "output", "scores", "min_confidence", "max_labels", "labels", "model")
FREE = ("batch", "threads", "device", "place")


async def test_the_checkpoint_is_bound_to_what_the_model_is(folder: Path) -> None:
    """The labels of one model are not mixed with those of another: the message names the key.

    How it runs may change, and its place: the model is what it holds.
    """
    await run(own_job(folder))
    for what in FREE:
        job = changed(folder, what)
        if what == "place":
            (folder / "m.onnx").rename(folder / "n.onnx")
            job = own_job(folder, {"model": "n.onnx"})
        assert (await run(job)).this_run.calls == 0
    (folder / "n.onnx").rename(folder / "m.onnx")
    for what in BOUND:
        job = changed(folder, what)
        with pytest.raises(CheckpointMismatchError, match=rf"detector\.{what}"):
            await run(job)
        with pytest.raises(CheckpointMismatchError, match=rf"detector\.{what}"):
            await refilter(job)
        write_model(folder, colour_model(SURE))


async def test_weights_beside_the_model_belong_to_it(folder: Path) -> None:
    """A model whose weights are in a file is examined with, and another file is another model."""
    import struct

    body = colour_model(SURE, location="w.bin")
    weights = struct.pack("<12f", *(one for row in SURE for one in row))
    write_model(folder, body)
    (folder / "w.bin").write_bytes(weights)
    job = own_job(folder)
    found = await run(job)
    assert found.counts.keep == 3
    (folder / "w.bin").write_bytes(weights[:-4] + b"\0\0\0\1")
    with pytest.raises(CheckpointMismatchError, match=r"detector\.model"):
        await run(job)


async def test_decided_labels_need_no_model(folder: Path) -> None:
    """A refilter of what is stored works where the model is not."""
    await run(own_job(folder))
    (folder / "m.onnx").unlink()
    job = own_job(folder, rules=[{"keep": {"any": ["Grass Green"], "confidence": 80}}])
    found = await refilter(job)
    assert (found.counts.keep, found.counts.examined) == (1, 5)


async def test_scores_are_decided_once_for_a_checkpoint(folder: Path) -> None:
    """By its first image, and durable: images of later runs go by it though they look otherwise."""
    write_model(folder, colour_model(((1 / 255, 0, 0, 0), (0, 1 / 255, 0, 0), (0, 0, 1 / 255, 0))))
    everything = {path.name: path.read_bytes() for path in (folder / "in").iterdir()}
    shutil.rmtree(folder / "in")
    write_pictures(folder / "in", {"a-red.png": picture((255, 0, 0))})
    job = own_job(folder)
    await run(job)
    assert read_status(job.checkpoint).model.scores == "none"
    write_pictures(folder / "in", {**everything, "white.png": picture((255, 255, 255))})
    await run(job)
    white = {name: percent for name, percent, _ in labels_of(job)["white.png"]}
    assert white == pytest.approx({"Ruby": 100, "Grass Green": 100, "Sky Blue": 100}, abs=0.01)
    # A checkpoint that begins with the white picture decides otherwise.
    other = replace(own_job(folder, source={"uri": "./in/", "include": "white*"}), checkpoint=folder / "other.db")
    await run(other)
    assert read_status(other.checkpoint).model.scores == "softmax"


async def test_scores_are_decided_at_home_for_workers(folder: Path) -> None:
    """By the first image that can be classified, durable, and once: workers are told what was decided."""
    write_pictures(folder / "in", {"0-broken.png": b"no picture", "1-white.png": picture((255, 255, 255))})
    job = await with_bucket(own_job(folder))
    memory = ModelMemory(KnownModel())
    async with open_inputs(job, Overrides(), use=model_use(memory)) as (inputs, _):
        sent = await with_decided_scores(job, inputs, memory)
        assert memory.known.scores == "softmax"
        assert sent.detector.own is not None
        assert sent.detector.own.scores == "softmax"
        shutil.rmtree(folder / "in")  # what is known is not asked again
        assert await with_decided_scores(job, inputs, memory) == sent
    plain = make_bare_job(base_dir=folder)
    assert await with_decided_scores(plain, inputs, memory) is plain


async def test_a_worker_opens_what_it_was_told(folder: Path) -> None:
    """The model that the head has hashed, and no other; with as many calls at once as it has cores."""
    job = await with_bucket(own_job(folder))
    opened = await open_own_model(job, None, cores=3)
    assert "3 calls at once" in opened.described
    body = picture(RED)
    image = ObjectRef(bucket="b", key="k", size_bytes=len(body), etag="e", seq=1)
    found = await opened.detector.examine(image, body)
    assert (found.labels[0].name, found.model_version) == ("Ruby", opened.version)
    opened.close()
    write_model(folder, colour_model(COLOURS))
    with pytest.raises(UsageError, match=r"detector\.model: changed"):
        await open_own_model(job, None)


def model_use(memory: ModelMemory) -> ModelUse:
    """A run that examines images."""
    return ModelUse(run_id="r", clock=SystemClock(), emit=ignore, spent_micros=0, memory=memory)


# -- Before the first image --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("detector", "why"),
    [
        ({"model": "none.onnx"}, r"detector\.model: .*none\.onnx: No such file"),
        ({"labels": "none.txt"}, r"detector\.labels: .*none\.txt: No such file"),
        ({"labels": "few.txt"}, r"detector\.labels: .*few\.txt: has 2 labels; .*m\.onnx gives 4 scores"),
        ({"preprocess": "none.json"}, r"detector\.preprocess: .*none\.json: No such file"),
        ({"preprocess": {"size": 9}}, r"detector\.preprocess: gives 9 x 9 pixels"),
        ({"output": "none"}, r"detector\.output: expected an output"),
        ({"device": "cuda"}, r"detector\.device: cuda is not there"),
    ],
)
@pytest.mark.parametrize("verb", [run, plan])
async def test_what_cannot_work_is_told_before_the_first_image(
    verb: Any, detector: Mapping[str, Any], why: str, folder: Path
) -> None:
    """By ``plan`` too; no checkpoint is made."""
    (folder / "few.txt").write_text("a\nb\n")
    job = own_job(folder, detector)
    with pytest.raises(UsageError, match=why):
        await verb(job)
    assert not job.checkpoint.exists()


def test_rules_that_need_more_than_names_are_refused(tmp_path: Path) -> None:
    """Each with its place, also below ``not``."""
    rules = [
        {"keep": {"category": "Animals"}},
        {"keep": {"any": "Ruby", "count": {"label": "Ruby", "min": 1}}},
        {"reject": {"not": {"area": {"label": "Ruby", "min": 0.1}}}},
        {"review": {"any": "Ruby", "confidence": "assumed"}},
    ]
    with pytest.raises(JobError) as caught:
        own_job(tmp_path, rules=rules)
    assert {one.key for one in caught.value.problems} == {
        "rules[0].keep.category",
        "rules[1].keep.count",
        "rules[2].reject.not.area",
        "rules[3].review.confidence",
    }


@pytest.mark.parametrize("key", ["labels", "preprocess", "output", "scores", "batch", "threads", "device", "model"])
def test_its_keys_stand_beside_its_kind_alone(key: str, tmp_path: Path) -> None:
    """With another kind they are refused, and the message names the kind."""
    with pytest.raises(JobError) as caught:
        make_bare_job(base_dir=tmp_path, detector={"kind": "rekognition", key: "x"})
    (problem,) = caught.value.problems
    assert problem.key == f"detector.{key}"
    assert "onnx" in problem.message


@pytest.mark.parametrize("key", ["region", "start", "lanes"])
def test_keys_of_services_are_refused(key: str, tmp_path: Path) -> None:
    """A model on this machine has no region."""
    values = {"region": "eu-west-1", "start": {"for": "1h"}, "lanes": [{"region": "eu-west-1"}]}
    with pytest.raises(JobError) as caught:
        own_job(tmp_path, {key: values[key]})
    assert {one.key for one in caught.value.problems} == {f"detector.{key}"}


async def test_unknown_keys_of_a_file_are_cautions(folder: Path) -> None:
    """In a mapping they are problems of the job."""
    (folder / "p.json").write_text('{"size": 8, "crop_pct": 0.9, "do_rescale": false}')
    found = await run(own_job(folder, {"preprocess": "p.json"}))
    assert [one for one in found.cautions if "crop_pct" in one]
    with pytest.raises(JobError, match="crop_pct"):
        own_job(folder, {"preprocess": {"size": 8, "crop_pct": 0.9}})


async def test_names_that_the_model_lacks_are_told(folder: Path) -> None:
    """Before the first image, with the nearest name; an alias is one."""
    job = own_job(folder, rules=[{"keep": {"any": ["Rubby", "Red Stone"]}}])
    found = await run(job)
    (told,) = (one for one in found.cautions if "the model has no label" in one)
    assert "'Rubby'; the nearest is 'Ruby'" in told


# -- A model in S3 -----------------------------------------------------------------------------------------------------


async def test_a_model_in_s3_is_fetched(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its file of weights; the checkpoint is that of the same model in a folder."""
    import struct

    monkeypatch.setattr(asyncio.BaseEventLoop, "create_connection", REAL_CONNECTION)
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    (folder / "models").mkdir()
    write_model(folder / "models", colour_model(SURE, location="weights/w.bin"))
    (folder / "models" / "weights").mkdir()
    (folder / "models" / "weights" / "w.bin").write_bytes(struct.pack("<12f", *(one for row in SURE for one in row)))
    async with serving(SandboxOptions(load=(LoadSpec("models", str(folder / "models")),))):
        job = own_job(folder, {"model": "s3://models/m.onnx"})
        found = await run(job)
        assert (found.counts.keep, found.counts.examined) == (3, 5)
        local = own_job(folder, {"model": "models/m.onnx"})
        assert (await run(local)).this_run.calls == 0
        with pytest.raises(ObjectMissingError, match=r"s3://models/none\.onnx: there is no such object"):
            await run(own_job(folder, {"model": "s3://models/none.onnx"}))
    # Without a network what is stored can be decided again.
    assert (await refilter(job)).counts.examined == 5
    assert read_identity(job.checkpoint)["detector.model"].startswith("sha256:")


# -- Rate and limits ---------------------------------------------------------------------------------------------------


async def test_a_rate_that_is_set_is_kept(folder: Path) -> None:
    """``auto`` is no limit; a number is obeyed, scaled by ``share``."""
    assert (await run(own_job(folder))).tps_limit is None
    job = own_job(folder, limits={"tps": 100, "share": 0.5}, checkpoint="other.db")
    assert (await run(job)).tps_limit == 50


async def test_near_duplicates_are_hashed_in_the_same_decoding(folder: Path) -> None:
    """A copy in another size has the hash of its original."""
    shaded = Image.linear_gradient("L").convert("RGB")
    for name, size in (("g.png", (256, 256)), ("h.png", (128, 128))):
        shaded.resize(size).save(folder / "in" / name)
    job = own_job(folder, near_duplicates=True)
    await run(job)
    from asyncfilter.checkpoint import read_images
    from asyncfilter.policy.provenance import provenance_of

    rows = read_images(job.checkpoint)
    hashes = {one.key: provenance_of(one.detection).perceptual_hash for one in rows}
    assert hashes["g.png"] is not None
    assert (int(hashes["g.png"], 16) ^ int(hashes["h.png"] or "0", 16)).bit_count() <= 6


async def test_references_are_examined_by_the_model(folder: Path) -> None:
    """``like`` names a picture, and the labels of the model stand for it."""
    write_pictures(folder, {"good.png": picture(RED)})
    job = own_job(folder, rules=[{"keep": {"like": "good.png", "confidence": 80}}])
    found = await run(job)
    assert (found.counts.keep, found.counts.billed_calls) == (3, 0)


def summary_of(found: Summary) -> tuple[int, int]:
    """Kept and examined images."""
    return found.counts.keep, found.counts.examined


async def test_the_same_answer_at_any_batch_and_thread(folder: Path) -> None:
    """Labels, percent within 0.05 points."""
    answers = []
    for number, detector in enumerate(({"batch": 1}, {"batch": 4, "threads": 2}, {"batch": 32})):
        job = own_job(folder, detector, checkpoint=f"{number}.db")
        assert summary_of(await run(job)) == (3, 5)
        answers.append(labels_of(job))
    for other in answers[1:]:
        assert other.keys() == answers[0].keys()
        for key, labels in other.items():
            for (name, percent, aliases), (name_0, percent_0, aliases_0) in zip(labels, answers[0][key], strict=True):
                assert (name, aliases) == (name_0, aliases_0)
                assert percent == pytest.approx(percent_0, abs=0.05)


def test_environment_is_bare() -> None:
    """The fixture is what keeps these tests from a service; without it they would prove nothing."""
    assert os.environ.get("AWS_ENDPOINT_URL") is None
