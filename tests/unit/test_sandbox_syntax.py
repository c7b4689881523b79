"""The notations of the sandbox's options: their meaning, and the messages for mistakes."""

from __future__ import annotations

import random
import re
import statistics
from collections.abc import Callable

import msgspec
import pytest

from asyncfilter.sandbox import (
    BucketSpec,
    ConditionalWrites,
    DenyRule,
    Fault,
    FaultKind,
    Latency,
    LoadSpec,
    Noise,
    RateSpec,
    SamplesSpec,
    SandboxOptions,
    SyntheticSpec,
    parse_bucket,
    parse_deny,
    parse_fault,
    parse_latency,
    parse_load,
    parse_model_version,
    parse_rate,
    parse_samples,
    parse_synthetic,
)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("throttle=0.01", Fault(FaultKind.THROTTLE, 0.01)),
        ("throttle=1%", Fault(FaultKind.THROTTLE, 0.01)),
        ("internal@*/7.jpg=3x", Fault(FaultKind.INTERNAL, 0.0, "*/7.jpg", "", 3)),
        ("timeout@a=b@c=1", Fault(FaultKind.TIMEOUT, 1.0, "a=b@c")),
        ("slowdown:List*=100%", Fault(FaultKind.SLOW_DOWN, 1.0, "*", "List*")),
        ("s3-read:DetectLabels@raw/*=2x", Fault(FaultKind.S3_READ, 0.0, "raw/*", "DetectLabels", 2)),
        ("twice:CreateProject=1x", Fault(FaultKind.TWICE, 0.0, "*", "CreateProject", 1)),
        (
            "LimitExceededException:Start*@project/birds/*=5%",
            Fault(FaultKind.NAMED, 0.05, "project/birds/*", "Start*", 0, "LimitExceededException"),
        ),
    ],
)
def test_faults_are_read(text: str, fault: Fault) -> None:
    """A fault has kind, operation, glob and amount."""
    assert parse_fault(text) == fault


@pytest.mark.parametrize(
    ("text", "latency"),
    [
        ("300ms", Latency(0.3, 0.3)),
        ("0.25", Latency(0.25, 0.25)),
        ("2s", Latency(2, 2)),
        ("p50=120ms,p99=1.5s", Latency(0.12, 1.5)),
        ("p99=1s, p50=20ms", Latency(0.02, 1.0)),
    ],
)
def test_latencies_are_read(text: str, latency: Latency) -> None:
    """A latency is a duration, or a median and a tail."""
    assert parse_latency(text) == latency


def test_other_notations_are_read() -> None:
    """Buckets, folders, synthetic data sets, samples and denials."""
    assert parse_bucket("raw") == BucketSpec("raw")
    assert parse_bucket("raw@eu-west-1") == BucketSpec("raw", "eu-west-1")
    assert parse_load("raw=/a=b") == LoadSpec("raw", "/a=b")
    assert parse_synthetic("raw=2_000_000") == SyntheticSpec("raw", 2_000_000)
    assert parse_synthetic("raw=10:a:b/{n}.png") == SyntheticSpec("raw", 10, "a:b/{n}.png")
    assert (parse_samples("raw"), parse_samples("raw=50")) == (SamplesSpec("raw"), SamplesSpec("raw", 50))
    assert parse_deny("CopyObject@clean/*") == DenyRule("CopyObject", "clean/*")
    assert parse_deny("Detect*") == DenyRule("Detect*", "*")


@pytest.mark.parametrize(
    ("parse", "text", "word"),
    [
        (parse_fault, "flood=1%", "none of throttle, ramp"),
        (parse_fault, "throttle", "needs an amount"),
        (parse_fault, "throttle=lots", "neither a share"),
        (parse_fault, "throttle=2", "not between"),
        (parse_fault, "throttle=-1%", "not between"),
        (parse_fault, "throttle=nan", "not between"),
        (parse_latency, "soon", "no duration"),
        (parse_latency, "p50=1s", "must be"),
        (parse_latency, "p50=1s,p99=1ms", "p99 >= p50"),
        (parse_latency, "p50=0,p99=1s", "above 0"),
        (parse_bucket, "@eu-west-1", "must be"),
        (parse_load, "raw", "must be"),
        (parse_synthetic, "raw=many", "must be"),
        (parse_synthetic, "raw=0", "at least 1"),
        (parse_synthetic, "raw=5:{n}/{class}", "must hold"),
        (parse_samples, "raw=0", "must be"),
        (parse_deny, "@x", "must be"),
        (parse_rate, "fast", "must be RATE"),
        (parse_rate, "0", "above 0"),
        (parse_rate, "inf", "above 0"),
        (parse_rate, "=5", "must be RATE"),
        (parse_rate, "west=5", "must be REGION"),
        (parse_rate, "@us-west-2=5", "must be REGION"),
        (parse_model_version, "us-west-2=", "must be VERSION"),
        (parse_model_version, "west=3.1", "must be VERSION"),
    ],
)
def test_mistakes_are_reported(parse: Callable[[str], object], text: str, word: str) -> None:
    """Every mistake is a ValueError with the expected form."""
    with pytest.raises(ValueError, match=re.escape(word)):
        parse(text)


def test_rates_and_versions_name_region_and_key() -> None:
    """A rate is plain, of a region, or of a key in a region; a version is plain or of a region."""
    assert parse_rate("50") == RateSpec(50)
    assert parse_rate("us-west-2=20.5") == RateSpec(20.5, "us-west-2")
    assert parse_rate("AKIA1@us-gov-west-1=5") == RateSpec(5, "us-gov-west-1", "AKIA1")
    assert [tuple(parse_model_version(text)) for text in ("3.0", "eu-west-1=3.1")] == [
        ("3.0", ""),
        ("3.1", "eu-west-1"),
    ]


def test_options_survive_their_way_to_a_process() -> None:
    """Options with nested values survive JSON."""
    options = SandboxOptions(
        faults=(parse_fault("reset@x=3x"),),
        latency=parse_latency("p50=1ms,p99=2ms"),
        synthetic=(SyntheticSpec("raw", 5),),
        noise=Noise(person=0.5),
        deny=(DenyRule("CopyObject"),),
        tps=12.5,
        rates=(parse_rate("A@us-west-2=5"),),
        model_versions=(parse_model_version("us-west-2=4"),),
        list_latency=parse_latency("60ms"),
        conditional_writes=ConditionalWrites.IGNORED,
    )
    assert msgspec.json.decode(msgspec.json.encode(options), type=SandboxOptions) == options


def test_a_tail_lies_where_it_was_put() -> None:
    """Half of the samples are below the median and one in a hundred above the 99th percentile."""
    chance, latency = random.Random(1), Latency(0.1, 1.0)
    samples = [latency.sample(chance) for _ in range(20_000)]
    assert statistics.median(samples) == pytest.approx(0.1, rel=0.05)
    assert statistics.quantiles(samples, n=100)[98] == pytest.approx(1.0, rel=0.1)
    assert Latency(0.3, 0.3).sample(chance) == 0.3
