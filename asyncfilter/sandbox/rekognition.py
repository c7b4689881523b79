"""The Rekognition of the sandbox: detections, and the control plane of Custom Labels (JSON 1.1).

Request members and their bounds are those of the service model (rekognition, 2016-06-27).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from asyncfilter.sandbox import images
from asyncfilter.sandbox.access import Access, Caller
from asyncfilter.sandbox.answers.source import AnswerSource, LabelSet, Picture
from asyncfilter.sandbox.calls import Call, Style, new_request_id
from asyncfilter.sandbox.custom_labels.account import Account
from asyncfilter.sandbox.custom_labels.arns import uri
from asyncfilter.sandbox.custom_labels.operations import OPERATIONS, resource_of
from asyncfilter.sandbox.custom_labels.versions import Model, Version
from asyncfilter.sandbox.iam.documents import Permission
from asyncfilter.sandbox.labelling import LabelFilter, Labelling, custom_labels_body
from asyncfilter.sandbox.message import JSON_TYPE, Reply, Request, ServiceError
from asyncfilter.sandbox.store import Store, md5_hex

TARGET: Final = b"RekognitionService."
_UNREADABLE: Final = "Unable to get object metadata from S3. Check object key, region and/or access permissions."
ASSUMED_PCT: Final = 50.0
"""The assumed threshold of the labels of a model that was not trained here."""
_JSON_HEAD: Final = f"Content-Type: {JSON_TYPE}\r\nx-amzn-RequestId: ".encode()

Percent = Annotated[float, Meta(ge=0, le=100)]
FilterNames = Annotated[list[Annotated[str, Meta(min_length=1, max_length=50)]], Meta(max_length=100)]


class S3Object(msgspec.Struct, rename="pascal", gc=False):
    """The address of an image in S3."""

    bucket: Annotated[str, Meta(min_length=3, max_length=255, pattern=r"^[0-9A-Za-z\.\-_]*$")]
    name: Annotated[str, Meta(min_length=1, max_length=1024)]
    version: Annotated[str, Meta(min_length=1, max_length=1024)] | None = None


class Image(msgspec.Struct, rename="pascal", gc=False):
    """An image: its bytes in Base64, or its address in S3."""

    s3_object: S3Object | None = msgspec.field(default=None, name="S3Object")
    bytes_: str | None = msgspec.field(default=None, name="Bytes")


class GeneralLabels(msgspec.Struct, rename="pascal", gc=False):
    """Filters of labels by exact name."""

    label_inclusion_filters: FilterNames = []
    label_exclusion_filters: FilterNames = []
    label_category_inclusion_filters: FilterNames = []
    label_category_exclusion_filters: FilterNames = []


class ImagePropertiesSettings(msgspec.Struct, rename="pascal", gc=False):
    """Number of dominant colours."""

    max_dominant_colors: Annotated[int, Meta(ge=0, le=20)] = 10


class DetectLabelsSettings(msgspec.Struct, rename="pascal", gc=False):
    """Settings of the features."""

    general_labels: GeneralLabels | None = None
    image_properties: ImagePropertiesSettings | None = None


class DetectLabels(msgspec.Struct, rename="pascal", gc=False):
    """Request of DetectLabels."""

    image: Image
    max_labels: Annotated[int, Meta(ge=0)] = 1000
    min_confidence: Percent = 55.0
    features: Annotated[list[str], Meta(max_length=2)] = []
    settings: DetectLabelsSettings | None = None


class DetectCustomLabels(msgspec.Struct, rename="pascal", gc=False):
    """Request of DetectCustomLabels."""

    project_version_arn: Annotated[str, Meta(min_length=20, max_length=2048)]
    image: Image
    max_results: Annotated[int, Meta(ge=0)] | None = None
    min_confidence: Percent | None = None


_DECODERS: Final[Mapping[str, msgspec.json.Decoder[object]]] = {
    "DetectLabels": msgspec.json.Decoder(DetectLabels),
    "DetectCustomLabels": msgspec.json.Decoder(DetectCustomLabels),
    **{name: operation.decoder for name, operation in OPERATIONS.items()},
}

_MAY: Final = {operation: partial(Permission, f"rekognition:{operation}", "*") for operation in _DECODERS}
"""The permission that each operation needs, as far as it has no resource of its own."""


class RekognitionService:
    """Parses and executes requests to Rekognition.

    Args:
        store: The S3 of the sandbox, from which images are read.
        access: The caller's permissions in S3.
        source: The source of labels.
        account: What the account has of Custom Labels.
        check_images: False accepts any bytes as an image.
        versions: See ``Labelling``.
    """

    style: Final = Style.JSON

    def __init__(
        self,
        store: Store,
        access: Access,
        source: AnswerSource,
        account: Account,
        *,
        check_images: bool,
        versions: Mapping[str, str] | None = None,
    ) -> None:
        self._store = store
        self._access = access
        self._source = source
        self._account = account
        self._check_images = check_images
        self._labelling = Labelling(versions)
        self._threads = ThreadPoolExecutor(thread_name_prefix="sandbox-labels") if source.slow else None

    def read(self, request: Request, caller: Caller) -> Call:
        """Parse a request; an invalid value in it is an error of the call when it runs, after access and quota.

        Raises:
            ServiceError: ``UnknownOperationException`` or ``SerializationException``.
        """
        operation = request.headers[b"x-amz-target"][len(TARGET) :].decode("ascii", "replace")
        decoder = _DECODERS.get(operation)
        if decoder is None:
            raise ServiceError("UnknownOperationException", "")
        try:
            wanted = decoder.decode(request.body)
        except msgspec.ValidationError as exc:
            invalid = _invalid(exc)
            detects = operation.startswith("Detect")
            return Call(Style.JSON, operation, "", partial(_refuse, invalid), {}, detects, _MAY[operation])
        except msgspec.DecodeError as exc:
            raise ServiceError("SerializationException", "Start of structure or map found where not expected.") from exc
        if isinstance(wanted, DetectLabels):
            run: Callable[[], Reply | Future[Reply]] = partial(self._detect_labels, wanted, caller.region)
            return Call(Style.JSON, operation, _uri(wanted.image), run, {}, True, _MAY[operation])  # noqa: FBT003 - Call.detects
        if isinstance(wanted, DetectCustomLabels):
            run = partial(self._detect_custom_labels, wanted, caller.region)
            may = partial(Permission, f"rekognition:{operation}", wanted.project_version_arn)
            admits = partial(self._admits, wanted.project_version_arn)
            return Call(Style.JSON, operation, _uri(wanted.image), run, {}, True, may, admits)  # noqa: FBT003 - Call.detects
        arn = resource_of(wanted, self._account)
        may = partial(Permission, f"rekognition:{operation}", arn or "*")
        run = partial(self._control, operation, wanted)
        return Call(Style.JSON, operation, uri(arn) if arn else "", run, permission=may)

    def close(self) -> None:
        """Shut down the thread pools, if there are any."""
        self._account.close()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    def _detect_labels(self, wanted: DetectLabels, region: str) -> Reply | Future[Reply]:
        keep = _label_filter(wanted)
        picture = self._picture(wanted.image, region, images.LABELS)

        def finish(found: LabelSet) -> Reply:
            return _reply(self._labelling.labels_body(found, keep, picture.etag, region))

        return self._find_labels(picture, finish)

    def _detect_custom_labels(self, wanted: DetectCustomLabels, region: str) -> Reply | Future[Reply]:
        version = self._account.version(wanted.project_version_arn)
        version.check_running()
        picture = self._picture(wanted.image, region, images.CUSTOM_LABELS)
        if version.model is not None:
            return self._account.detect(partial(_detect_with, version.model, picture, wanted))

        def finish(found: LabelSet) -> Reply:
            min_confidence_pct = ASSUMED_PCT if wanted.min_confidence is None else wanted.min_confidence
            return _reply(custom_labels_body(found, min_confidence_pct, wanted.max_results))

        return self._find_labels(picture, finish)

    def _admits(self, arn: str, at_s: float) -> bool:
        version = self._found(arn)
        return version is None or version.admit(at_s)

    def _found(self, arn: str) -> Version | None:
        try:
            return self._account.version(arn)
        except ServiceError:
            return None

    def _control(self, operation: str, wanted: object) -> Reply:
        return _reply(msgspec.json.encode(OPERATIONS[operation].act(self._account, wanted)))

    def _find_labels(self, picture: Picture, finish: Callable[[LabelSet], Reply]) -> Reply | Future[Reply]:
        if self._threads is None:
            return finish(self._source.labels(picture))
        return self._threads.submit(lambda: finish(self._source.labels(picture)))

    def _picture(self, image: Image, region: str, limits: images.SizeLimits) -> Picture:
        if (image.s3_object is None) == (image.bytes_ is None):
            raise ServiceError("InvalidParameterException", "Request has invalid parameters")
        inline = image.s3_object is None
        picture = _inline(image.bytes_ or "") if image.s3_object is None else self._stored(image.s3_object, region)
        if self._check_images:
            images.check_image(picture.body, limits, inline=inline)
        return picture

    def _stored(self, place: S3Object, region: str) -> Picture:
        """Read an image from S3 as the service does: every failure is the same ``InvalidS3ObjectException``."""
        bucket = self._store.buckets.get(place.bucket)
        unreadable = ServiceError("InvalidS3ObjectException", _UNREADABLE)
        if bucket is None or bucket.region != region:
            raise unreadable
        stored = bucket.get(place.name) if place.version is None else bucket.version(place.name, place.version)
        if (
            stored is None
            or stored.delete_marker
            or not self._access.allowed("GetObject", f"{bucket.name}/{place.name}", versioned=place.version is not None)
        ):
            raise unreadable
        attributes = stored.attributes
        if attributes.denied or attributes.kms_denied or attributes.archived:
            raise unreadable
        return Picture(bucket.name, stored.key, stored.body, stored.etag)


def _inline(text: str) -> Picture:
    try:
        body = base64.b64decode(text, validate=True)
    except binascii.Error as exc:
        raise ServiceError("SerializationException", "Invalid Base64 in a blob") from exc
    return Picture("", "", body, md5_hex(body))


def _detect_with(model: Model, picture: Picture, wanted: DetectCustomLabels) -> Reply:
    """Detect with a trained model; without a minimum, the assumed threshold of each label applies."""
    least = wanted.min_confidence
    rows = [
        row
        for row in model.detect(picture)
        if row["Confidence"] >= (model.assumed_pct(row["Name"]) if least is None else least)
    ]
    return _reply(msgspec.json.encode({"CustomLabels": rows[: wanted.max_results]}))


def _uri(image: Image) -> str:
    return "" if image.s3_object is None else f"{image.s3_object.bucket}/{image.s3_object.name}"


def _label_filter(wanted: DetectLabels) -> LabelFilter:
    features = wanted.features
    if unknown := set(features) - {"GENERAL_LABELS", "IMAGE_PROPERTIES"}:
        raise _unsatisfied(f"Value '[{', '.join(sorted(unknown))}]' at 'features' failed to satisfy constraint")
    general, properties = not features or "GENERAL_LABELS" in features, "IMAGE_PROPERTIES" in features
    names = wanted.settings.general_labels if wanted.settings else None
    if names is not None and not general:
        raise ServiceError("InvalidParameterException", "Request has invalid parameters")
    max_labels = min(wanted.max_labels, 1000)
    if names is None:
        return LabelFilter(wanted.min_confidence, max_labels, general, properties)
    return LabelFilter(
        wanted.min_confidence,
        max_labels,
        general,
        properties,
        frozenset(names.label_inclusion_filters),
        frozenset(names.label_exclusion_filters),
        frozenset(names.label_category_inclusion_filters),
        frozenset(names.label_category_exclusion_filters),
    )


def _invalid(exc: msgspec.ValidationError) -> ServiceError:
    """A value outside a bound of the model is a ValidationException; a wrong type is a SerializationException."""
    text = str(exc)
    if "Expected" in text and not any(sign in text for sign in (" >= ", " <= ", "of length", "matching regex")):
        return ServiceError("SerializationException", text)
    return _unsatisfied(text)


def _unsatisfied(text: str) -> ServiceError:
    return ServiceError("ValidationException", f"1 validation error detected: {text}")


def _refuse(service_error: ServiceError) -> Reply:
    raise service_error


def _reply(body: bytes) -> Reply:
    return Reply(200, _JSON_HEAD + new_request_id().encode() + b"\r\n", body)
