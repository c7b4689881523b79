"""The embedded double of S3, Rekognition, Service Quotas and STS, on one local port, for any AWS client.

It knows nothing of the rest of the program. Answers, errors and limits are AWS's; where a fact is not known the
docstring of the place says what was assumed. It is fast enough never to be what a benchmark measures.
"""

from __future__ import annotations

from asyncfilter.sandbox.access import DenyRule
from asyncfilter.sandbox.answers.folder import Noise
from asyncfilter.sandbox.app import Sandbox, client_environment, serve
from asyncfilter.sandbox.faults import Fault, FaultKind
from asyncfilter.sandbox.latency import Latency
from asyncfilter.sandbox.options import (
    BucketSpec,
    LabelSource,
    LoadSpec,
    SamplesSpec,
    SandboxOptions,
    SyntheticSpec,
)
from asyncfilter.sandbox.process import SandboxProcess
from asyncfilter.sandbox.store import Attributes
from asyncfilter.sandbox.syntax import (
    parse_bucket,
    parse_deny,
    parse_fault,
    parse_latency,
    parse_load,
    parse_samples,
    parse_synthetic,
)
from asyncfilter.sandbox.throttle import ThrottleMode

__all__ = [
    "Attributes",
    "BucketSpec",
    "DenyRule",
    "Fault",
    "FaultKind",
    "LabelSource",
    "Latency",
    "LoadSpec",
    "Noise",
    "SamplesSpec",
    "Sandbox",
    "SandboxOptions",
    "SandboxProcess",
    "SyntheticSpec",
    "ThrottleMode",
    "client_environment",
    "parse_bucket",
    "parse_deny",
    "parse_fault",
    "parse_latency",
    "parse_load",
    "parse_samples",
    "parse_synthetic",
    "serve",
]
