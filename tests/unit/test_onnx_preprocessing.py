"""Preprocessing is that of Hugging Face's image processors, compared with the same computation written plainly."""

from __future__ import annotations

import io
from math import ceil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from asyncfilter.onnx.errors import OwnModelError
from asyncfilter.onnx.frames import Frame
from asyncfilter.onnx.preprocessing import Preprocess, Tensor, preprocess_of, read_preprocess_file, steps_for

np = pytest.importorskip("numpy", reason="the extra onnx is not installed")

VIT = {
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_processor_type": "ViTImageProcessor",
    "image_std": [0.5, 0.5, 0.5],
    "resample": 2,
    "rescale_factor": 0.00392156862745098,
    "size": {"height": 224, "width": 224},
}
"""google/vit-base-patch16-224."""

MOBILENET = {
    "crop_size": {"height": 224, "width": 224},
    "do_center_crop": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "resample": 2,
    "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": 256},
}
"""google/mobilenet_v2_1.0_224."""

CLIP = {
    "crop_size": 224,
    "do_center_crop": True,
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "CLIPFeatureExtractor",
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
    "size": 224,
}
"""openai/clip-vit-base-patch32, in its older form, where a number is the shorter side."""

FLOAT = Tensor(None, None, is_uint8=False)


def noise(width: int, height: int) -> Image.Image:
    """A picture whose every pixel is another."""
    rng = np.random.default_rng(width * 10_000 + height)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8), "RGB")


def plainly(config: dict[str, Any], picture: Image.Image, *, is_shortest: bool = False) -> Any:
    """The pixels as the slow image processors of transformers compute them, step by step; height, width, channel."""
    size: Any = config.get("size")
    if config.get("do_resize"):
        if is_shortest or (isinstance(size, dict) and "shortest_edge" in size):
            edge: int = size["shortest_edge"] if isinstance(size, dict) else size
            short, long = sorted(picture.size)
            new_long = int(edge * long / short)
            wanted = (edge, new_long) if picture.width <= picture.height else (new_long, edge)
        else:
            wanted = (size["width"], size["height"]) if isinstance(size, dict) else (size, size)
        picture = picture.resize(wanted, resample=config.get("resample", 2), reducing_gap=None)
    image = np.asarray(picture)
    if config.get("do_center_crop"):
        crop = config["crop_size"]
        crop = (crop["height"], crop["width"]) if isinstance(crop, dict) else (crop, crop)
        image = cropped(image, *crop)
    if config.get("do_rescale", True):
        image = (image.astype(np.float64) * config.get("rescale_factor", 1 / 255)).astype(np.float32)
    if config.get("do_normalize"):
        if not np.issubdtype(image.dtype, np.floating):
            image = image.astype(np.float32)
        mean, std = (np.array(config[name], dtype=image.dtype) for name in ("image_mean", "image_std"))
        image = (image - mean) / std
    return image.astype(np.float32)


def cropped(image: Any, crop_height: int, crop_width: int) -> Any:
    """``center_crop`` of transformers, with its padding."""
    height, width = image.shape[:2]
    top, left = (height - crop_height) // 2, (width - crop_width) // 2
    if top >= 0 and left >= 0:
        return image[top : top + crop_height, left : left + crop_width]
    new_height, new_width = max(crop_height, height), max(crop_width, width)
    padded = np.zeros((new_height, new_width, 3), image.dtype)
    top_pad, left_pad = ceil((new_height - height) / 2), ceil((new_width - width) / 2)
    padded[top_pad : top_pad + height, left_pad : left_pad + width] = image
    top, left = top + top_pad, left + left_pad
    return padded[max(0, top) : min(new_height, top + crop_height), max(0, left) : min(new_width, left + crop_width)]


def ours(wanted: Preprocess, picture: Image.Image, *, dtype: str = "float32", is_first: bool = False) -> Any:
    """The pixels as a model is given them."""
    from asyncfilter.onnx.tensors import Tensors

    steps = steps_for(wanted, FLOAT)
    tensors = Tensors(steps, dtype, is_channels_first=is_first)
    return tensors.of([steps.frame.of(picture)])[0]


def read(tmp_path: Path, config: dict[str, Any]) -> tuple[Preprocess, list[str]]:
    """The settings in a file with ``config``."""
    path = tmp_path / "preprocessor_config.json"
    path.write_bytes(msgspec.json.encode(config))
    return read_preprocess_file(str(path))


@pytest.mark.parametrize(("config", "is_shortest"), [(VIT, False), (MOBILENET, False), (CLIP, True)])
@pytest.mark.parametrize("size", [(640, 480), (480, 641), (224, 224), (100, 37), (3000, 20)])
def test_files_of_hugging_face_are_followed(
    config: dict[str, Any], is_shortest: bool, size: tuple[int, int], tmp_path: Path
) -> None:
    """Every number is the one that transformers computes, to the last bit; also where a picture is too small."""
    wanted, cautions = read(tmp_path, config)
    assert cautions == []
    picture = noise(*size)
    expected = plainly(config, picture, is_shortest=is_shortest)
    assert np.array_equal(ours(wanted, picture), expected)
    assert np.array_equal(ours(wanted, picture, is_first=True), expected.transpose(2, 0, 1))


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    wanted=st.fixed_dictionaries(
        {},
        optional={
            "size": st.integers(1, 40)
            | st.fixed_dictionaries({"height": st.integers(1, 40), "width": st.integers(1, 40)})
            | st.fixed_dictionaries({"shortest_edge": st.integers(1, 40)}),
            "resample": st.integers(0, 5),
            "do_rescale": st.booleans(),
            "rescale_factor": st.floats(1e-3, 10),
            "do_normalize": st.booleans(),
        },
    ),
    crop=st.integers(1, 50) | st.fixed_dictionaries({"height": st.integers(1, 50), "width": st.integers(1, 50)}),
)
def test_any_settings_are_followed(size: tuple[int, int], wanted: dict[str, Any], crop: Any) -> None:
    """Whatever is resized, cropped beyond its sides, rescaled and normalised."""
    config = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6], "do_normalize": False} | wanted
    config |= {"do_center_crop": True, "crop_size": crop, "do_resize": "size" in wanted}
    found = ours(preprocess_of(config, where=""), noise(*size))
    assert np.array_equal(found, plainly(config, noise(*size)))


def test_bgr_reverses_channels_before_they_are_normalised() -> None:
    """Means are in the order of ``color``."""
    config = {"size": 4, "image_mean": [0.0, 0.25, 0.5], "image_std": [1, 2, 4]}
    picture = noise(4, 4)
    blue_first = Image.fromarray(np.asarray(picture)[..., ::-1].copy(), "RGB")
    found = ours(preprocess_of({**config, "color": "BGR"}, where=""), picture)
    assert np.array_equal(found, ours(preprocess_of(config, where=""), blue_first))


def test_half_numbers_are_rounded_once() -> None:
    """A model of float16 gets what float32 comes to."""
    wanted = preprocess_of({"size": 8}, where="")
    assert np.array_equal(ours(wanted, noise(8, 8), dtype="float16"), ours(wanted, noise(8, 8)).astype(np.float16))


def test_a_model_of_pixels_is_given_pixels() -> None:
    """Without settings a picture is stretched to the size of the model, bilinear."""
    steps = steps_for(None, Tensor(7, 5, is_uint8=True))
    picture = noise(30, 20)
    assert steps.frame.of(picture) == picture.resize((7, 5), Image.Resampling.BILINEAR).tobytes()


def test_the_frame_is_what_a_process_is_sent() -> None:
    """It survives its message, and its pixels are those of its size."""
    frame = Frame(shortest=8, crop=(5, 6), resample=3)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(frame), type=Frame) == frame
    assert len(frame.of(noise(20, 10))) == frame.pixel_bytes == 90


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"size": {"shortest_edge": 8}}, "one size, found shortest_edge alone"),
        ({"do_resize": False}, "one size, found do_resize: false without a crop"),
        ({"do_center_crop": True}, "expected crop_size"),
        ({}, "expected size, as the model leaves the size of its input open"),
        ({"size": 8, "image_mean": 0.5}, "expected image_std beside do_normalize"),
        ({"size": 8, "do_normalize": True}, "expected image_mean beside do_normalize"),
    ],
)
def test_settings_that_lead_nowhere_are_told(values: dict[str, Any], why: str) -> None:
    """Before any picture."""
    with pytest.raises(OwnModelError, match=why):
        steps_for(preprocess_of(values, where=""), FLOAT)


def test_another_size_than_the_model_takes_is_told() -> None:
    """Both sizes are in the message."""
    with pytest.raises(OwnModelError, match=r"gives 8 x 9 pixels .* the model takes 8 x 10"):
        steps_for(preprocess_of({"size": {"height": 8, "width": 9}}, where=""), Tensor(10, 8, is_uint8=False))


def test_a_model_of_numbers_needs_settings() -> None:
    """A guess would be wrong in silence."""
    with pytest.raises(OwnModelError, match="it is missing") as caught:
        steps_for(None, Tensor(8, 8, is_uint8=False))
    assert caught.value.key == "preprocess"


@pytest.mark.parametrize("values", [{"do_rescale": True}, {"image_mean": 0.5, "image_std": 0.5}])
def test_pixels_are_not_rescaled(values: dict[str, Any]) -> None:
    """A model that takes pixels from 0 to 255 takes nothing else."""
    with pytest.raises(OwnModelError, match="the model takes pixels from 0 to 255"):
        steps_for(preprocess_of(values, where=""), Tensor(8, 8, is_uint8=True))


def test_an_unknown_key_of_a_file_is_a_caution(tmp_path: Path) -> None:
    """What a file only says about itself, does not ask for, or does anyway, is none."""
    silent = {"image_processor_type": "X", "do_pad": False, "crop_pct": None, "do_convert_rgb": True}
    wanted, cautions = read(tmp_path, {**VIT, **silent})
    assert (wanted, cautions) == (read(tmp_path, VIT)[0], [])
    wanted, cautions = read(tmp_path, {**VIT, "crop_pct": 0.9, "do_pad": True, "do_convert_rgb": False})
    assert wanted == read(tmp_path, VIT)[0]
    assert [one.partition(": ")[2].partition(" ")[0] for one in cautions] == ["crop_pct", "do_convert_rgb", "do_pad"]


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"size": 0}, "size: expected a whole number of pixels"),
        ({"size": 10**9}, "size: expected a whole number of pixels"),
        ({"size": {"longest_edge": 5}}, "size: expected .* found a mapping with longest_edge"),
        ({"crop_size": {"shortest_edge": 5}}, "crop_size: expected"),
        ({"size": {"height": "8", "width": 8}}, "size: expected a whole number"),
        ({"resample": 6}, "resample: expected the number of a filter"),
        ({"do_resize": 1}, "do_resize: expected true or false"),
        ({"image_mean": [1, 2]}, "image_mean: expected 3 numbers, found 2"),
        ({"image_std": [1, 0, 1]}, "image_std: expected numbers other than 0"),
        ({"image_mean": ["a", 0, 0]}, "image_mean: expected a number"),
        ({"rescale_factor": 0}, "rescale_factor: expected a number above 0"),
        ({"rescale_factor": float("inf")}, "rescale_factor: expected a number"),
        ({"color": "rgb"}, "color: expected RGB or BGR"),
    ],
)
def test_a_wrong_value_is_told(values: dict[str, Any], why: str) -> None:
    """The message has the key, the value and what is expected."""
    with pytest.raises(OwnModelError, match=f"here: {why}"):
        preprocess_of(values, where="here")


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"size": 1, "resample": "x"}'])
def test_a_file_that_cannot_be_used_is_told(content: bytes, tmp_path: Path) -> None:
    """With its path."""
    path = tmp_path / "p.json"
    path.write_bytes(content)
    with pytest.raises(OwnModelError, match=r"p\.json: ") as caught:
        read_preprocess_file(str(path))
    assert caught.value.key == "preprocess"


def test_equal_settings_have_one_description() -> None:
    """What a checkpoint is bound to does not depend on how settings were spelt."""
    spelt = preprocess_of({"size": {"height": 8, "width": 8}, "rescale_factor": 1 / 255, "resample": 2}, where="")
    assert spelt.described() == preprocess_of({"size": 8}, where="").described() == "size=(8, 8)"


def test_a_jpeg_is_decoded_at_its_full_size() -> None:
    """As any program that uses Pillow does, and not at a fraction, which is faster and gives other pixels."""
    from asyncfilter.pictures.convert import frame_file

    out = io.BytesIO()
    noise(640, 480).save(out, "JPEG", quality=90)
    frame = Frame(size=(16, 16))
    pixels, _ = frame_file(io.BytesIO(out.getvalue()), frame)
    with Image.open(io.BytesIO(out.getvalue())) as picture:
        assert pixels == frame.of(picture.convert("RGB"))
