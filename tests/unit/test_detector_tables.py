"""Every kind of detector has a row in every table; a table that lacks one cannot be imported."""

from __future__ import annotations

import dataclasses
import runpy
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args

import pytest

from asyncfilter import model
from asyncfilter.aws.clients.error_response import Operation
from asyncfilter.aws.clients.protocols import REQUESTS, parameters_of
from asyncfilter.aws.factory import DETECTORS
from asyncfilter.job import DetectorKind, DetectorSpec, Job, Pricing, spec
from asyncfilter.job.schema import DETECTOR_TAGS, SECTIONS, Detector, json_schema
from asyncfilter.job.spec import LOCAL_KINDS, OwnModelSpec, PriceTier, for_every_kind
from asyncfilter.model import StoreKind
from asyncfilter.policy.detectors import PROFILES
from asyncfilter.sandbox import images, quotas, rekognition
from asyncfilter.wiring.detectors import OPENERS
from asyncfilter.wiring.stores import STORES
from tests.kit.jobs import make_bare_job

ROOT = Path(__file__).resolve().parents[2]
MODEL = "arn:aws:rekognition:eu-west-1:123456789012:project/birds/version/v1/1700000000000"

KINDS = pytest.mark.parametrize("kind", list(DetectorKind), ids=str)
SERVICES = pytest.mark.parametrize("kind", [kind for kind in DetectorKind if kind not in LOCAL_KINDS], ids=str)

NEEDED: Mapping[DetectorKind, dict[str, str]] = {
    DetectorKind.CUSTOM_LABELS: {"model": MODEL},
    DetectorKind.ONNX: {"model": "/m.onnx", "labels": "/l.txt"},
}
"""The keys that a kind needs."""

MADE: Mapping[DetectorKind, dict[str, Any]] = {
    DetectorKind.CUSTOM_LABELS: {"model": MODEL},
    DetectorKind.ONNX: {
        "model": "/m.onnx",
        "own": OwnModelSpec(labels="/l.txt"),
        "min_confidence_pct": 0.5,
        "max_labels": 20,
    },
}
"""What the smallest job of a kind has beside the defaults of ``spec``."""

SANDBOX_LIMITS = {DetectorKind.REKOGNITION: images.LABELS, DetectorKind.CUSTOM_LABELS: images.CUSTOM_LABELS}
"""Image limits of the sandbox; it imports nothing of the program, and so has its own figures."""


def load(kind: DetectorKind, **detector: Any) -> Job:
    """The smallest job with a detector of this kind."""
    return make_bare_job(detector={"kind": str(kind), **NEEDED.get(kind, {}), **detector})


# -- Every kind has every row ------------------------------------------------------------------------------------------


@KINDS
@pytest.mark.parametrize("table", [PROFILES, SECTIONS, OPENERS], ids=["profile", "section", "opener"])
def test_every_kind_has_a_row_in_every_table(kind: DetectorKind, table: Mapping[DetectorKind, object]) -> None:
    """Each kind has profile, schema section and opener; no table has a row of another kind."""
    assert kind in table
    assert set(table) == set(DetectorKind)


@pytest.mark.parametrize("table", [REQUESTS, DETECTORS], ids=["request", "port"])
def test_every_service_has_a_row_in_every_table(table: Mapping[DetectorKind, object]) -> None:
    """Each kind that calls a service has request and port; a model on this machine has none."""
    assert set(table) == set(DetectorKind) - LOCAL_KINDS
    assert {kind for kind in DetectorKind if not PROFILES[kind].is_service} == LOCAL_KINDS


@KINDS
def test_a_job_of_every_kind_is_loaded(kind: DetectorKind) -> None:
    """The section of a kind makes a job of that kind, with the defaults of ``spec``."""
    detector = load(kind).detector
    assert detector.kind is kind
    assert detector == dataclasses.replace(DetectorSpec(kind=kind), **MADE.get(kind, {}))


@KINDS
def test_sections_agree_with_profiles(kind: DetectorKind) -> None:
    """A model is required exactly if the profile needs one or has no service; the features of a profile can be set."""
    section = SECTIONS[kind]
    assert section.model_fields["model"].is_required() is (PROFILES[kind].needs_model or kind in LOCAL_KINDS)
    features = PROFILES[kind].features or ("GENERAL_LABELS",)
    assert load(kind, features=list(features)).detector.features == tuple(sorted(features))


def test_the_union_of_the_job_file_has_every_section() -> None:
    """The alternatives of ``detector`` and their tags are those of the table."""
    union = get_args(get_args(Detector)[0])
    assert {get_args(one)[0] for one in union} == set(SECTIONS.values())
    assert {get_args(one)[1].tag for one in union} == set(DETECTOR_TAGS) == {f"<{kind}>" for kind in DetectorKind}


@KINDS
def test_every_kind_is_documented(kind: DetectorKind) -> None:
    """``docs/job-file.md`` and the JSON Schema have a section for it, whose row ``kind`` names it."""
    name = SECTIONS[kind].__name__
    text = (ROOT / "docs" / "job-file.md").read_text("utf-8")
    section = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    assert f"| `kind` | {kind} |" in section
    assert json_schema()["$defs"][name]["properties"]["kind"]["const"] == str(kind)


@SERVICES
@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1", "mx-central-1"])
def test_every_kind_has_a_price(kind: DetectorKind, region: str) -> None:
    """Calls or hours have a price in every region, with each feature."""
    for feature in PROFILES[kind].features or ("GENERAL_LABELS",):
        prices = PROFILES[kind].prices.price_list((feature,), Pricing(), region)
        assert prices.price_micros(1) > 0 or prices.unit_hour_micros > 0
        assert (prices.unit_hour_micros > 0) is PROFILES[kind].needs_model
        assert prices.source


def test_a_model_of_ones_own_costs_nothing() -> None:
    """Whatever the job says about prices."""
    pricing = Pricing(used_this_month=5, tiers=(PriceTier(up_to=None, micros=7),), inference_unit_hour_micros=9)
    prices = PROFILES[DetectorKind.ONNX].prices.price_list(("GENERAL_LABELS",), pricing, "us-east-1")
    assert (prices.price_micros(1), prices.unit_hour_micros, prices.is_estimate) == (0, 0, False)


@SERVICES
def test_the_sandbox_serves_every_kind(kind: DetectorKind) -> None:
    """The sandbox has the operation and its quota, and the image limits of the profile."""
    profile, theirs = PROFILES[kind], SANDBOX_LIMITS[kind]
    assert profile.operation in rekognition._DECODERS
    quota = quotas.QUOTAS[profile.quota_code]
    assert quota.name.endswith(f"operation {profile.operation}")
    assert dict.fromkeys(quotas.FAST_REGIONS, quota.fast) == {
        region: profile.documented_tps(region) for region in quotas.FAST_REGIONS
    }
    assert quota.default == profile.documented_tps("eu-central-1")
    limits = profile.image_limits
    assert (limits.max_inline_bytes, limits.min_px, limits.max_px, limits.max_aspect) == theirs
    assert limits.max_object_bytes == images.MAX_OBJECT_BYTES


@SERVICES
def test_every_operation_is_one_of_aws(kind: DetectorKind) -> None:
    """Error answers of every kind are classified, and its request can be made."""
    assert Operation(PROFILES[kind].operation).permission == f"rekognition:{PROFILES[kind].operation}"
    assert parameters_of(load(kind).detector)


def test_every_store_that_can_be_opened_has_openers() -> None:
    """A caller's store is given open; each other kind has a row."""
    assert set(STORES) == set(StoreKind) - {StoreKind.OWN}


def test_a_store_without_openers_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kind of store that lacks its row raises when the table is made."""

    class OneMoreStore(StrEnum):
        S3 = "s3"
        FOLDER = "folder"
        OWN = "own"
        TAPE = "tape"

    monkeypatch.setattr(model, "StoreKind", OneMoreStore)
    with pytest.raises(LookupError, match=r"^wiring.stores.STORES has no row for the store kind tape$"):
        runpy.run_path(str(ROOT / "asyncfilter/wiring/stores.py"), run_name="a_second_time")


# -- A kind without a row ----------------------------------------------------------------------------------------------


class OneMore(StrEnum):
    """The existing kinds, and one that no table has."""

    REKOGNITION = "rekognition"
    CUSTOM_LABELS = "rekognition-custom-labels"
    ONNX = "onnx"
    FACES = "rekognition-faces"


@pytest.mark.parametrize(
    "module",
    [
        "asyncfilter.policy.detectors",
        "asyncfilter.job.schema.detectors",
        "asyncfilter.aws.clients.protocols",
        "asyncfilter.aws.factory",
        "asyncfilter.wiring.detectors",
    ],
)
def test_a_kind_without_a_row_cannot_be_loaded(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table without the kind raises at its import, before any job could use the row of another kind."""
    monkeypatch.setattr(spec, "DetectorKind", OneMore)
    with pytest.raises(LookupError, match=r"has no row for the detector kind rekognition-faces") as caught:
        runpy.run_path(str(ROOT / f"{module.replace('.', '/')}.py"), run_name="a_second_time")
    assert str(caught.value).startswith(module.removeprefix("asyncfilter."))


def test_a_table_that_lacks_a_row_is_refused() -> None:
    """The message names the table and the missing row; a complete table is returned unchanged."""
    whole = dict.fromkeys(DetectorKind, "row")
    assert for_every_kind("whole", whole) is whole
    with pytest.raises(LookupError, match=r"^prices has no row for the detector kind rekognition-custom-labels, onnx$"):
        for_every_kind("prices", {DetectorKind.REKOGNITION: "row"})
