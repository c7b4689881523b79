"""Whatever answers a rare call, botocore's parsers read it or refuse it, in time that grows with its length alone."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from functools import cache
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from hypothesis import example, given
from hypothesis import strategies as st

from asyncfilter.aws.core_session import CoreSession
from asyncfilter.aws.response_parsers import MAX_TIME_CHARS, parse_time
from asyncfilter.aws.transport_errors import UNREADABLE
from tests.kit.fuzzing import MIB, bounded, damaged, fuzz
from tests.property.test_fuzz_responses import JSON_TOKENS, OUTCOMES, PAGE, TAGS, VERSIONS, XML_TOKENS

TIME = "2026-11-29T12:00:00Z"
KEYS = (
    f"<Credentials><AccessKeyId>A</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>"
    f"<Expiration>{TIME}</Expiration></Credentials>"
)
ROLE = f'<AssumeRoleResponse xmlns="u"><AssumeRoleResult>{KEYS}</AssumeRoleResult></AssumeRoleResponse>'
CALLER = (
    '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
    "<Arn>arn:aws:iam::123456789012:user/u</Arn><Account>123456789012</Account></GetCallerIdentityResult>"
    "</GetCallerIdentityResponse>"
)
ERROR = "<ErrorResponse><Error><Type>Sender</Type><Code>Throttling</Code><Message>m</Message></Error></ErrorResponse>"
COPY = f"<CopyObjectResult><LastModified>{TIME}</LastModified><ETag>&quot;e&quot;</ETag></CopyObjectResult>"
JSON = [
    {"roleCredentials": {"accessKeyId": "A", "secretAccessKey": "s", "sessionToken": "t", "expiration": 1.8e12}},
    {"accessToken": "t", "expiresIn": 28800, "refreshToken": "r"},
    {"Quota": {"QuotaCode": "L-1", "Value": 50.0, "Unit": "None", "QuotaAppliedAtLevel": "ACCOUNT"}},
    {"ProjectVersionDescriptions": [{"Status": "RUNNING", "CreationTimestamp": TIME, "MinInferenceUnits": 1}]},
    {"__type": "ThrottlingException", "message": "m"},
]
CALLS = [
    ("sts", "AssumeRole"),
    ("sts", "GetCallerIdentity"),
    ("sso", "GetRoleCredentials"),
    ("sso-oidc", "CreateToken"),
    ("service-quotas", "GetServiceQuota"),
    ("rekognition", "DescribeProjectVersions"),
    ("s3", "ListObjectsV2"),
    ("s3", "ListObjectVersions"),
    ("s3", "CopyObject"),
    ("s3", "DeleteObjects"),
    ("s3", "GetObjectTagging"),
]
ANSWERS = [*(text.encode() for text in (ROLE, CALLER, ERROR, COPY)), PAGE, OUTCOMES, VERSIONS, TAGS]
TOKENS = [
    *(b' xmlns="', b"{" * 2000, b"&#10;", b"}", b"1 " * 2000, b"9:" * 2000, b"<Expiration>", b"<LastModified>"),
    *(b'"expiration":', b'"CreationTimestamp":"', b"[" * 1500, b'{"a":' * 1500, b"<a>" * 2000),
]


@cache
def model(service: str) -> ServiceModel:
    """The description of a service."""
    return ServiceModel(Loader().load_service_model(service, "service-2"), service)


@cache
def session() -> CoreSession:
    """One for all calls."""
    return CoreSession(profile=None)


async def read(service: str, operation: str, *, status: int, body: bytes) -> Any:
    """The answer to a call, as a client of a session reads it."""
    described = model(service)
    parsers = session().get_component("response_parser_factory")
    response = {"status_code": status, "headers": {}, "body": body, "context": {"operation_name": operation}}
    parser = parsers.create_parser(described.resolved_protocol)
    return await parser.parse(response, described.operation_model(operation).output_shape)


@pytest.fixture(scope="module", autouse=True)
def descriptions() -> None:
    """Read what botocore knows of the services, which is none of the time that an answer takes."""
    session()
    for service, operation in CALLS:
        described = model(service).operation_model(operation)
        assert described.output_shape is not None


@fuzz
@given(
    st.sampled_from(CALLS),
    st.sampled_from([200, 400, 503]),
    damaged([*ANSWERS, *(json.dumps(one).encode() for one in JSON)], [*XML_TOKENS, *JSON_TOKENS, *TOKENS]),
)
@example(("sts", "GetCallerIdentity"), 200, b"<a>" * 100_000)
@example(("service-quotas", "GetServiceQuota"), 200, b'{"Quota":' * 100_000)
async def test_an_answer_of_a_rare_call_is_read_or_refused(call: tuple[str, str], status: int, body: bytes) -> None:
    """No document holds the loop or the memory."""
    with bounded(128 * len(body) + 8 * MIB), suppress(*UNREADABLE):
        await read(*call, status=status, body=body)


LONG = 20_000
TIMES = ["1 " * LONG, "9:" * LONG, "-9" * LONG, "Jan " * LONG]


@pytest.mark.parametrize("text", TIMES, ids=[text[:2] for text in TIMES])
async def test_a_long_text_is_no_time(text: str) -> None:
    """In XML and JSON, whatever stands where a time is expected."""
    with pytest.raises(ValueError, match=r"a time of .* characters"):
        await read("sts", "AssumeRole", status=200, body=ROLE.replace(TIME, text).encode())
    body = json.dumps({"ProjectVersionDescriptions": [{"CreationTimestamp": text}]}).encode()
    with pytest.raises(ValueError, match=r"a time of .* characters"):
        await read("rekognition", "DescribeProjectVersions", status=200, body=body)


async def test_a_time_is_read() -> None:
    """The forms of services, up to the bound."""
    assert parse_time(TIME) == parse_time(1795953600) == parse_time("Sun, 29 Nov 2026 12:00:00 GMT")
    assert parse_time(TIME.ljust(MAX_TIME_CHARS)) == parse_time(TIME)
    found = await read("sts", "AssumeRole", status=200, body=ROLE.encode())
    assert found["Credentials"]["Expiration"] == parse_time(TIME)


@pytest.mark.parametrize("status", [200, 400])
async def test_a_long_namespace_is_read_in_one_pass(status: int) -> None:
    """An expression that begins anew at each brace takes a minute for this one, and hours for what may be sent."""
    namespace = "{" * 200_000
    body = CALLER.replace("https:", f"{namespace}&#10;").encode()
    began_s = time.process_time()
    with suppress(*UNREADABLE):
        await read("sts", "GetCallerIdentity", status=status, body=body)
    assert time.process_time() - began_s < 10
