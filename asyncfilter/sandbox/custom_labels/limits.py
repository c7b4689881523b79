"""Limits of the service (Custom Labels guide, *Guidelines and quotas*; service model)."""

from __future__ import annotations

from typing import Final

MAX_PROJECTS: Final = 100
MAX_VERSIONS: Final = 100
MAX_TRAININGS: Final = 2
ONE_TRAINING_REGIONS: Final = frozenset({"ap-southeast-2"})
MAX_RUNNING: Final = 2
MAX_UNITS: Final = 5
MAX_CHANGES_BYTES: Final = 5 * 1024 * 1024
MAX_MANIFEST_BYTES: Final = 1024**3
MAX_ROWS: Final = 250_000
SMALL_REGIONS: Final = frozenset({"ap-south-1", "eu-west-2"})
SMALL_ROWS: Final = {"TRAIN": 28_000, "TEST": 7_000}
MAX_LABELS: Final = 250
MAX_LABELS_OF_IMAGE: Final = 50
MAX_BOXES_OF_IMAGE: Final = 50
MAX_LABEL_CHARS: Final = 255
MAX_LINE_CHARS: Final = 100_000
MAX_BAD_SHARE: Final = 0.2
MIN_OVERLAP: Final = 0.5
MIN_IMAGE_LABELS: Final = 2
MIN_BOX_LABELS: Final = 1
TEST_SHARE: Final = 0.2
SCALED_SIDE_PX: Final = 1280
UNIT_TPS: Final = 5.0
"""Calls a second of one inference unit, as the first API text of 2019 said; no later text gives a figure."""


def max_trainings(region: str) -> int:
    """How many trainings an account may have under way."""
    return 1 if region in ONE_TRAINING_REGIONS else MAX_TRAININGS


def max_rows(region: str, kind: str) -> int:
    """How many lines a dataset of a kind, ``TRAIN`` or ``TEST``, may have."""
    return SMALL_ROWS[kind] if region in SMALL_REGIONS else MAX_ROWS
