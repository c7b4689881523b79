"""Faults, quota, latency and counters of the sandbox, as seen by a client."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ReadTimeoutError,
)

from asyncfilter.sandbox import (
    Latency,
    Sandbox,
    SandboxOptions,
    SandboxProcess,
    SyntheticSpec,
    parse_fault,
    parse_latency,
)
from tests.kit.pace import one_moment

Open = Callable[..., Sandbox]
Client = Callable[..., Any]
KEY = "raw/robin/1.jpg"
SHORT = Config(read_timeout=0.2)
"""For what is never answered: what is answered has the patience of other tests, as machines can be slow."""
SYNTHETIC = (SyntheticSpec("raw-data", 8, "raw/{class}/{n}.jpg"),)


def detect(rekognition: Any, key: str = KEY) -> str:
    """The error code of a DetectLabels call; empty for a success."""
    try:
        rekognition.detect_labels(Image={"S3Object": {"Bucket": "raw-data", "Name": key}})
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return f"{status} {error.response['Error']['Code']}: {error.response['Error']['Message']}"
    return ""


def control(sandbox: Sandbox, method: str, path: str, body: object = None) -> Any:
    """Send a request to the control path."""
    connection = http.client.HTTPConnection(urlsplit(sandbox.endpoint_url).netloc, timeout=5)
    connection.request(method, f"/_sandbox/{path}", None if body is None else json.dumps(body))
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    return response.status, answer


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("throttle", "400 ProvisionedThroughputExceededException: Provisioned Rate exceeded"),
        ("s3-read", "400 ProvisionedThroughputExceededException: S3 download limit exceeded"),
        ("ramp", "400 ThrottlingException: Slow down; sudden increase in rate of requests. "),
        ("unavailable", "500 ThrottlingException: Service Unavailable"),
        ("internal", "500 InternalServerError: Internal server error"),
        ("expired", "400 ExpiredTokenException: "),
        ("denied", "400 AccessDeniedException: "),
    ],
)
def test_error_faults_have_the_messages_of_the_service(
    open_sandbox: Open, client: Client, kind: str, answer: str
) -> None:
    """Each fault has the status, code and message of the real error, and ends after the set number of attempts."""
    rekognition = client("rekognition", open_sandbox(synthetic=SYNTHETIC, faults=(parse_fault(f"{kind}=2x"),)))
    assert [detect(rekognition).startswith(answer) for _ in range(3)] == [True, True, False]
    assert detect(rekognition) == ""


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("slowdown", (503, "SlowDown")),
        ("internal:*", (500, "InternalError")),
        ("unavailable:*", (503, "ServiceUnavailable")),
    ],
)
def test_s3_faults(open_sandbox: Open, client: Client, kind: str, answer: tuple[int, str]) -> None:
    """Faults of S3 have the codes of S3."""
    s3 = client("s3", open_sandbox(synthetic=SYNTHETIC, faults=(parse_fault(f"{kind}=1x"),)))
    with pytest.raises(ClientError) as caught:
        s3.list_objects_v2(Bucket="raw-data")
    response = caught.value.response
    assert (response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]) == answer
    assert s3.list_objects_v2(Bucket="raw-data")["KeyCount"] == 8


def test_a_copy_can_fail_with_200(open_sandbox: Open, client: Client) -> None:
    """The answer is 200 with an error as its body: nothing was copied, and botocore raises an error."""
    sandbox = open_sandbox(synthetic=SYNTHETIC, faults=(parse_fault("late-error=1x"),))
    s3 = client("s3", sandbox)
    copy = {"Bucket": "raw-data", "Key": "copy", "CopySource": {"Bucket": "raw-data", "Key": KEY}}
    with pytest.raises(ClientError, match="InternalError"):
        s3.copy_object(**copy)
    assert sandbox.bucket("raw-data").get("copy") is None
    s3.copy_object(**copy)


@pytest.mark.parametrize(
    ("kind", "error", "config"),
    [
        ("reset", ConnectionClosedError, None),
        ("cut", ConnectionClosedError, None),
        ("timeout", ReadTimeoutError, SHORT),
    ],
)
def test_lost_answers_are_billed(
    open_sandbox: Open, client: Client, kind: str, error: type[BotoCoreError], config: Config | None
) -> None:
    """The call is carried out and billed, but its answer does not arrive; the next connection works."""
    sandbox = open_sandbox(synthetic=SYNTHETIC, faults=(parse_fault(f"{kind}=1x"),))
    rekognition = client("rekognition", sandbox, config=config)
    with pytest.raises(error):
        detect(rekognition)
    assert detect(rekognition if config is None else client("rekognition", sandbox)) == ""
    counts = sandbox.stats().operations["DetectLabels"]
    assert (counts.attempts, counts.accepted, counts.billed, counts.faulted) == (2, 1, 2, {kind: 1})


def test_faults_can_be_aimed(open_sandbox: Open, client: Client) -> None:
    """Faults can be limited by globs on bucket and key; other keys are answered."""
    sandbox = open_sandbox(synthetic=SYNTHETIC, faults=(parse_fault("internal@raw-data/raw/jay/*=100%"),))
    rekognition = client("rekognition", sandbox)
    outcome = {key: detect(rekognition, key)[:3] for key in sandbox.keys("raw-data")}
    assert {key for key, code in outcome.items() if code} == {"raw/jay/1.jpg"}


def test_the_quota_refuses_what_is_over_it(open_sandbox: Open, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a burst exactly the quota is answered; the rest is throttled, not billed, and counted."""
    sandbox = open_sandbox(synthetic=SYNTHETIC, tps=3)
    rekognition = client("rekognition", sandbox)
    with one_moment(monkeypatch):
        answers = [detect(rekognition) for _ in range(5)]
    assert answers[:3] == ["", "", ""]
    assert answers[3] == answers[4] == "400 ProvisionedThroughputExceededException: Provisioned Rate exceeded"
    counts = sandbox.stats().operations["DetectLabels"]
    assert (counts.attempts, counts.accepted, counts.throttled, counts.billed) == (5, 3, 2, 3)
    assert counts.attempts_per_1s_max == 5


def test_keys_examined_again_are_counted(open_sandbox: Open, client: Client) -> None:
    """The counters hold the images examined more than once, and can be reset."""
    sandbox = open_sandbox(synthetic=SYNTHETIC)
    rekognition = client("rekognition", sandbox)
    for key in (KEY, "raw/jay/1.jpg", KEY):
        detect(rekognition, key)
    stats = sandbox.stats()
    assert (stats.keys_examined, stats.calls_per_key_max) == (2, 2)
    assert stats.keys_examined_again == {f"raw-data/{KEY}": 2}
    assert control(sandbox, "POST", "reset-stats") == (200, {"ok": True})
    assert sandbox.stats().keys_examined == 0


def test_conditions_change_at_run_time(open_sandbox: Open, client: Client) -> None:
    """Faults, quota and latency can be set while the sandbox runs; invalid values are refused with a message."""
    sandbox = open_sandbox(synthetic=SYNTHETIC)
    rekognition = client("rekognition", sandbox)
    assert control(sandbox, "POST", "faults", {"faults": ["internal=1"]})[0] == 200
    assert detect(rekognition).startswith("500 InternalServerError")
    assert control(sandbox, "POST", "faults", {"faults": []})[0] == 200
    assert control(sandbox, "POST", "quota", {"tps": 0.01})[0] == 200
    assert [detect(rekognition)[:3] for _ in range(2)] == ["", "400"]
    assert control(sandbox, "POST", "quota", {"tps": None})[0] == 200
    assert control(sandbox, "POST", "latency", {"detect": "1ms"})[0] == 200
    assert detect(rekognition) == ""
    status, answer = control(sandbox, "POST", "faults", {"faults": ["flood=1"]})
    assert (status, "flood" in answer["error"]) == (400, True)
    assert control(sandbox, "GET", "nothing")[0] == 404
    assert control(sandbox, "GET", "stats")[1]["operations"]["DetectLabels"]["attempts"] == 4


def test_answers_wait_for_their_latency(open_sandbox: Open, client: Client) -> None:
    """An answer that takes longer than the client's timeout is a timeout; other operations are not delayed."""
    sandbox = open_sandbox(synthetic=SYNTHETIC, latency=Latency(30, 30))
    with pytest.raises(ReadTimeoutError):
        detect(client("rekognition", sandbox, config=SHORT))
    assert client("s3", sandbox).list_objects_v2(Bucket="raw-data")["KeyCount"] == 8
    assert sandbox.stats().operations["DetectLabels"].in_flight == 1


def test_a_throttle_comes_sooner_than_an_answer(open_sandbox: Open, client: Client) -> None:
    """A throttle takes a tenth of the latency, since no image is examined."""
    sandbox = open_sandbox(synthetic=SYNTHETIC, latency=Latency(12, 12), tps=0.01)
    with pytest.raises(ReadTimeoutError):
        detect(client("rekognition", sandbox, config=SHORT))
    throttled = detect(client("rekognition", sandbox, config=Config(read_timeout=10)))
    assert throttled.startswith("400 ProvisionedThroughputExceededException")


def test_a_sandbox_in_a_process_of_its_own() -> None:
    """It starts with any options, answers, counts, and ends with its context."""
    options = SandboxOptions(
        synthetic=SYNTHETIC,
        faults=(parse_fault("reset=1x"),),
        latency=parse_latency("p50=1ms,p99=5ms"),
        tps=100,
    )
    with SandboxProcess(options) as sandbox:
        host = urlsplit(sandbox.endpoint_url).netloc
        head = {
            "X-Amz-Target": "RekognitionService.DetectLabels",
            "Authorization": "AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/rekognition/aws4_request, Signature=0",
        }
        body = json.dumps({"Image": {"S3Object": {"Bucket": "raw-data", "Name": KEY}}})
        connection = http.client.HTTPConnection(host, timeout=5)
        connection.request("POST", "/", body, head)
        with pytest.raises(ConnectionResetError):
            connection.getresponse()
        connection.close()
        connection.request("POST", "/", body, head)
        assert json.loads(connection.getresponse().read())["Labels"]
        connection.close()
        assert sandbox.stats().operations["DetectLabels"].billed == 2
        assert sandbox.environment()["AWS_ENDPOINT_URL"] == sandbox.endpoint_url
    with pytest.raises(ConnectionRefusedError):
        connection.request("GET", "/_sandbox/health")
    connection.close()


def test_a_process_that_cannot_start_reports_the_cause(capfd: pytest.CaptureFixture[str]) -> None:
    """The context raises an error, and the cause is printed on stderr."""
    options = SandboxOptions(answers="/nowhere/answers.jsonl")
    with pytest.raises(RuntimeError, match="did not come up"), SandboxProcess(options):
        pass
    assert "/nowhere/answers.jsonl" in capfd.readouterr().err
