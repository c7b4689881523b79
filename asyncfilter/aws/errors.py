"""What AWS's error answers mean: one table, used by both clients.

``classify`` turns an ``Answer`` into the package's own error by its code, and where the code is unknown by its HTTP
status. Codes, messages and advice are those of the Rekognition guide (*Error handling*), the S3 guide (*Error
responses*) and botocore's service models; none of the modelled errors says itself whether a repetition helps.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from asyncfilter.aws.answers import Answer, Operation
from asyncfilter.errors import (
    AccessError,
    AsyncFilterError,
    BucketNotFoundError,
    CredentialsError,
    EndpointError,
    ImageError,
    PermissionDeniedError,
    RegionMismatchError,
    ThrottleCause,
    ThrottledError,
    TransientError,
)
from asyncfilter.policy.detectors import PROFILES

_Rule = Callable[[Answer], AsyncFilterError]


def _throttled(cause: ThrottleCause) -> _Rule:
    def rule(answer: Answer) -> ThrottledError:
        return ThrottledError(
            str(answer), cause=cause, may_be_billed=answer.status >= 500, retry_after_s=answer.retry_after_s
        )

    return rule


def _throughput_exceeded(answer: Answer) -> AsyncFilterError:
    """One code, two limits; only the message tells them apart."""
    s3_read = "s3 download limit" in answer.message.lower()
    return _throttled(ThrottleCause.S3_READ if s3_read else ThrottleCause.RATE)(answer)


def _throttling(answer: Answer) -> AsyncFilterError:
    message = answer.message.lower()
    if answer.status >= 500:
        return _throttled(ThrottleCause.SERVER)(answer)
    if "sudden increase" in message or "ramp up" in message:
        return _throttled(ThrottleCause.RAMP)(answer)
    return _throttled(ThrottleCause.RATE)(answer)


def _transient(answer: Answer) -> TransientError:
    billed = answer.status >= 500 or answer.status == 200
    return TransientError(str(answer), may_be_billed=billed, retry_after_s=answer.retry_after_s)


def _image(code: str, meaning: str, remedy: str | None = None, *, access: bool = False) -> _Rule:
    def rule(answer: Answer) -> ImageError:
        seen = answer.message or answer.code or f"HTTP {answer.status}"
        return ImageError(f"{answer.where}: {meaning} ({seen})", code=code, remedy=remedy, access=access)

    return rule


_LEAST_PX = {Operation(profile.operation): profile.image_limits.min_px for profile in PROFILES.values()}
"""The shortest side that each detector's operation takes."""


def _parameter(answer: Answer) -> AsyncFilterError:
    """DetectLabels says this of images under 80 px (botocore issue 1366), hence of one image, not of the job."""
    if "exceed maximum dimension" in answer.message.lower():
        return _too_large(answer)
    least_px = _LEAST_PX.get(answer.operation, 0)
    return _image(
        "image_rejected",
        f"Rekognition refuses the image; it does so when a side is under {least_px} px",
        "Check detector.max_labels, detector.min_confidence and detector.features when every image is refused.",
    )(answer)


def _credentials(hint: str) -> _Rule:
    return lambda answer: CredentialsError(f"AWS does not accept the credentials: {answer}", hint=hint)


def _denied(answer: Answer) -> AsyncFilterError:
    if "kms" in answer.message.lower():
        return _kms(answer)
    return PermissionDeniedError(
        f"Permission denied: {answer}",
        hint=f"Allow {answer.operation.permission} for the credentials in use.",
    )


def _no_bucket(answer: Answer) -> AsyncFilterError:
    bucket = answer.where.removeprefix("s3://").partition("/")[0]
    return BucketNotFoundError(
        f"Bucket {bucket!r} does not exist ({answer})", hint="Correct the bucket's name in the job file."
    )


def _region(answer: Answer) -> AsyncFilterError:
    home = f"; the bucket is in {answer.region}" if answer.region else ""
    return RegionMismatchError(
        f"Wrong region{home}: {answer}",
        hint=f"Set aws.region to {answer.region or 'the region of the bucket'} and leave detector.region out.",
    )


def _endpoint(answer: Answer) -> AsyncFilterError:
    return EndpointError(
        f"The server that answers is not the AWS service that was meant: {answer}",
        hint="Check AWS_ENDPOINT_URL, its per-service forms, endpoint_url in the AWS config file, and the proxy.",
    )


def _model_missing(answer: Answer) -> AsyncFilterError:
    return AccessError(
        f"There is no model {answer.where} for these credentials ({answer.message})",
        hint="Set detector.model to the ARN of a trained version (DescribeProjectVersions lists them).",
    )


def _model_stopped(answer: Answer) -> AsyncFilterError:
    return AccessError(
        f"The model {answer.where} is not running ({answer.message})",
        hint="Start the model (StartProjectVersion), wait until it is RUNNING, then run again.",
    )


_too_large = _image("image_too_large", "the image is over 15 MB, 10,000 px or what the model takes")
_kms = _image(
    "kms_denied",
    "the object's KMS key may not be used",
    "Allow kms:Decrypt on the key of the source bucket, and kms:GenerateDataKey on that of the target.",
    access=True,
)
_archived = _image("archived", "the object is archived", "Restore the objects, or exclude them from the source.")
_vanished = _image("vanished", "the object is gone")
_too_large_to_copy = _image("too_large_to_copy", "the object is over 5 GB, the most that one copy takes")
_RENEW = "Renew the credentials, for instance with `aws sso login`, and run again."
_CHECK = "Check AWS_PROFILE, aws.profile and the access key; `aws sts get-caller-identity` shows whether they work."
_CLOCK = "Set this machine's clock, and check that the secret access key is the one of the access key."


def _invalid_request(answer: Answer) -> AsyncFilterError:
    if "larger than the maximum allowable size for a copy" in answer.message:
        return _too_large_to_copy(answer)
    return _image("invalid_request", "S3 refuses the request")(answer)


_RULES: dict[str, _Rule] = {
    # Rate
    "ProvisionedThroughputExceededException": _throughput_exceeded,
    **dict.fromkeys(("ThrottlingException", "Throttling", "ThrottledException"), _throttling),
    **dict.fromkeys(
        ("TooManyRequestsException", "RequestLimitExceeded", "RequestThrottled", "RequestThrottledException"),
        _throttled(ThrottleCause.RATE),
    ),
    **dict.fromkeys(
        ("SlowDown", "ServiceUnavailable", "BandwidthLimitExceeded", "KMS.ThrottlingException"),
        _throttled(ThrottleCause.SERVER),
    ),
    # Worth repeating
    **dict.fromkeys(
        (
            "InternalServerError", "InternalError", "InternalFailure", "RequestTimeout", "RequestTimeoutException",
            "PriorRequestNotComplete", "OperationAborted", "ConditionalRequestConflict", "BadDigest",
        ),
        _transient,
    ),
    # One image
    "InvalidS3ObjectException": _image("invalid_s3_object", "Rekognition cannot read the object"),
    "InvalidParameterException": _parameter,
    "ImageTooLargeException": _too_large,
    "InvalidImageFormatException": _image("invalid_image_format", "the object is not a JPEG or PNG that can be read"),
    "NoSuchKey": _vanished,
    "PreconditionFailed": _image("changed", "the object changed since it was examined"),
    **dict.fromkeys(("InvalidObjectState", "ObjectNotInActiveTierError"), _archived),
    "EntityTooLarge": _too_large_to_copy,
    "InvalidRequest": _invalid_request,
    **dict.fromkeys(
        ("KMS.DisabledException", "KMS.InvalidStateException", "KMS.NotFoundException", "KMSInvalidStateException",
         "KMSKeyNotAccessible", "KMS.AccessDeniedException", "KMS.KMSInvalidStateException"),
        _kms,
    ),
    # The account
    **dict.fromkeys(
        ("AccessDenied", "AccessDeniedException", "AllAccessDisabled", "AccountProblem", "NotSignedUp",
         "OptInRequired", "UnauthorizedAccess", "NotAuthorized"),
        _denied,
    ),
    **dict.fromkeys(("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"), _credentials(_RENEW)),
    **dict.fromkeys(
        ("UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId", "InvalidToken", "AuthFailure",
         "MissingAuthenticationToken", "MissingAuthenticationTokenException", "IncompleteSignature",
         "IncompleteSignatureException", "InvalidSecurity"),
        _credentials(_CHECK),
    ),
    **dict.fromkeys(
        ("SignatureDoesNotMatch", "InvalidSignatureException", "RequestTimeTooSkewed", "RequestExpired"),
        _credentials(_CLOCK),
    ),
    **dict.fromkeys(("NoSuchBucket", "InvalidBucketName"), _no_bucket),
    **dict.fromkeys(
        ("PermanentRedirect", "TemporaryRedirect", "Redirect", "AuthorizationHeaderMalformed",
         "IllegalLocationConstraintException", "IncorrectEndpoint"),
        _region,
    ),
    **dict.fromkeys(("UnknownOperationException", "UnknownOperation", "InvalidAction"), _endpoint),
    "ResourceNotFoundException": _model_missing,
    "ResourceNotReadyException": _model_stopped,
}  # fmt: skip

_BY_STATUS: dict[int, _Rule] = {
    301: _region,
    307: _region,
    403: _denied,
    404: _vanished,
    407: _endpoint,
    408: _transient,
    412: _RULES["PreconditionFailed"],
    429: _throttled(ThrottleCause.RATE),
    503: _throttled(ThrottleCause.SERVER),
}
"""What an answer without a code means: those to HEAD have no body."""

CLOCK_CODES = frozenset(
    {"SignatureDoesNotMatch", "InvalidSignatureException", "RequestTimeTooSkewed", "RequestExpired"}
)
"""Codes behind which a wrong clock may stand."""


def classify(answer: Answer) -> AsyncFilterError:
    """The package's own error for an error answer; the caller raises it ``from`` what brought the answer.

    Returns:
        A ``CallError`` or an ``AccessError``; never an ``ImageError`` for an operation that concerns no image.
    """
    error = _meaning(answer)
    if isinstance(error, ImageError) and answer.operation not in _ON_IMAGES:
        return AccessError(f"AWS refuses: {answer}", hint="Check bucket, prefix and model in the job file.")
    return error


_ON_IMAGES = frozenset(
    {
        *_LEAST_PX,
        Operation.HEAD_OBJECT,
        Operation.GET_OBJECT,
        Operation.COPY_OBJECT,
        Operation.DELETE_OBJECT,
        Operation.GET_OBJECT_TAGGING,
        Operation.PUT_OBJECT_TAGGING,
    }
)


def _meaning(answer: Answer) -> AsyncFilterError:
    if rule := _RULES.get(answer.code):
        return rule(answer)
    if not answer.code and (rule := _BY_STATUS.get(answer.status)):
        missing_bucket = answer.status == 404 and answer.operation in {Operation.HEAD_BUCKET, Operation.LIST_OBJECTS}
        return _no_bucket(answer) if missing_bucket else rule(answer)
    if answer.status >= 500 or answer.status == 200:
        return _transient(answer)
    if answer.status == 429:
        return _throttled(ThrottleCause.RATE)(answer)
    if 300 <= answer.status < 400:
        return _region(answer)
    return _image(_snake(answer.code) or f"http_{answer.status}", "AWS refuses it")(answer)


def _snake(code: str) -> str:
    """``LimitExceededException`` as ``limit_exceeded``."""
    name = re.sub(r"[^0-9A-Za-z]+", "_", code.removesuffix("Exception"))
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).strip("_").lower()
