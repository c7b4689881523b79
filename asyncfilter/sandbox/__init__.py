"""The embedded double of S3, Rekognition, Service Quotas and STS, on one local port, for any AWS client.

It knows nothing of the rest of the program. Answers, errors and limits are AWS's; where a fact is not known the
docstring of the place says what was assumed. It is fast enough never to be what a benchmark measures.
"""

from __future__ import annotations

from asyncfilter.sandbox.app import Sandbox, client_environment, serve
from asyncfilter.sandbox.options import (
    BucketSpec,
    LabelSource,
    LoadSpec,
    SamplesSpec,
    SandboxOptions,
    SyntheticSpec,
)
from asyncfilter.sandbox.process import SandboxProcess

__all__ = [
    "BucketSpec",
    "LabelSource",
    "LoadSpec",
    "SamplesSpec",
    "Sandbox",
    "SandboxOptions",
    "SandboxProcess",
    "SyntheticSpec",
    "client_environment",
    "serve",
]
