"""Services that are asked rarely, answered by whatever sits at their address: one finding, one error, and an end."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from asyncfilter.aws import open_aws, opt_out
from asyncfilter.aws.access.identity import Caller, identify, policy_sources
from asyncfilter.aws.access.opt_out import OptOutState
from asyncfilter.aws.access.simulation import Question, simulate
from asyncfilter.aws.clients.boto import BotoS3
from asyncfilter.aws.clients.error_response import ErrorResponseError
from asyncfilter.aws.clients.fast import FastS3
from asyncfilter.aws.clients.protocols import S3Api
from asyncfilter.aws.clients.signed_http import open_signed_client
from asyncfilter.aws.model_service import CustomLabelsService
from asyncfilter.aws.session import AwsSession
from asyncfilter.custom_labels.finding import all_projects
from asyncfilter.errors import AccessError, AsyncFilterError, EndpointError, StoreError, TransientError
from asyncfilter.job.spec import Aws, ClientKind
from asyncfilter.wiring.doctor import account
from tests.kit.aws_double import REGION, AwsDouble, aws_double, response
from tests.kit.services import aws_settings

USER = "arn:aws:iam::123456789012:user/u"
CALLER = Caller(arn=USER, account="123456789012")


@asynccontextmanager
async def answering(answer: Callable[[str, bytes], bytes]) -> AsyncIterator[tuple[AwsSession, AwsDouble]]:
    """A session whose services all answer as said."""
    async with aws_double(answer=answer) as double:
        settings = {"AWS_ENDPOINT_URL": f"http://{double.address}", "AWS_EC2_METADATA_DISABLED": "true"}
        keys = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": REGION}
        with aws_settings(**settings, **keys):
            async with open_aws(Aws(), timeout_s=5, connections=2) as session:
                yield session, double


def always(body: str | bytes) -> Callable[[str, bytes], bytes]:
    """The same answer to everything."""
    content = body.encode() if isinstance(body, str) else body
    return lambda _head, _body: response(200, content)


def identity(**fields: str) -> str:
    """An answer of GetCallerIdentity."""
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
    result = f"<GetCallerIdentityResult>{inner}</GetCallerIdentityResult>"
    return f"<GetCallerIdentityResponse>{result}</GetCallerIdentityResponse>"


CALLERS = {
    "no ARN": identity(Account="123456789012"),
    "no account": identity(Arn=USER),
    "an ARN that is none": identity(Arn="nobody", Account="1"),
    "an ARN that is cut off": identity(Arn="arn:", Account="1"),
    "nothing": identity(),
    "no result": "<GetCallerIdentityResponse/>",
    "a page": "<html>sign in</html>",
    "no XML": "{}",
    "no bytes": "",
}


@pytest.mark.parametrize("body", CALLERS.values(), ids=CALLERS.keys())
async def test_an_unknown_caller_is_an_attempt_that_failed(body: str) -> None:
    """What asks STS gets the error of one attempt; ``doctor`` a finding."""
    async with answering(always(body)) as (session, _):
        with pytest.raises(TransientError, match="GetCallerIdentity") as caught:
            await identify(session)
        found, caller = await account.credentials(session)
    assert caught.value.exit_code == 4
    assert caller is None
    assert "who that is could not be asked" in found.text


def simulated(*results: str, marker: str = "") -> str:
    """An answer of SimulatePrincipalPolicy."""
    more = f"<IsTruncated>true</IsTruncated><Marker>{marker}</Marker>" if marker else ""
    members = "".join(f"<member>{one}</member>" for one in results)
    inner = f"<EvaluationResults>{members}</EvaluationResults>{more}"
    result = f"<SimulatePrincipalPolicyResult>{inner}</SimulatePrincipalPolicyResult>"
    return f"<SimulatePrincipalPolicyResponse>{result}</SimulatePrincipalPolicyResponse>"


def evaluated(action: str, decision: str) -> str:
    """One result."""
    return f"<EvalActionName>{action}</EvalActionName><EvalDecision>{decision}</EvalDecision>"


SIMULATIONS = {
    "an action that was not asked for": simulated(evaluated("s3:DeleteBucket", "allowed")),
    "a decision that is none": simulated(evaluated("s3:GetObject", "perhaps")),
    "no decision": simulated("<EvalActionName>s3:GetObject</EvalActionName>"),
    "no action": simulated("<EvalDecision>allowed</EvalDecision>"),
    "text in place of results": "<SimulatePrincipalPolicyResponse>x</SimulatePrincipalPolicyResponse>",
    "pages without end": simulated(evaluated("s3:GetObject", "allowed"), marker="again"),
}


@pytest.mark.parametrize("body", SIMULATIONS.values(), ids=SIMULATIONS.keys())
async def test_a_simulation_that_is_none_ends(body: str) -> None:
    """With an error of the package, or without an answer; IAM is not asked for ever."""
    question = Question("s3:GetObject", "arn:aws:s3:::raw/*")
    async with answering(always(body)) as (session, double):
        try:
            assert await simulate(session, CALLER, [question]) in ({}, {question: "allowed"})
        except AsyncFilterError as error:
            assert error.exit_code == 4  # noqa: PT017  either may come
        assert len(double.heads) <= 120


async def test_a_role_without_an_arn_is_looked_for_by_its_name() -> None:
    """As where IAM may not be asked."""
    caller = Caller(arn="arn:aws:sts::123456789012:assumed-role/r/s", account="123456789012")
    async with answering(always("<GetRoleResponse><GetRoleResult/></GetRoleResponse>")) as (session, _):
        assert await policy_sources(session, caller) == ["arn:aws:iam::123456789012:role/r"]


POLICIES = {
    "no JSON": "optOut",
    "a list": "[]",
    "null": "null",
    "nested without end": "[" * 100_000,
    "services without end": '{"services":' * 5000,
    "services as text": '{"services": "rekognition"}',
    "services as a list": '{"services": ["rekognition"]}',
    "no services": "{}",
    "nothing of them": '{"services": null}',
    "a choice that is none": '{"services": {"rekognition": {"opt_out_policy": [1, {"a": null}]}}}',
    "a long choice": json.dumps({"services": {"default": {"opt_out_policy": "x" * 100_000}}}),
    "a number without end": '{"services": {"default": {"opt_out_policy": ' + "9" * 5000 + "}}}",
}


@pytest.mark.parametrize("content", [*POLICIES.values(), None], ids=[*POLICIES, "no content"])
async def test_a_policy_that_cannot_be_read_is_not_known(content: str | None) -> None:
    """Never an opt-out, never an error, and a short word about it."""
    body = json.dumps({"EffectivePolicy": {} if content is None else {"PolicyContent": content}})
    async with answering(always(body)) as (session, _):
        found = await opt_out(session)
    assert found.state is not OptOutState.OUT
    assert len(found.detail) < 400


# -- Lists that do not go on -------------------------------------------------------------------------------------------

PROJECT = {"ProjectArn": f"arn:aws:rekognition:{REGION}:123456789012:project/birds/1", "Status": "CREATED"}


def pages(*, tokens: Callable[[int], str], projects: list[dict[str, Any]]) -> Callable[[str, bytes], bytes]:
    """Pages of DescribeProjects without a last one."""
    count = iter(range(10**9))

    def answer(_head: str, _body: bytes) -> bytes:
        page = {"ProjectDescriptions": projects, "NextToken": tokens(next(count))}
        return response(200, json.dumps(page).encode())

    return answer


@pytest.mark.parametrize(
    ("answer", "word", "most"),
    [
        (pages(tokens=lambda _: "T", projects=[PROJECT]), "repeats the token", 2),
        (pages(tokens=lambda number: "AB"[number % 2], projects=[]), "repeats the token", 3),
        (pages(tokens=str, projects=[]), "in a row are empty", 1000),
    ],
)
async def test_a_list_of_projects_that_does_not_go_on_ends(
    answer: Callable[[str, bytes], bytes], word: str, most: int
) -> None:
    """With a word, and without a request more."""
    async with answering(answer) as (session, double):
        with pytest.raises(StoreError, match=word) as caught:
            await all_projects(CustomLabelsService(session, REGION))
        assert len(double.heads) == most
    assert isinstance(caught.value, AccessError)


# -- Other documents in place of lists of S3 ---------------------------------------------------------------------------

NO_LISTS = {
    "a page": b"<html><body>sign in</body></html>",
    "nothing": b"",
    "an error": b"<Error><Code>Busy</Code></Error>",
    "another list": b"<ListAllMyBucketsResult><Buckets/></ListAllMyBucketsResult>",
}


@asynccontextmanager
async def s3_answering(client: ClientKind, status: int, body: bytes) -> AsyncIterator[S3Api]:
    """A client of a store that sends the same to every request, but for the region of its buckets."""

    def answer(head: str, _body: bytes) -> bytes:
        is_head = head.startswith("HEAD")
        return response(200, b"", [f"x-amz-bucket-region: {REGION}"]) if is_head else response(status, body)

    async with answering(answer) as (session, _), open_signed_client(session) as signed:
        yield FastS3(session, signed) if client is ClientKind.FAST else BotoS3(session)


@pytest.mark.parametrize("status", [200, 204])
@pytest.mark.parametrize("body", NO_LISTS.values(), ids=NO_LISTS.keys())
@pytest.mark.parametrize("client", list(ClientKind))
async def test_another_document_is_no_empty_list(client: ClientKind, body: bytes, status: int) -> None:
    """A run of a source that seems to be empty would end as completed."""
    async with s3_answering(client, status, b"" if status == 204 else body) as s3:
        with pytest.raises((TransientError, ErrorResponseError)):
            await s3.list_objects("raw", "", after=None)
        with pytest.raises((TransientError, ErrorResponseError)):
            await s3.list_versions("raw", "a.jpg")


@pytest.mark.parametrize("region", ["r" * 7000, "evil.example/", "a@evil.example/", "\x1b]0;X\x07"])
async def test_a_bucket_in_no_region_is_an_error_of_a_few_lines(region: str) -> None:
    """The name is no part of an address, and no more of it is shown than a person reads."""
    async with answering(lambda *_: response(200, b"", [f"x-amz-bucket-region: {region}"])) as (session, double):
        with pytest.raises(EndpointError) as caught:
            await BotoS3(session).list_objects("raw", "", after=None)
        assert len(double.heads) == 1
    assert len(caught.value.message) < 600
