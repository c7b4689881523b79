"""The meaning of AWS's error responses: one table, used by both clients.

``classify`` maps an ``ErrorResponse`` to one of the package's errors by its code, or by its HTTP status where the code
is unknown. Codes, messages and advice are those of the Rekognition guide (*Error handling*), the S3 guide (*Error
responses*) and botocore's service models; none of the modelled errors states whether a retry helps.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from asyncfilter.aws.clients.error_response import ErrorResponse, Operation
from asyncfilter.errors import (
    AccessError,
    AsyncFilterError,
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
from asyncfilter.policy.detectors import PROFILES

_Rule = Callable[[ErrorResponse], AsyncFilterError]


def _throttle(response: ErrorResponse, cause: ThrottleCause, *, may_be_billed: bool = False) -> ThrottledError:
    return ThrottledError(
        str(response),
        cause=cause,
        may_be_billed=may_be_billed,
        may_be_done=response.status >= 500,
        retry_after_s=response.retry_after_s,
    )


def _throttled(cause: ThrottleCause) -> _Rule:
    return lambda response: _throttle(response, cause)


def _unavailable(response: ErrorResponse) -> ThrottledError:
    """A server that is short of capacity, or a gateway that lost the response: the call may have been billed."""
    return _throttle(response, ThrottleCause.SERVER, may_be_billed=response.status >= 500)


def _throttled_somehow(response: ErrorResponse) -> ThrottledError:
    return _throttle(response, ThrottleCause.SERVER if response.status >= 500 else ThrottleCause.RATE)


def _throughput_exceeded(response: ErrorResponse) -> AsyncFilterError:
    """One code for two limits; only the message distinguishes them."""
    s3_read = "s3 download limit" in response.message.lower()
    return _throttled(ThrottleCause.S3_READ if s3_read else ThrottleCause.RATE)(response)


def _throttling(response: ErrorResponse) -> AsyncFilterError:
    message = response.message.lower()
    if response.status >= 500:
        return _throttled(ThrottleCause.SERVER)(response)
    if "sudden increase" in message or "ramp up" in message:
        return _throttled(ThrottleCause.RAMP)(response)
    return _throttled(ThrottleCause.RATE)(response)


def _transient(response: ErrorResponse) -> TransientError:
    billed = response.status >= 500 or response.status == 200
    return TransientError(str(response), may_be_billed=billed, retry_after_s=response.retry_after_s)


def _image(code: str, meaning: str, remedy: str | None = None, *, access: bool = False) -> _Rule:
    def rule(response: ErrorResponse) -> ImageError:
        seen = response.message or response.code or f"HTTP {response.status}"
        return ImageError(f"{response.where}: {meaning} ({seen})", code=code, remedy=remedy, access=access)

    return rule


_LEAST_PX = {
    Operation(profile.operation): profile.image_limits.min_px for profile in PROFILES.values() if profile.is_service
}
"""Shortest side that each detector's operation accepts, pixels."""


def _parameter(response: ErrorResponse) -> AsyncFilterError:
    """DetectLabels returns it for images under 80 px (botocore issue 1366), so it concerns one image, not the job."""
    if "exceed maximum dimension" in response.message.lower():
        return _too_large(response)
    least_px = _LEAST_PX.get(response.operation, 0)
    return _image(
        "image_rejected",
        f"Rekognition refuses the image; it does so when a side is under {least_px} px",
        "Check detector.max_labels, detector.min_confidence and detector.features when every image is refused.",
    )(response)


def _run(error: type[AsyncFilterError], meaning: str, hint: str) -> _Rule:
    """An error that ends the run, with the same words for every response."""
    return lambda response: error(f"{meaning}: {response}", hint=hint)


def _credentials(hint: str) -> _Rule:
    return _run(CredentialsError, "AWS does not accept the credentials", hint)


def _denied(response: ErrorResponse) -> AsyncFilterError:
    action = denied_action(response)
    if (action or response.message).lower().startswith("kms:") or (not action and "kms" in response.message.lower()):
        return _kms(response)
    return PermissionDeniedError(
        f"Permission denied: {response}",
        hint=f"Allow {action or response.operation.permission} for the credentials in use.",
    )


_ACTION = re.compile(r"not authorized to perform: ([A-Za-z0-9-]+:[A-Za-z]+)")


def denied_action(response: ErrorResponse) -> str | None:
    """The IAM action that a denial names, such as ``s3:GetObjectTagging``; None where it names none."""
    found = _ACTION.search(response.message)
    return found[1] if found else None


def _unsupported(response: ErrorResponse) -> AsyncFilterError:
    return StoreError(
        f"The store does not support {response.operation}: {response}",
        hint="Leave the action that needs it out of the job, or use a store that supports it.",
    )


def _no_bucket(response: ErrorResponse) -> AsyncFilterError:
    bucket = response.where.removeprefix("s3://").partition("/")[0]
    return BucketNotFoundError(f"Bucket {bucket!r} does not exist ({response})", hint="Correct the name of the bucket.")


def _region(response: ErrorResponse) -> AsyncFilterError:
    if not response.operation.permission.startswith("s3:"):  # no other service redirects
        return _endpoint(response)
    home = f"; the bucket is in {response.region}" if response.region else ""
    return RegionMismatchError(
        f"Wrong region{home}: {response}",
        hint=f"Set aws.region to {response.region or 'the region of the bucket'} and leave detector.region out.",
    )


def _model_missing(response: ErrorResponse) -> AsyncFilterError:
    return AccessError(
        f"There is no model {response.where} for these credentials ({response.message})",
        hint="Set detector.model to the ARN of a trained version (DescribeProjectVersions lists them).",
    )


def _model_stopped(response: ErrorResponse) -> AsyncFilterError:
    return AccessError(
        f"The model {response.where} is not running ({response.message})",
        hint="Start the model (StartProjectVersion), wait until it is RUNNING, then run again.",
    )


_unusable_account = _run(
    AccessError,
    "The account cannot use the service",
    "Complete the account's registration and billing, and enable service and region for it in the console.",
)
_not_owned = _run(
    AccessError,
    "The account does not own what it asks for",
    "Use a bucket's own name, and the credentials of an account that may use it.",
)
_endpoint = _run(
    EndpointError,
    "The server at the endpoint is not the expected AWS service",
    "Check AWS_ENDPOINT_URL, its per-service forms, endpoint_url in the AWS config file, and the proxy.",
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
_CHECK = (
    "Check AWS_PROFILE, aws.profile and the access key (`aws sts get-caller-identity` shows whether they work), and "
    "whether the account has the region enabled."
)
_CLOCK = "Set this machine's clock, and check that the secret access key is the one of the access key."


def _invalid_request(response: ErrorResponse) -> AsyncFilterError:
    if "larger than the maximum allowable size for a copy" in response.message:
        return _too_large_to_copy(response)
    return _image("invalid_request", "S3 refuses the request")(response)


_RULES: dict[str, _Rule] = {
    # Rate
    "ProvisionedThroughputExceededException": _throughput_exceeded,
    **dict.fromkeys(("ThrottlingException", "Throttling", "ThrottledException"), _throttling),
    **dict.fromkeys(
        ("TooManyRequestsException", "RequestLimitExceeded", "RequestThrottled", "RequestThrottledException"),
        _throttled(ThrottleCause.RATE),
    ),
    **dict.fromkeys(
        ("SlowDown", "BandwidthLimitExceeded", "KMS.ThrottlingException"),
        _throttled(ThrottleCause.SERVER),
    ),
    "ServiceUnavailable": _unavailable,
    # Worth a retry
    **dict.fromkeys(
        (
            "InternalServerError", "InternalError", "InternalFailure", "RequestTimeout", "RequestTimeoutException",
            "PriorRequestNotComplete", "OperationAborted", "ConditionalRequestConflict", "BadDigest",
            "XAmzContentSHA256Mismatch",
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
        ("AccessDenied", "AccessDeniedException", "UnauthorizedAccess", "UnauthorizedOperation", "NotAuthorized",
         "UnauthorizedAccessException", "NotAuthorizedException"),
        _denied,
    ),
    **dict.fromkeys(
        ("SubscriptionRequiredException", "SubscriptionRequired", "OptInRequired", "OptInRequiredException",
         "NotSignedUp", "AccountProblem", "AllAccessDisabled", "PendingVerification", "Blocked", "InvalidPayer",
         "UserSuspended", "AccountSuspended", "AccountDisabled"),
        _unusable_account,
    ),
    **dict.fromkeys(("AccessPointNotOwnedByYou", "AccessPointNotOwned"), _not_owned),
    **dict.fromkeys(("NotImplemented", "MethodNotAllowed", "UnsupportedOperation", "NotSupported"), _unsupported),
    **dict.fromkeys(("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"), _credentials(_RENEW)),
    **dict.fromkeys(
        ("UnrecognizedClientException", "UnrecognizedClient", "InvalidClientTokenId", "InvalidClientTokenIdException",
         "InvalidAccessKeyId", "InvalidToken", "InvalidTokenException", "AuthFailure", "MissingAuthenticationToken",
         "MissingAuthenticationTokenException", "IncompleteSignature", "IncompleteSignatureException",
         "InvalidSecurity", "MissingSecurityHeader", "MissingSecurityElement", "AuthorizationQueryParametersError"),
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
    401: _credentials(_CHECK),
    402: _unusable_account,
    403: _denied,
    404: _vanished,
    405: _unsupported,
    407: _endpoint,
    408: _transient,
    412: _RULES["PreconditionFailed"],
    429: _throttled(ThrottleCause.RATE),
    501: _unsupported,
    503: _unavailable,
}
"""Meaning of a response without a code: responses to HEAD have no body."""

_OF_THE_ACCOUNT = frozenset({401, 402, 403, 501})
"""Statuses that never concern one image, also with an unknown code."""

_THROTTLE_CODE = re.compile(
    r"throttl|slow_?down|too_?many_?requests|throughput_?exceeded|(request|bandwidth|rate)_?(limit_?)?exceeded",
    re.IGNORECASE,
)
"""Codes of throttles that the table lacks: of other stores (``SlowDownWrite``), and those that AWS may add."""

CLOCK_CODES = frozenset(
    {"SignatureDoesNotMatch", "InvalidSignatureException", "RequestTimeTooSkewed", "RequestExpired"}
)
"""Codes whose cause may be a wrong clock."""


def classify(response: ErrorResponse) -> AsyncFilterError:
    """The package's error for an error response; the caller raises it ``from`` the exception with the response.

    Returns:
        A ``CallError`` or an ``AccessError``; never an ``ImageError`` for an operation that concerns no image.
    """
    error = _meaning(response)
    if isinstance(error, ImageError) and response.operation not in _ON_IMAGES:
        return AccessError(f"AWS refuses: {response}", hint="Check the names of bucket, prefix and model.")
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


def _meaning(response: ErrorResponse) -> AsyncFilterError:
    if rule := _RULES.get(response.code):
        return rule(response)
    # Before the status: a throttle is told by its code, and with HTTP 500 it is as little billed as with HTTP 400.
    if _THROTTLE_CODE.search(response.code):
        return _throttled_somehow(response)
    if not response.code and (rule := _BY_STATUS.get(response.status)):
        missing_bucket = response.status == 404 and response.operation in {
            Operation.HEAD_BUCKET,
            Operation.LIST_OBJECTS,
        }
        return _no_bucket(response) if missing_bucket else rule(response)
    if response.status in _OF_THE_ACCOUNT:
        return _BY_STATUS[response.status](response)
    if response.status >= 500 or response.status == 200:
        return _transient(response)
    if response.status == 429:
        return _throttled(ThrottleCause.RATE)(response)
    if 300 <= response.status < 400:
        return _region(response)
    return _image(_snake(response.code) or f"http_{response.status}", "AWS refuses it")(response)


def _snake(code: str) -> str:
    """``LimitExceededException`` as ``limit_exceeded``."""
    name = re.sub(r"[^0-9A-Za-z]+", "_", code.removesuffix("Exception"))
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).strip("_").lower()
