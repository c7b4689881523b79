"""A model is checked before its first image, and its labels are those of a plain computation at any batch."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from asyncfilter.onnx import model as model_module
from asyncfilter.onnx.batching import Batcher
from asyncfilter.onnx.errors import NoScoresError, OwnModelError
from asyncfilter.onnx.label_names import Name
from asyncfilter.onnx.model import Classifier, ModelSettings, open_classifier
from asyncfilter.onnx.preprocessing import preprocess_of
from asyncfilter.onnx.runner import Runner
from asyncfilter.onnx.scores import ScoredLabel, Scores, decided, labels_of, shares_of
from asyncfilter.onnx.session import open_session
from tests.kit.onnx_models import (
    COLOUR_NAMES,
    COLOURS,
    FLOAT,
    FLOAT16,
    INT64,
    UINT8,
    colour_model,
    graph,
    model,
    node,
    pixel_model,
    value,
    write_model,
)

np = pytest.importorskip("numpy", reason="the extra onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")


def settings_for(folder: Path, body: bytes, labels: str = COLOUR_NAMES, **settings: Any) -> ModelSettings:
    """The settings of a model that is written first."""
    keys = write_model(folder, body, labels)
    return ModelSettings(model=keys["model"], labels=keys["labels"], **settings)


def opened(folder: Path, body: bytes, labels: str = COLOUR_NAMES, **settings: Any) -> Classifier:
    """A model that is written and opened."""
    return open_classifier(settings_for(folder, body, labels, **settings))


def painted(red: int, green: int, blue: int, side: int = 8) -> bytes:
    """The pixels of a picture of one colour."""
    return bytes((red, green, blue)) * (side * side)


def four_channels() -> bytes:
    """A model of images with an alpha channel."""
    nodes = [node("Cast", ["image"], ["numbers"], to=FLOAT), node("Flatten", ["numbers"], ["scores"])]
    return model(graph(nodes, [value("image", UINT8, ("N", 8, 8, 4))], [value("scores", FLOAT, ("N", 256))], []))


# -- What is checked before the first image ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "key", "why"),
    [
        (colour_model(COLOURS, shape=(4, 8, 8, 3)), "model", r"takes tensor\(uint8\) \[4, 8, 8, 3\]"),
        (four_channels(), "model", "expected images"),
        (colour_model(COLOURS, kind=INT64), "model", r"takes tensor\(int64\)"),
        (
            model(
                graph([node("Identity", ["a"], ["b"])], [value("a", UINT8, ("N", 3))], [value("b", UINT8, (1,))], [])
            ),
            "model",
            "expected images",
        ),
        (
            model(
                graph(
                    [node("Add", ["a", "b"], ["c"])],
                    [value(name, FLOAT, (1, 3, 8, 8)) for name in "ab"],
                    [value("c", FLOAT, (1, 3, 8, 8))],
                    [],
                )
            ),
            "model",
            r"expected one input of images, found 2 \(a, b\)",
        ),
        (colour_model([[1.0, 0.0]] * 3), "labels", r"l\.txt: has 4 labels; .*m\.onnx gives 2 scores"),
        (colour_model(COLOURS, shape=("N", "H", "W", 3)), "preprocess", "leaves the size of its input open"),
        (colour_model(COLOURS, kind=FLOAT), "preprocess", "it is missing"),
        (model(graph([node("Nonsense", ["a"], ["b"])], [], [], [])), "model", "not a model that onnxruntime can use"),
        (
            model(graph([node("Mine", ["a"], ["b"], "own.ops")], [], [], [])),
            "model",
            "not a model that onnxruntime can use",
        ),
        (pixel_model(5000, 1, kind=UINT8), "model", "at most 4096 a side"),
    ],
    ids=[
        "batch of 4",
        "four channels",
        "type",
        "no image",
        "two inputs",
        "counts",
        "open size",
        "float",
        "unknown operator",
        "custom operator",
        "large",
    ],
)
def test_a_model_that_cannot_be_used_is_told(body: bytes, key: str, why: str, tmp_path: Path) -> None:
    """The message has what is seen and what is expected."""
    with pytest.raises(OwnModelError, match=why) as caught:
        opened(tmp_path, body)
    assert caught.value.key == key


def two_outputs() -> bytes:
    """A model with scores and with numbers that are none."""
    nodes = [
        node("Cast", ["image"], ["numbers"], to=FLOAT),
        node("ReduceMean", ["numbers"], ["means"], axes=[1, 2], keepdims=0),
        node("Cast", ["means"], ["whole"], to=INT64),
    ]
    outputs = [value("means", FLOAT, ("N", 3)), value("whole", INT64, ("N", 3))]
    return model(graph(nodes, [value("image", UINT8, ("N", 8, 8, 3))], outputs, []))


@pytest.mark.parametrize(
    ("output", "why"),
    [
        (None, "this key is missing; .* has the outputs means, whole"),
        ("none", r"expected an output of .* \(means, whole\), found 'none'"),
        ("whole", r"its output whole is tensor\(int64\)"),
    ],
)
def test_the_output_is_named_where_there_are_several(output: str | None, why: str, tmp_path: Path) -> None:
    """The outputs are in the message."""
    with pytest.raises(OwnModelError, match=why):
        opened(tmp_path, two_outputs(), "a\nb\nc", output=output)
    assert opened(tmp_path, two_outputs(), "a\nb\nc", output="means").batch == 32


def test_a_device_that_is_not_there_is_told(tmp_path: Path) -> None:
    """``auto`` takes what is there."""
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this machine has cuda")
    with pytest.raises(OwnModelError, match="cuda is not there") as caught:
        opened(tmp_path, colour_model(COLOURS), device="cuda")
    assert caught.value.key == "device"
    assert opened(tmp_path, colour_model(COLOURS), device="auto").at_once >= 1


@pytest.mark.parametrize("module", ["numpy", "onnxruntime"])
def test_a_missing_extra_is_named(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the command that installs it."""
    settings = settings_for(tmp_path, colour_model(COLOURS))
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(OwnModelError, match=r"pip install 'asyncfilter\[onnx\]'"):
        open_classifier(settings)


def test_a_model_of_one_image_takes_one(tmp_path: Path) -> None:
    """Whatever ``batch`` says; and large images are few, whatever it says."""
    assert opened(tmp_path, colour_model(COLOURS, shape=(1, 8, 8, 3)), batch=16).batch == 1
    assert opened(tmp_path, colour_model(COLOURS), batch=16).batch == 16
    wide = preprocess_of({"size": 4096, "do_rescale": False}, where="")
    few = opened(tmp_path, colour_model(COLOURS, shape=("N", "H", "W", 3)), preprocess=wide, batch=16)
    assert few.batch == 1


def of_the_batch(*, quantizes: bool) -> bytes:
    """A model whose scores are less by the mean of all images, or rounded by the largest number of all."""
    middle = (
        [
            node("DynamicQuantizeLinear", ["means"], ["q", "s", "z"]),
            node("DequantizeLinear", ["q", "s", "z"], ["scores"]),
        ]
        if quantizes
        else [node("ReduceMean", ["means"], ["all"], axes=[0], keepdims=1), node("Sub", ["means", "all"], ["scores"])]
    )
    nodes = [
        node("Cast", ["image"], ["numbers"], to=FLOAT),
        node("ReduceMean", ["numbers"], ["means"], axes=[1, 2], keepdims=0),
        *middle,
    ]
    return model(graph(nodes, [value("image", UINT8, ("N", 8, 8, 3))], [value("scores", FLOAT, ("N", 3))], []))


@pytest.mark.parametrize("quantizes", [True, False])
def test_a_model_that_looks_at_fellows_is_given_one_image(quantizes: bool, tmp_path: Path) -> None:
    """Else its labels would depend on which images arrive together; a caution says so."""
    classifier = opened(tmp_path, of_the_batch(quantizes=quantizes), "a\nb\nc")
    assert classifier.batch == 1
    assert "takes one image a call" in classifier.cautions[0]


def test_a_model_that_fails_with_several_is_given_one(tmp_path: Path) -> None:
    """Though it leaves their number open."""
    nodes = [
        node("Cast", ["image"], ["numbers"], to=FLOAT),
        node("ReduceMean", ["numbers"], ["means"], axes=[0, 1, 2], keepdims=0),
        node("Unsqueeze", ["means"], ["scores"], axes=[0]),
    ]
    body = graph(nodes, [value("image", UINT8, ("N", 8, 8, 3))], [value("scores", FLOAT, (1, 3))], [])
    classifier = opened(tmp_path, model(body, opset=11), "a\nb\nc")
    assert (classifier.batch, len(classifier.cautions)) == (1, 1)
    assert opened(tmp_path, colour_model(COLOURS)).cautions == ()


def test_sessions_are_as_many_as_there_are_cores_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cores divided by threads, at least one; with one thread all share one session."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    made: list[int] = []
    real = open_session

    def counted(*args: Any, threads: int, **kwargs: Any) -> Any:
        made.append(threads)
        return real(*args, threads=threads, **kwargs)

    monkeypatch.setattr(model_module, "open_session", counted)
    found = {}
    for threads in (1, 2, 3, 16):
        made.clear()
        found[threads] = (opened(tmp_path, colour_model(COLOURS), threads=threads).at_once, len(made))
    assert found == {1: (8, 1), 2: (4, 4), 3: (2, 2), 16: (1, 1)}


# -- Scores and labels -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "scores"),
    [
        ([0.2, 0.8], Scores.NONE),
        ([0.2, 0.71], Scores.NONE),
        ([0.2, 0.89], Scores.NONE),
        ([0.2, 0.6], Scores.SOFTMAX),
        ([0.3, 0.9], Scores.SOFTMAX),
        ([-0.1, 1.1], Scores.SOFTMAX),
        ([5.0, 3.0], Scores.SOFTMAX),
    ],
)
def test_what_scores_are_is_decided_by_their_sum(row: Sequence[float], scores: Scores) -> None:
    """Shares add up to one, give or take a tenth, and none is below 0."""
    assert decided(np.array(row)) is scores


def test_shares_are_those_of_a_plain_computation() -> None:
    """Also of scores so large that a power of them would overflow."""
    rows = np.array([[1.0, 2.0, 3.0], [1000.0, -1000.0, 999.0], [-0.5, 0.25, 2.0]])
    plain = np.exp(rows[0]) / np.exp(rows[0]).sum()
    assert np.allclose(shares_of(rows, Scores.SOFTMAX)[0], plain, atol=1e-12)
    assert np.allclose(shares_of(rows, Scores.SOFTMAX).sum(axis=1), 1)
    assert np.allclose(shares_of(rows, Scores.SIGMOID)[0], 1 / (1 + np.exp(-rows[0])), atol=1e-12)
    assert shares_of(rows, Scores.SIGMOID)[1].tolist() == [1.0, 0.0, 1.0]
    assert shares_of(rows, Scores.NONE).tolist()[2] == [0.0, 0.25, 1.0]


def test_labels_are_the_surest_of_each_name() -> None:
    """By falling confidence, from the least that is kept, at most so many names; at most 100 percent."""
    names = [Name("Crane", ("Bird",)), Name("Duck"), Name("Crane", ("Machine",)), Name("Owl"), Name("Jay")]
    shares = np.array([0.2, 0.3, 1.5, 0.004, 0.005])
    assert labels_of(shares, names, least_pct=0.5, most=20) == [
        ScoredLabel("Crane", ("Machine",), 100.0),
        ScoredLabel("Duck", (), 30.0),
        ScoredLabel("Jay", (), 0.5),
    ]
    assert [one.name for one in labels_of(shares, names, least_pct=0, most=2)] == ["Crane", "Duck"]


def test_an_image_without_scores_fails_alone(tmp_path: Path) -> None:
    """Scores that are no numbers are no labels; its fellows have theirs."""
    body = model(
        graph(
            [
                node("Cast", ["image"], ["numbers"], to=FLOAT),
                node("ReduceMean", ["numbers"], ["means"], axes=[1, 2], keepdims=0),
                node("Log", ["means"], ["logs"]),
                node("Sub", ["logs", "logs"], ["scores"]),
            ],
            [value("image", UINT8, ("N", 8, 8, 3))],
            [value("scores", FLOAT, ("N", 3))],
            [],
        )
    )
    classifier = opened(tmp_path, body, "a\nb\nc")
    rows = classifier.scores([painted(0, 0, 0), painted(9, 9, 9)])
    black, grey = classifier.labels(rows, Scores.SOFTMAX)
    assert isinstance(black, NoScoresError)
    assert not isinstance(grey, NoScoresError)
    assert len(grey) == 3


@pytest.mark.parametrize("shape", [("N", 8, 8, 3), ("N", 3, 8, 8), (1, 8, 8, 3), ("N", "C", "H", "W")])
@pytest.mark.parametrize("kind", [UINT8, FLOAT, FLOAT16])
def test_labels_are_equal_at_any_batch(shape: Sequence[int | str], kind: int, tmp_path: Path) -> None:
    """Equal to onnxruntime called plainly, one by one, within 0.05 points; axes and types are those of the model."""
    body = colour_model(((0.02, 0, 0, 0.01), (0, 0.02, 0, 0), (0, 0, 0.02, 0.01)), shape=shape, kind=kind)
    wanted = preprocess_of({"size": 8, "do_rescale": False}, where="")
    rng = np.random.default_rng(7)
    images = [rng.integers(0, 256, 192, dtype=np.uint8).tobytes() for _ in range(23)]
    session = onnxruntime.InferenceSession(body, providers=["CPUExecutionProvider"])
    expected = []
    for image in images:
        pixels = np.frombuffer(image, np.uint8).reshape(1, 8, 8, 3)
        pixels = pixels if shape[3] == 3 else pixels.transpose(0, 3, 1, 2)
        pixels = pixels.astype({UINT8: np.uint8, FLOAT: np.float32, FLOAT16: np.float16}[kind])
        raw = session.run(None, {"image": np.ascontiguousarray(pixels)})[0][0].astype(float)
        shares = np.exp(raw) / np.exp(raw).sum() * 100
        expected.append(dict(zip(["Ruby", "Grass Green", "Sky Blue", "Fog"], shares.tolist(), strict=True)))
    for batch, threads in ((1, 1), (4, 2), (32, 1)):
        classifier = opened(tmp_path, body, preprocess=wanted, batch=batch, threads=threads, least_pct=0)
        found = asyncio.run(classified(Runner(classifier, Scores.SOFTMAX), images))
        for labels, wanted_pct in zip(found, expected, strict=True):
            assert {one.name: one.confidence_pct for one in labels} == pytest.approx(wanted_pct, abs=0.05)


async def classified(runner: Runner, images: Sequence[bytes]) -> list[list[ScoredLabel]]:
    """The labels of images that arrive at the same time."""
    try:
        return list(await asyncio.gather(*(runner.classify(image) for image in images)))
    finally:
        runner.close()


# -- The runner --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ends_in", "scores"), [("Softmax", Scores.NONE), (None, Scores.SOFTMAX)])
def test_scores_are_decided_once_and_kept_before_any_labels(
    ends_in: str | None, scores: Scores, tmp_path: Path
) -> None:
    """By the first image; no image has its labels before the decision is durable."""
    classifier = opened(tmp_path, colour_model(COLOURS, ends_in=ends_in))
    kept: list[Scores] = []
    ended: list[int] = []

    async def keep(found: Scores) -> None:
        await asyncio.sleep(0)
        assert not ended
        kept.append(found)

    async def one(runner: Runner, number: int) -> None:
        await runner.classify(painted(number, 0, 0))
        ended.append(number)

    async def whole() -> None:
        runner = Runner(classifier, Scores.AUTO, on_decided=keep)
        await asyncio.gather(*(one(runner, number) for number in range(10)))
        runner.close()

    asyncio.run(whole())
    assert kept == [scores]
    assert len(ended) == 10


def test_a_decision_that_was_kept_is_not_made_again(tmp_path: Path) -> None:
    """Scores that look like shares go through the softmax that another run has decided."""
    classifier = opened(tmp_path, colour_model(COLOURS, ends_in="Softmax"))
    (labels,) = asyncio.run(classified(Runner(classifier, Scores.SOFTMAX), [painted(255, 0, 0)]))
    assert labels[0].confidence_pct < 60


def test_a_batch_that_fails_is_tried_image_by_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So one image that a model cannot take fails alone."""
    classifier = opened(tmp_path, colour_model(COLOURS))
    real, bad = classifier.scores, painted(1, 2, 3)

    def scores(images: Sequence[bytes]) -> Any:
        if bad in images:
            raise RuntimeError("cannot take it")
        return real(images)

    monkeypatch.setattr(classifier, "scores", scores)
    runner = Runner(classifier, Scores.SOFTMAX)

    async def whole() -> list[object]:
        images = [painted(9, 0, 0), bad, painted(0, 9, 0)]
        return await asyncio.gather(*(runner.classify(image) for image in images), return_exceptions=True)

    found = asyncio.run(whole())
    runner.close()
    assert [isinstance(one, NoScoresError) for one in found] == [False, True, False]
    assert "cannot take it" in str(found[1])


# -- Batches -----------------------------------------------------------------------------------------------------------


class Batches:
    """Records the sizes of batches; the first ones wait until they are let go."""

    def __init__(self, *, holds: bool = False) -> None:
        self.sizes: list[int] = []
        self.began = threading.Event()
        self.go = threading.Event()
        if not holds:
            self.go.set()

    def run(self, items: Sequence[int]) -> Sequence[int | Exception]:
        self.began.set()
        self.go.wait(10)
        self.sizes.append(len(items))
        return [ValueError(str(item)) if item < 0 else item * 2 for item in items]


async def test_a_full_batch_begins_at_once_and_a_rest_soon() -> None:
    """No image waits for fellows that do not come."""
    batches = Batches()
    batcher = Batcher(batches.run, most=4, at_once=1)
    assert await asyncio.gather(*map(batcher.submit, range(10))) == [item * 2 for item in range(10)]
    assert sorted(batches.sizes, reverse=True) == [4, 4, 2]
    batcher.close()


async def test_images_gather_while_all_calls_are_busy() -> None:
    """What arrives meanwhile is one batch."""
    batches = Batches(holds=True)
    batcher = Batcher(batches.run, most=8, at_once=1)
    first = asyncio.create_task(batcher.submit(0))
    await asyncio.to_thread(batches.began.wait, 10)
    rest = [asyncio.create_task(batcher.submit(item)) for item in range(1, 8)]
    await asyncio.sleep(0)
    batches.go.set()
    assert await asyncio.gather(first, *rest) == [item * 2 for item in range(8)]
    assert batches.sizes == [1, 7]
    batcher.close()


async def test_an_error_concerns_one_item() -> None:
    """An exception that is returned is raised for its item; one that is raised for the whole batch."""
    batcher = Batcher(Batches().run, most=4, at_once=2)
    found = await asyncio.gather(*map(batcher.submit, (1, -2, 3)), return_exceptions=True)
    assert [str(one) for one in found] == ["2", "-2", "6"]
    batcher.close()

    def broken(_items: Sequence[int]) -> Sequence[int | Exception]:
        raise KeyError("whole")

    batcher = Batcher(broken, most=4, at_once=2)
    found = await asyncio.gather(*map(batcher.submit, (1, 2)), return_exceptions=True)
    assert [type(one) for one in found] == [KeyError, KeyError]
    batcher.close()


async def test_who_gives_up_leaves_its_fellows_alone() -> None:
    """A cancelled image is not classified, or its result is dropped."""
    batches = Batches(holds=True)
    batcher = Batcher(batches.run, most=3, at_once=1)
    tasks = [asyncio.create_task(batcher.submit(item)) for item in range(6)]
    await asyncio.to_thread(batches.began.wait, 10)
    for at in (1, 4):
        tasks[at].cancel()
    await asyncio.sleep(0)
    batches.go.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [one if isinstance(one, int) else None for one in found] == [0, None, 4, 6, None, 10]
    assert sum(batches.sizes) == 5
    batcher.close()
