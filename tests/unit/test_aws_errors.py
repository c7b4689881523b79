"""Every error code has one meaning, with both clients."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from botocore.exceptions import ClientError, HTTPClientError

from asyncfilter.aws.clients.error_response import ErrorResponse, ErrorResponseError, Operation, read_error_response
from asyncfilter.aws.errors import classify
from asyncfilter.aws.transport_errors import transport_failure, vendor_translated
from asyncfilter.errors import (
    AccessError,
    BucketNotFoundError,
    CredentialsError,
    EndpointError,
    ImageError,
    PermissionDeniedError,
    RegionMismatchError,
    StoreError,
    ThrottleCause,
    ThrottledError,
    TransientError,
)

D, C, L, P = Operation.DETECT_LABELS, Operation.DETECT_CUSTOM_LABELS, Operation.LIST_OBJECTS, Operation.COPY_OBJECT
H, B = Operation.HEAD_OBJECT, Operation.HEAD_BUCKET

# operation, status, code, message -> class, distinguishing attribute
TABLE = [
    (D, 400, "ProvisionedThroughputExceededException", "Provisioned Rate exceeded", ThrottledError, ThrottleCause.RATE),
    (D, 400, "ProvisionedThroughputExceededException", "S3 download limit exceeded", ThrottledError, "s3_read"),
    (D, 400, "ThrottlingException", "Slow down; sudden increase in rate of requests", ThrottledError, "ramp"),
    (D, 400, "ThrottlingException", "Rate exceeded", ThrottledError, ThrottleCause.RATE),
    (D, 500, "ThrottlingException", "Service Unavailable", ThrottledError, ThrottleCause.SERVER),
    (L, 503, "SlowDown", "Please reduce your request rate.", ThrottledError, ThrottleCause.SERVER),
    (D, 500, "ProvisionedThroughputExceededException", "Provisioned Rate exceeded", ThrottledError, ThrottleCause.RATE),
    (D, 503, "ProvisionedThroughputExceededException", "S3 download limit exceeded", ThrottledError, "s3_read"),
    (D, 503, "TooManyRequestsException", "", ThrottledError, ThrottleCause.RATE),
    (D, 502, "ThrottledException", "", ThrottledError, ThrottleCause.SERVER),
    (D, 500, "RequestThrottledException", "", ThrottledError, ThrottleCause.RATE),
    (P, 200, "SlowDown", "", ThrottledError, ThrottleCause.SERVER),
    (L, 503, "SlowDownWrite", "", ThrottledError, ThrottleCause.SERVER),
    (L, 400, "SlowDownRead", "", ThrottledError, ThrottleCause.RATE),
    (D, 500, "TooManyRequests", "", ThrottledError, ThrottleCause.SERVER),
    (D, 400, "ProvisionedThroughputExceeded", "", ThrottledError, ThrottleCause.RATE),
    (D, 500, "EC2ThrottledException", "", ThrottledError, ThrottleCause.SERVER),
    (D, 503, "RateExceeded", "", ThrottledError, ThrottleCause.SERVER),
    (D, 500, "ThroughputThing", "", TransientError, True),
    (L, 503, "ServiceUnavailable", "Reduce your request rate.", ThrottledError, ThrottleCause.SERVER),
    (H, 503, "", "", ThrottledError, ThrottleCause.SERVER),
    (D, 429, "TooManyRequestsException", "", ThrottledError, ThrottleCause.RATE),
    (D, 429, "SomethingNew", "", ThrottledError, ThrottleCause.RATE),
    (D, 500, "InternalServerError", "Internal server error", TransientError, True),
    (P, 200, "InternalError", "We encountered an internal error.", TransientError, True),
    (D, 502, "", "<html>Bad gateway</html>", TransientError, True),
    (D, 500, "BrandNewException", "", TransientError, True),
    (D, 408, "", "<html>Request Time-out</html>", TransientError, False),
    (L, 400, "RequestTimeout", "", TransientError, False),
    (P, 409, "ConditionalRequestConflict", "", TransientError, False),
    (P, 409, "OperationAborted", "", TransientError, False),
    (D, 400, "InvalidS3ObjectException", "Request has invalid S3 object", ImageError, "invalid_s3_object"),
    (D, 400, "InvalidParameterException", "Request has Invalid Parameters", ImageError, "image_rejected"),
    (
        D,
        400,
        "InvalidParameterException",
        "Input image dimensions 10800 x 5400 exceed maximum dimension size of 10000 pixels",
        ImageError,
        "image_too_large",
    ),
    (D, 400, "ImageTooLargeException", "Image size is too large", ImageError, "image_too_large"),
    (D, 400, "InvalidImageFormatException", "Request has invalid image format", ImageError, "invalid_image_format"),
    (D, 400, "InvalidImageFormatException", "Invalid image encoding", ImageError, "invalid_image_format"),
    (C, 400, "LimitExceededException", "A limit", ImageError, "limit_exceeded"),
    (D, 400, "KMSThingWentWRONGException", "", ImageError, "kms_thing_went_wrong"),
    (D, 400, "", "", ImageError, "http_400"),
    (P, 404, "NoSuchKey", "The specified key does not exist.", ImageError, "vanished"),
    (H, 404, "", "", ImageError, "vanished"),
    (P, 412, "PreconditionFailed", "", ImageError, "changed"),
    (P, 403, "InvalidObjectState", "The operation is not valid for the object's storage class", ImageError, "archived"),
    (P, 403, "ObjectNotInActiveTierError", "", ImageError, "archived"),
    (
        P,
        400,
        "InvalidRequest",
        "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120",
        ImageError,
        "too_large_to_copy",
    ),
    (P, 400, "InvalidRequest", "This copy request is illegal", ImageError, "invalid_request"),
    (P, 400, "KMS.DisabledException", "", ImageError, "kms_denied"),
    (
        P,
        403,
        "AccessDenied",
        "User is not authorized to perform: kms:GenerateDataKey on this resource",
        ImageError,
        "kms_denied",
    ),
    (D, 400, "AccessDeniedException", "not authorized", PermissionDeniedError, "rekognition:DetectLabels"),
    (C, 400, "AccessDeniedException", "not authorized", PermissionDeniedError, "rekognition:DetectCustomLabels"),
    (L, 403, "AccessDenied", "Access Denied", PermissionDeniedError, "s3:ListBucket"),
    (P, 403, "AccessDenied", "Access Denied", PermissionDeniedError, "s3:PutObject"),
    (H, 403, "", "", PermissionDeniedError, "s3:GetObject"),
    (D, 400, "ExpiredTokenException", "", CredentialsError, "aws sso login"),
    (L, 400, "ExpiredToken", "The provided token has expired.", CredentialsError, "aws sso login"),
    (D, 400, "UnrecognizedClientException", "", CredentialsError, "AWS_PROFILE"),
    (L, 403, "InvalidAccessKeyId", "", CredentialsError, "AWS_PROFILE"),
    (L, 403, "SignatureDoesNotMatch", "", CredentialsError, "clock"),
    (L, 403, "RequestTimeTooSkewed", "", CredentialsError, "clock"),
    (D, 400, "InvalidSignatureException", "Signature expired", CredentialsError, "clock"),
    (L, 404, "NoSuchBucket", "", BucketNotFoundError, "bucket"),
    (B, 404, "", "", BucketNotFoundError, "bucket"),
    (L, 301, "PermanentRedirect", "", RegionMismatchError, "region"),
    (H, 301, "", "", RegionMismatchError, "region"),
    (L, 307, "", "", RegionMismatchError, "region"),
    (L, 400, "AuthorizationHeaderMalformed", "", RegionMismatchError, "region"),
    (L, 400, "InvalidBucketName", "", BucketNotFoundError, "bucket"),
    (L, 400, "InvalidArgument", "", AccessError, "names of bucket"),
    (D, 400, "UnknownOperationException", "", EndpointError, "AWS_ENDPOINT_URL"),
    (D, 407, "", "", EndpointError, "proxy"),
    (C, 400, "ResourceNotReadyException", "not RUNNING", AccessError, "Start the model"),
    (D, 400, "SubscriptionRequiredException", "needs a subscription", AccessError, "registration"),
    (D, 400, "OptInRequired", "", AccessError, "registration"),
    (P, 403, "AccountProblem", "", AccessError, "registration"),
    (L, 403, "NotSignedUp", "", AccessError, "registration"),
    (H, 402, "", "", AccessError, "registration"),
    (L, 403, "UserSuspended", "", AccessError, "registration"),
    (D, 400, "InvalidClientTokenId", "", CredentialsError, "region enabled"),
    (D, 400, "UnrecognizedClient", "", CredentialsError, "region enabled"),
    (H, 401, "", "", CredentialsError, "AWS_PROFILE"),
    (L, 403, "AccessPointNotOwnedByYou", "", AccessError, "bucket's own name"),
    (P, 403, "QuiteNewDenial", "", PermissionDeniedError, "s3:PutObject"),
    (P, 501, "NotImplemented", "", StoreError, "supports it"),
    (H, 405, "", "", StoreError, "supports it"),
    (
        P,
        403,
        "AccessDenied",
        "User: u is not authorized to perform: s3:GetObjectTagging on resource: arn:aws:s3:::kms-images/a.jpg",
        PermissionDeniedError,
        "s3:GetObjectTagging",
    ),
    (C, 400, "ResourceNotFoundException", "", AccessError, "detector.model"),
]


@pytest.mark.parametrize(("operation", "status", "code", "message", "kind", "mark"), TABLE)
def test_each_code_has_its_meaning(
    operation: Operation, status: int, code: str, message: str, kind: type[Exception], mark: Any
) -> None:
    """Each code has its class and its cause, billing, failure code or remedy."""
    error = classify(ErrorResponse(operation=operation, where="s3://b/k", status=status, code=code, message=message))
    assert type(error) is kind
    if isinstance(error, ThrottledError):
        assert error.cause == mark
        # A code that says "throttled" is not billed, whatever the status; a 503 that says nothing of the kind may be.
        assert error.may_be_billed is (status >= 500 and code in {"", "ServiceUnavailable"})
        assert error.may_be_done is (status >= 500)
    elif isinstance(error, TransientError):
        assert error.may_be_billed is mark
    elif isinstance(error, ImageError):
        assert error.code == mark
        assert error.access is (mark == "kms_denied")
    else:
        assert mark in (error.hint or "")
    assert "s3://b/k" in error.message or "'b'" in error.message


@pytest.mark.parametrize(("operation", "status", "code", "message", "kind", "mark"), TABLE)
def test_what_aioboto3_raises_means_the_same(
    operation: Operation, status: int, code: str, message: str, kind: type[Exception], mark: Any
) -> None:
    """A ``ClientError`` is reduced to the same response that the fast client reads."""
    response = {
        "Error": {"Code": code or str(status), "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": {"retry-after": "7"}},
    }
    with pytest.raises(ErrorResponseError) as caught, vendor_translated(operation, "s3://b/k"):
        raise ClientError(response, operation.value)
    assert caught.value.response == ErrorResponse(
        operation=operation, where="s3://b/k", status=status, code=code, message=message, retry_after_s=7.0
    )


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        (b'{"__type":"com.amazonaws.rekognition#ThrottlingException","message":"x"}', {}, "ThrottlingException"),
        (b'{"Message":"x"}', {"x-amzn-errortype": "ThrottlingException:http://internal/"}, "ThrottlingException"),
        (b'{"Code":"ThrottlingException","Message":"x"}', {}, "ThrottlingException"),
        (b'{"__type":"E","Message":7', {}, ""),
        (b"", {}, ""),
        (b"\n<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>x</Message></Error>", {}, "SlowDown"),
    ],
)
def test_codes_are_found_wherever_aws_puts_them(body: bytes, headers: dict[str, str], code: str) -> None:
    """The code is read from ``__type`` with or without a namespace, ``Code``, a header or XML; else there is none."""
    assert read_error_response(D, "w", status=400, headers=headers, body=body).code == code


LONG = "m" * 60_000


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (json.dumps({"__type": LONG, "message": LONG}).encode(), {}),
        (f"<Error><Code>{LONG[:20_000]}</Code><Message>{LONG[:20_000]}</Message></Error>".encode(), {}),
        (f"<Error><Code>Weird</Code><Region>{LONG}</Region></Error>".encode(), {}),
        (b"", {"x-amzn-errortype": LONG}),
        (b"", {"x-amz-bucket-region": LONG}),
    ],
)
@pytest.mark.parametrize(("operation", "status"), [(D, 400), (D, 500), (L, 400), (L, 301), (H, 404)])
def test_an_error_is_one_short_line_whatever_its_sender_wrote(
    operation: Operation, status: int, body: bytes, headers: dict[str, str]
) -> None:
    """It is logged and stored once for each image."""
    error = classify(read_error_response(operation, "s3://b/k", status=status, headers=headers, body=body))
    assert len(error.message) + len(error.hint or "") < 2_000
    assert len(getattr(error, "code", "")) <= 200


def test_a_failure_that_quotes_the_response_is_a_short_line() -> None:
    """The exceptions of aiohttp have what could not be parsed."""
    quoting = aiohttp.ClientError(f"Bad status line: {LONG}")
    assert len(transport_failure(quoting, "w").message) < 500
    with pytest.raises(TransientError) as caught, vendor_translated(D, "s3://b/k"):
        raise HTTPClientError(error=ValueError(LONG))
    assert len(caught.value.message) < 500


def test_xml_errors_have_message_and_region() -> None:
    """Entities are resolved; the region is read from the body if the header is missing."""
    body = b"<Error><Code>AuthorizationHeaderMalformed</Code><Message>a &lt;b&gt; &#39;c&#x27;</Message>"
    body += b"<Region>eu-west-1</Region></Error>"
    answer = read_error_response(L, "s3://b", status=400, headers={}, body=body)
    assert (answer.message, answer.region) == ("a <b> 'c'", "eu-west-1")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"x-amz-retry-after": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:30 GMT", "date": "Thu, 01 Jan 2026 00:00:00 GMT"}, 30.0),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:00 GMT", "date": "Thu, 01 Jan 2026 00:00:30 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
@pytest.mark.parametrize("code", ["SlowDown", "InternalError"])
def test_a_retry_after_of_aws_is_passed_on(headers: dict[str, str], seconds: float | None, code: str) -> None:
    """The delay is in seconds, in milliseconds or a date; invalid values are ignored."""
    body = f"<Error><Code>{code}</Code></Error>".encode()
    error = classify(read_error_response(L, "s3://b", status=503, headers=headers, body=body))
    assert isinstance(error, ThrottledError | TransientError)
    assert error.retry_after_s == seconds


RECORDED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "rekognition" / "real_errors.jsonl"


@pytest.mark.real
@pytest.mark.skipif(not RECORDED.exists(), reason="no recorded errors on this machine")
def test_recorded_errors_are_all_known() -> None:
    """Recorded bodies and messages are classified by code, never by the fallback."""
    seen = []
    for line in RECORDED.read_text().splitlines():
        record = json.loads(line)
        match record["kind"]:
            case "raw_http":
                headers = {name.lower(): value for name, value in record["headers"].items()}
                body = record["body"].encode()
                answer = read_error_response(D, "s3://b/k", status=record["status"], headers=headers, body=body)
            case "sdk_js_v2_error":
                error = record["error"]
                message = error.get("message") or error["errorMessage"]
                answer = ErrorResponse(
                    operation=D, where="w", status=error["statusCode"], code=error["code"], message=message
                )
            case "botocore_message" | "awscli_message":
                code, _, rest = record["text"].partition("An error occurred (")[2].partition(")")
                answer = ErrorResponse(operation=D, where="w", status=400, code=code, message=rest.partition(": ")[2])
            case _:
                code, separator, message = record["text"].partition(": ")
                known = code if separator else "InvalidParameterException"
                answer = ErrorResponse(operation=D, where="w", status=400, code=known, message=message or code)
        seen.append(classify(answer))
    assert [getattr(error, "cause", None) or getattr(error, "code", None) for error in seen] == [
        "invalid_s3_object",
        "invalid_image_format",
        "invalid_image_format",
        "image_rejected",
        "image_rejected",
        "invalid_image_format",
        "image_too_large",
        ThrottleCause.RATE,
        ThrottleCause.RAMP,
        ThrottleCause.RATE,
    ]
