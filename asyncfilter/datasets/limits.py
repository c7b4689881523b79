"""The limits of Custom Labels on datasets and images, in one table, each with its source.

Sources: CL is the Amazon Rekognition Custom Labels guide with the title of a page, API the Rekognition API reference.
Where the pages disagree (labels of a use case, 255 or 256 characters), *Guidelines and quotas* and the API hold. Limits
that the service does not enforce are warnings, advice is a notice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from asyncfilter.datasets.manifests.codes import Severity


class Limit(NamedTuple):
    """One limit.

    Attributes:
        id: Its public name.
        limit: The bound, in the unit that the id says; for a range the lower one comes first.
        severity: What breaking it means.
        advice: What to do when it is broken.
        source: Where it is published.
    """

    id: str
    limit: float | tuple[float, float]
    severity: Severity
    advice: str
    source: str


MIB = 1024 * 1024
_QUOTAS = "CL, Guidelines and quotas in Amazon Rekognition Custom Labels"
_ADVISED = "CL, Guidelines and quotas: at least 10 images are advised"
_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTICE

MAX_MANIFEST_BYTES = 1024 * MIB
MAX_IMAGES = 250_000
MAX_IMAGES_SMALL_REGION = 28_000
MAX_TEST_IMAGES_SMALL_REGION = 7_000
SMALL_REGIONS = frozenset({"ap-south-1", "eu-west-2"})
"""Regions in which a dataset may have fewer images: Mumbai and London."""
MIN_IMAGE_LABELS = 2
MIN_BOX_LABELS = 1
MAX_LABELS = 250
MAX_LABELS_OF_IMAGE = 50
MAX_BOXES_OF_IMAGE = 50
MIN_SIDE_PX = 64
MAX_SIDE_PX = 4096
MAX_ASPECT = 20
MAX_IMAGE_BYTES = 15 * MIB
MIN_OVERLAP = 0.5
FEW_IMAGES = 10

_TABLE = (
    Limit("labels_min", MIN_IMAGE_LABELS, _E, "Use at least two image-level labels, or one label with boxes.", _QUOTAS),
    Limit("labels_max", MAX_LABELS, _E, "Use at most 250 labels.", _QUOTAS),
    Limit("images_max", MAX_IMAGES, _E, "Use fewer images, or ask AWS to raise the limit.", _QUOTAS),
    Limit("manifest_bytes", MAX_MANIFEST_BYTES, _E, "Keep the manifest within 1 GiB.", _QUOTAS),
    Limit("images_per_label_min", FEW_IMAGES, _W, "Add images of these labels.", _ADVISED),
    Limit("test_images_per_label_max", 1000, _E, "Take images of these labels out of the test manifest.", _QUOTAS),
    Limit("labels_per_image", MAX_LABELS_OF_IMAGE, _E, "Keep at most 50 labels an image.", _QUOTAS),
    Limit("boxes_per_image", MAX_BOXES_OF_IMAGE, _E, "Keep at most 50 boxes an image.", _QUOTAS),
    Limit("one_bucket", 1, _E, "Copy the images to one bucket.", "CL, ERROR_IMAGES_IN_MULTIPLE_S3_BUCKETS"),
    Limit(
        "test_share",
        (0.1, 0.3),
        _W,
        "Split again: asyncfilter manifest split IN --train A --test B --test-share 0.2.",
        "CL, Creating training and test datasets: the service itself splits 80 to 20",
    ),
    Limit(
        "label_overlap",
        MIN_OVERLAP,
        _E,
        "Have at least half of the training labels in the test manifest, too.",
        "CL, ERROR_INSUFFICIENT_LABEL_OVERLAP",
    ),
    Limit(
        "shared_images",
        0,
        _W,
        "Test with other images than those that are trained with.",
        "CL, Validation rules for manifest files",
    ),
    Limit(
        "image_format",
        0,
        _E,
        "Convert these images to JPEG or PNG; put those that are not there where the manifest says.",
        _QUOTAS,
    ),
    Limit("image_bytes", MAX_IMAGE_BYTES, _E, "Make these images smaller.", _QUOTAS),
    Limit("image_px", (MIN_SIDE_PX, MAX_SIDE_PX), _E, "Scale these images, and their boxes.", _QUOTAS),
    Limit("image_aspect", MAX_ASPECT, _E, "Crop these images.", _QUOTAS),
    Limit(
        "images_per_label_advised",
        100,
        _N,
        "Add images of these labels where results are poor.",
        "AWS and practitioners: 100 images a label are a good start",
    ),
    Limit(
        "images_per_class_own_network",
        800,
        _N,
        "Add images of these labels before you train a network of your own.",
        "practitioners: 800 images a class for a network of one's own",
    ),
    Limit(
        "test_share_advised",
        0.2,
        _N,
        "Split again: asyncfilter manifest split IN --train A --test B --test-share 0.2.",
        "CL, Creating training and test datasets: 20 % for the test",
    ),
)

LIMITS: Mapping[str, Limit] = {limit.id: limit for limit in _TABLE}
"""Every limit by its id."""


def most_images(region: str | None, *, is_test: bool) -> int:
    """Most lines of a manifest in a region; None stands for a region without a limit of its own."""
    if region not in SMALL_REGIONS:
        return MAX_IMAGES
    return MAX_TEST_IMAGES_SMALL_REGION if is_test else MAX_IMAGES_SMALL_REGION
