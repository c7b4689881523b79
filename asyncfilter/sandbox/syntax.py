"""The notations of options on the command line and the control path: faults, latencies, buckets, denials.

    fault      KIND[:OPERATION][@GLOB]=AMOUNT     throttle=1%   reset@raw/robin/*=0.2   internal@*/7.jpg=3x
    latency    DURATION | p50=DURATION,p99=DURATION           300ms     p50=0.12s,p99=1.5s
    bucket     NAME[@REGION]
    load       BUCKET=DIRECTORY
    synthetic  BUCKET=COUNT[:PATTERN]                         raw=2000000:birds/{class}/{n}.jpg
    samples    BUCKET[=COUNT]
    deny       OPERATION[@GLOB]                               CopyObject@clean/*
    rate       [[KEY@]REGION=]RATE                            50     us-west-2=20     AKIAIOSFODNN7EXAMPLE@us-east-1=5
    version    [REGION=]VERSION                               3.0    us-west-2=3.1

KIND is one of ``FaultKind``, or the name of an error, such as LimitExceededException. GLOB is compared with
``bucket/key``, or for Custom Labels with the ARN from ``project/`` on, without its number; ``*`` also matches slashes.
AMOUNT is a share of the attempts (0.2 or 20%) or, as in ``3x``, a number of attempts on each key, from the first.
Invalid text is a ``ValueError`` with the expected form.
"""

from __future__ import annotations

import math
import re
from typing import Final

from asyncfilter.sandbox.access import DenyRule
from asyncfilter.sandbox.faults import Fault, FaultKind
from asyncfilter.sandbox.latency import Latency
from asyncfilter.sandbox.options import BucketSpec, LoadSpec, ModelVersionSpec, SamplesSpec, SyntheticSpec
from asyncfilter.sandbox.quirks import Quirk
from asyncfilter.sandbox.rates import RateSpec
from asyncfilter.sandbox.synthetic import DEFAULT_PATTERN, SyntheticKeys

_DURATION: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(us|ms|s|)")
_REGION: Final = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d+")
_ERROR_NAME: Final = re.compile(r"[A-Z][A-Za-z0-9]+(?:Exception|Error)")
_UNITS_S: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "": 1.0}


def parse_fault(text: str) -> Fault:
    """Read ``KIND[:OPERATION][@GLOB]=AMOUNT``.

    Raises:
        ValueError: If the text has another form.
    """
    where, equals, amount = text.rpartition("=")
    if not equals:
        raise ValueError(f"fault {text!r} needs an amount, such as {text}=1% or {text}=3x")
    head, _, glob = where.partition("@")
    kind, _, operation = head.partition(":")
    is_named = _ERROR_NAME.fullmatch(kind) is not None
    kinds = [each for each in FaultKind if each is not FaultKind.NAMED]
    if not is_named and kind not in kinds:
        raise ValueError(f"fault {text!r}: {kind!r} is none of {', '.join(kinds)}, and no name of an error")
    times = re.fullmatch(r"(\d+)x", amount.strip())
    rate = 0.0 if times else _share(amount, text)
    number = int(times[1]) if times else 0
    if is_named:
        return Fault(FaultKind.NAMED, rate, glob or "*", operation, number, kind)
    return Fault(FaultKind(kind), rate, glob or "*", operation, number)


def parse_quirk(text: str) -> Quirk:
    """Read the name of a quirk.

    Raises:
        ValueError: If there is none of that name.
    """
    if text not in set(Quirk):
        raise ValueError(f"quirk {text!r} is none of {', '.join(Quirk)}")
    return Quirk(text)


def parse_latency(text: str) -> Latency:
    """Read a duration, or median and 99th percentile.

    Raises:
        ValueError: If it is neither, the median is 0, or the percentile is below it.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) == 1 and "=" not in text:
        duration_s = _duration(parts[0], text)
        return Latency(duration_s, duration_s)
    named = {name.strip(): _duration(value, text) for name, _, value in (part.partition("=") for part in parts)}
    if set(named) != {"p50", "p99"} or named["p99"] < named["p50"]:
        raise ValueError(f"latency {text!r} must be a duration such as 300ms, or p50=120ms,p99=1.5s with p99 >= p50")
    if not named["p50"]:
        raise ValueError(f"latency {text!r}: the median of a spread must be above 0")
    return Latency(named["p50"], named["p99"])


def parse_bucket(text: str) -> BucketSpec:
    """Read ``NAME[@REGION]``.

    Raises:
        ValueError: If the name is missing.
    """
    name, _, region = text.partition("@")
    if not name:
        raise ValueError(f"bucket {text!r} must be NAME or NAME@REGION")
    return BucketSpec(name, region)


def parse_load(text: str) -> LoadSpec:
    """Read ``BUCKET=DIRECTORY``.

    Raises:
        ValueError: If either is missing.
    """
    bucket, _, directory = text.partition("=")
    if not bucket or not directory:
        raise ValueError(f"load {text!r} must be BUCKET=DIRECTORY")
    return LoadSpec(bucket, directory)


def parse_synthetic(text: str) -> SyntheticSpec:
    """Read ``BUCKET=COUNT[:PATTERN]``.

    Raises:
        ValueError: If the count is not a positive number or the pattern is invalid.
    """
    bucket, _, rest = text.partition("=")
    count, _, pattern = rest.partition(":")
    if not bucket or not re.fullmatch(r"[\d_]+", count):
        raise ValueError(f"synthetic {text!r} must be BUCKET=COUNT or BUCKET=COUNT:PATTERN")
    spec = SyntheticSpec(bucket, int(count), pattern or DEFAULT_PATTERN)
    SyntheticKeys(spec.objects, spec.pattern)
    return spec


def parse_samples(text: str) -> SamplesSpec:
    """Read ``BUCKET[=COUNT]``.

    Raises:
        ValueError: If the count is not a positive number.
    """
    bucket, equals, count = text.partition("=")
    if not bucket or (equals and not re.fullmatch(r"[1-9]\d*", count)):
        raise ValueError(f"samples {text!r} must be BUCKET or BUCKET=COUNT")
    return SamplesSpec(bucket, int(count)) if equals else SamplesSpec(bucket)


def parse_deny(text: str) -> DenyRule:
    """Read ``OPERATION[@GLOB]``.

    Raises:
        ValueError: If the operation is missing.
    """
    operation, _, glob = text.partition("@")
    if not operation:
        raise ValueError(f"deny {text!r} must be OPERATION or OPERATION@GLOB, such as CopyObject@clean/*")
    return DenyRule(operation, glob or "*")


def parse_rate(text: str) -> RateSpec:
    """Read ``[[KEY@]REGION=]RATE``; KEY is an access key, or the number of an account whose role is assumed.

    Raises:
        ValueError: If the rate is not a positive number, or the place has another form.
    """
    place, _, rate = text.rpartition("=")
    try:
        tps = float(rate)
    except ValueError:
        tps = 0.0
    if not (math.isfinite(tps) and tps > 0) or (not place and "=" in text):
        raise ValueError(f"rate {text!r} must be RATE, REGION=RATE or KEY@REGION=RATE, with a RATE above 0 a second")
    return RateSpec(tps, *place_of(place)) if place else RateSpec(tps)


def place_of(text: str) -> tuple[str, str]:
    """Read ``[KEY@]REGION``; returns region and key, which may be empty.

    Raises:
        ValueError: If either is missing, or the region is none by its form.
    """
    key, at, region = text.rpartition("@")
    if (at and not key) or not _REGION.fullmatch(region):
        raise ValueError(f"{text!r} must be REGION or KEY@REGION, such as us-west-2")
    return region, key


def parse_model_version(text: str) -> ModelVersionSpec:
    """Read ``[REGION=]VERSION``.

    Raises:
        ValueError: If the version is missing, or the region is none by its form.
    """
    region, equals, version = text.rpartition("=")
    if not version or (equals and not _REGION.fullmatch(region)):
        raise ValueError(f"model version {text!r} must be VERSION or REGION=VERSION, such as us-west-2=3.1")
    return ModelVersionSpec(version, region)


def _share(amount: str, text: str) -> float:
    try:
        share = float(amount.strip().removesuffix("%")) / (100 if amount.strip().endswith("%") else 1)
    except ValueError as exc:
        raise ValueError(
            f"fault {text!r}: {amount!r} is neither a share such as 0.01 or 1% nor a count such as 3x"
        ) from exc
    if not 0 <= share <= 1:
        raise ValueError(f"fault {text!r}: {amount} is not between 0 and 1, or 0% and 100%")
    return share


def _duration(text: str, whole: str) -> float:
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"latency {whole!r}: {text.strip()!r} is no duration such as 300ms, 0.3s or 0.3")
    return float(found[1]) * _UNITS_S[found[2]]
