"""The table of detector kinds: one row a kind. All other code reads this table and compares no kinds.

A new kind takes a row here, a section in ``job.schema.detectors`` and an opener in ``wiring.detectors``; a kind that
calls a service also a request and a reader in ``aws`` and an operation in the sandbox. Each table is checked when it is
imported (``job.spec.for_every_kind``, ``for_every_service``).

Limits of images: Rekognition guide and Custom Labels guide, *Guidelines and quotas*. Quota codes and defaults: AWS
General Reference, *Amazon Rekognition endpoints and quotas*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from asyncfilter.job.spec import DetectorKind, DetectorSpec, Pricing, for_every_kind
from asyncfilter.policy.image_limits import MAX_CONVERTED_BYTES, ImageLimits
from asyncfilter.policy.pricing import CUSTOM_LABEL_PRICES, LABEL_PRICES, OWN_MODEL_PRICES, PriceList, PriceTable

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorProfile:
    """One kind of detector.

    Attributes:
        operation: The API operation that it calls; each quota applies to one operation. Empty for a kind that calls no
            service.
        image_limits: Which images it accepts.
        quota_code: The code under which Service Quotas has its quota in calls a second; empty where it has none.
        default_tps: The documented default of that quota.
        default_tps_in: The documented default by region, for regions with another one.
        prices: The prices of its images.
        features: What one call can request, each billed separately; empty where there is no choice.
        needs_model: True when a trained model of the account examines the images: it has a region of its own, must be
            running, and is billed by the hour.
        has_categories: True when its labels belong to categories.
        has_published_labels: True when AWS publishes which labels it has (``policy.label_list``).
    """

    operation: str = ""
    image_limits: ImageLimits
    quota_code: str = ""
    default_tps: float = 0
    default_tps_in: Mapping[str, float] = field(default_factory=dict)
    prices: PriceTable
    features: tuple[str, ...] = ()
    needs_model: bool = False
    has_categories: bool = False
    has_published_labels: bool = False

    @property
    def is_service(self) -> bool:
        """Whether it calls a service, which has a quota and a price; False for a model on this machine."""
        return bool(self.operation)

    def documented_tps(self, region: str) -> float:
        """The documented default of its quota in ``region``, in calls a second."""
        return self.default_tps_in.get(region, self.default_tps)


PROFILES = for_every_kind(
    "policy.detectors.PROFILES",
    {
        DetectorKind.REKOGNITION: DetectorProfile(
            operation="DetectLabels",
            image_limits=ImageLimits(max_inline_bytes=5 * _MIB, max_object_bytes=15 * _MIB, min_px=80, max_px=10_000),
            quota_code="L-E29B542B",
            default_tps=5,
            default_tps_in=dict.fromkeys(("us-east-1", "us-west-2", "eu-west-1"), 50),
            prices=LABEL_PRICES,
            features=("GENERAL_LABELS", "IMAGE_PROPERTIES"),
            has_categories=True,
            has_published_labels=True,
        ),
        DetectorKind.CUSTOM_LABELS: DetectorProfile(
            operation="DetectCustomLabels",
            image_limits=ImageLimits(
                max_inline_bytes=4 * _MIB, max_object_bytes=15 * _MIB, min_px=64, max_px=4096, max_aspect=20
            ),
            quota_code="L-EA71C84A",
            default_tps=50,
            prices=CUSTOM_LABEL_PRICES,
            needs_model=True,
        ),
        DetectorKind.ONNX: DetectorProfile(
            image_limits=ImageLimits(
                max_inline_bytes=MAX_CONVERTED_BYTES, max_object_bytes=MAX_CONVERTED_BYTES, min_px=1, max_px=2**31 - 1
            ),
            prices=OWN_MODEL_PRICES,
        ),
    },
)
"""The row of each kind."""


class Priced(Protocol):
    """A job, or any other object with the settings that a price depends on."""

    @property
    def detector(self) -> DetectorSpec:
        """The detector settings: what calls request."""
        ...

    @property
    def pricing(self) -> Pricing:
        """The account's usage this month and its own prices."""
        ...


def price_list(job: Priced, region: str) -> PriceList:
    """The prices of the job's images in ``region``; the job's ``pricing`` replaces the table.

    Raises:
        ValueError: Tiers of a job made in a program that rise, or do not end.
    """
    return PROFILES[job.detector.kind].prices.price_list(job.detector.features, job.pricing, region)
