"""The function that opens each kind of detector, with its rate and its prices."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

from msgspec import structs

from asyncfilter import aws
from asyncfilter.aws import AwsSession, describe_model, quota_tps
from asyncfilter.engine.core.backends import DetectorBackend
from asyncfilter.errors import AccessError, PermissionDeniedError
from asyncfilter.job.spec import DetectorKind, Job, for_every_kind
from asyncfilter.model import Detection, ObjectRef
from asyncfilter.policy.detectors import price_list
from asyncfilter.policy.quota import QuotaAnswer
from asyncfilter.ports.examine import Detector
from asyncfilter.wiring.account import Account
from asyncfilter.wiring.model_use import ModelUse

if TYPE_CHECKING:
    from asyncfilter.pictures.own_model import OwnModelDetector


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDetector:
    """A job's detector, ready for the first call.

    Attributes:
        backend: Examines images by reference, with its rate and its prices.
        send: Examines the given bytes in place of an image; raises as ``Detector.detect`` does.
        cautions: What could not be found out about it, one sentence each.
        own: A model of one's own, which prepares the images that it examines; None for a service.
        close: Ends its threads and processes; None where there are none.
    """

    backend: DetectorBackend
    send: Callable[[ObjectRef, bytes], Awaitable[Detection]]
    cautions: tuple[str, ...] = ()
    own: OwnModelDetector | None = None
    close: Callable[[], None] | None = None


class Opener(Protocol):
    """Opens one kind of detector."""

    async def __call__(
        self, job: Job, account: Account, bucket_region: str | None, *, use: ModelUse | None
    ) -> OpenDetector:
        """Open the job's detector.

        Args:
            job: Has the settings and prices of the detector.
            account: Opened by the kinds that need it.
            bucket_region: Region in which images can be read by reference; None where they must be sent.
            use: What needs a model to run; None when no image will be examined.

        Raises:
            AccessError: The detector cannot be reached, or its model is not running.
        """
        ...


async def _open_labels(
    job: Job,
    account: Account,
    bucket_region: str | None,
    *,
    use: ModelUse | None,  # noqa: ARG001  no model has to run
) -> OpenDetector:
    clients = await account.clients()
    detector, region = await aws.open_detector(job, clients, bucket_region=bucket_region)
    backend = await aws_backend(job, clients.session, detector, region)
    return OpenDetector(backend=backend, send=detector.detect_content)


async def _open_custom_labels(
    job: Job, account: Account, bucket_region: str | None, *, use: ModelUse | None
) -> OpenDetector:
    opened = await _open_labels(job, account, bucket_region, use=use)
    unit_hour_micros = opened.backend.prices.unit_hour_micros if opened.backend.prices is not None else 0
    held = None
    if use is not None:
        from asyncfilter.wiring.held_model import hold_model  # noqa: PLC0415  not needed by most runs

        held = await hold_model(job, use, unit_hour_micros)
    start = job.detector.start
    if start is not None and (held is not None or use is None):
        found = _Units(start.units, max(start.units, start.max_units or 0))
    else:
        found = await _inference_units(job, (await account.clients()).session, must_run=use is not None)
    backend = structs.replace(
        opened.backend, hourly_micros=unit_hour_micros * found.most, units=found.least, held_model=held
    )
    return replace(opened, backend=backend, cautions=() if found.caution is None else (found.caution,))


async def _open_own_model(
    job: Job,
    account: Account,  # noqa: ARG001  no service is called
    bucket_region: str | None,  # noqa: ARG001  images are read, wherever they are
    *,
    use: ModelUse | None,
) -> OpenDetector:
    from asyncfilter.wiring.own_models import open_own_model  # noqa: PLC0415  not needed by most runs

    opened = await open_own_model(job, None if use is None else use.memory)
    return OpenDetector(
        backend=opened.backend,
        send=opened.detector.examine,
        cautions=opened.cautions,
        own=opened.detector,
        close=opened.close,
    )


OPENERS: Mapping[DetectorKind, Opener] = for_every_kind(
    "wiring.detectors.OPENERS",
    {
        DetectorKind.REKOGNITION: _open_labels,
        DetectorKind.CUSTOM_LABELS: _open_custom_labels,
        DetectorKind.ONNX: _open_own_model,
    },
)
"""The function that opens each kind."""


async def aws_backend(job: Job, session: AwsSession, detector: Detector, region: str) -> DetectorBackend:
    """The backend of an AWS detector: its rate is from Service Quotas, its prices are those of the region.

    Args:
        job: Has the limits and prices.
        session: An open session.
        detector: Examines images.
        region: Region of the detector.
    """
    prices = price_list(job, region)
    limit_tps, origin, quota = await _limit(job, session, region)
    return DetectorBackend(
        detector=detector,
        limit_tps=limit_tps,
        tps_origin=origin,
        price_micros=prices.price_micros,
        prices=prices,
        region=region,
        quota=quota,
        is_local=(await session.endpoint("rekognition", region)).is_loopback,
    )


def own_backend(job: Job, detector: Detector) -> DetectorBackend:
    """The backend of a caller's own detector: its rate is ``limits.tps``, its prices are ``pricing.tiers``."""
    prices = price_list(job, "") if job.pricing.tiers is not None else None
    return DetectorBackend(
        detector=detector,
        limit_tps=job.limits.usable_tps,
        tps_origin="limits.tps",
        price_micros=prices.price_micros if prices else lambda _nth: 0,
        prices=prices,
    )


async def _limit(job: Job, session: AwsSession, region: str) -> tuple[float, str, QuotaAnswer | None]:
    limits = job.limits
    if (usable_tps := limits.usable_tps) is not None:
        return usable_tps, "limits.tps", None
    answer = await quota_tps(session, job.detector.kind, region)
    return answer.tps * limits.share, f"quota, {answer.origin.value}", answer


class _Units(NamedTuple):
    """The inference units of a model.

    Attributes:
        least: With which it runs; 0 where that is not known.
        most: Up to which it may scale, at least one; the cost of an hour depends on them.
        caution: Why they could not be looked at; None where they were.
    """

    least: int
    most: int
    caution: str | None = None


async def _inference_units(job: Job, session: AwsSession, *, must_run: bool) -> _Units:
    """The inference units that the job's model runs with; calls need no permission to look at it."""
    if (units := job.pricing.inference_units) is not None:
        counted = f"time is counted for {units} inference units"
        return _Units(units, units, f"the model is not looked at: {counted}, as pricing.inference_units says")
    try:
        state = await describe_model(session, job.detector.model or "")
    except PermissionDeniedError as error:
        why = f"the model cannot be looked at ({error.message}): time is counted for 1 inference unit"
        return _Units(0, 1, f"{why}; set pricing.inference_units to what it runs with")
    if must_run and state.status != "RUNNING":
        raise AccessError(
            f"the model {state.arn} is {state.status}, not RUNNING",
            hint="Start the model and run again once it is RUNNING.",
        )
    return _Units(max(1, state.inference_units), max(1, state.max_inference_units))
