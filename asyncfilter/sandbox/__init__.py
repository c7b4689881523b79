"""A local test double of S3, Rekognition, Service Quotas, STS, IAM and Organizations, on one port, for any AWS client.

It imports nothing from the rest of the package. Responses, errors and limits follow AWS; where a fact is not known, the
docstring at that place states the assumption. It is fast enough that a benchmark measures the client and not the
sandbox. README.md in this folder describes how to start it and its options.
"""

from __future__ import annotations

from asyncfilter.sandbox.access import DenyRule
from asyncfilter.sandbox.answers.folder import Noise
from asyncfilter.sandbox.app import Sandbox, client_environment, serve
from asyncfilter.sandbox.faults import Fault, FaultKind
from asyncfilter.sandbox.latency import Latency
from asyncfilter.sandbox.options import (
    BucketSpec,
    DrawnSpec,
    LabelSource,
    LoadSpec,
    ModelVersionSpec,
    SamplesSpec,
    SandboxOptions,
    SyntheticSpec,
)
from asyncfilter.sandbox.organizations import OptOut
from asyncfilter.sandbox.process import SandboxProcess
from asyncfilter.sandbox.quirks import ConditionalWrites, Quirk
from asyncfilter.sandbox.rates import RateSpec
from asyncfilter.sandbox.store import Attributes
from asyncfilter.sandbox.syntax import (
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
from asyncfilter.sandbox.throttle import ThrottleMode

__all__ = [
    "Attributes",
    "BucketSpec",
    "ConditionalWrites",
    "DenyRule",
    "DrawnSpec",
    "Fault",
    "FaultKind",
    "LabelSource",
    "Latency",
    "LoadSpec",
    "ModelVersionSpec",
    "Noise",
    "OptOut",
    "Quirk",
    "RateSpec",
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
    "parse_model_version",
    "parse_rate",
    "parse_samples",
    "parse_synthetic",
    "serve",
]
