"""The base of all kinds of detector: one paid attempt, and the translation of its errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from asyncfilter.aws.clients.error_response import ErrorResponseError
from asyncfilter.aws.clients.protocols import DetectCall
from asyncfilter.aws.detectors.labels import read_labels
from asyncfilter.aws.errors import classify
from asyncfilter.aws.s3.diagnosis import OPAQUE, Diagnosis
from asyncfilter.aws.transport_errors import UNREADABLE, undecodable
from asyncfilter.model import Detection, ObjectRef

_OF_THE_MODEL = frozenset({"ResourceNotFoundException", "ResourceNotReadyException"})


class RekognitionDetector:
    """``Detector`` over DetectLabels, by S3 reference or by the image's bytes; base of the Custom Labels detector.

    Args:
        call: The detect call of either client.
        diagnosis: Finds out why Rekognition could not read an object; None where images are not objects in S3.
        model: ARN of the Custom Labels model, where there is one.
        read: Decodes the body of a response to a detection; raises ``msgspec.DecodeError`` when it cannot.
    """

    def __init__(
        self,
        call: DetectCall,
        diagnosis: Diagnosis | None,
        *,
        model: str | None = None,
        read: Callable[[bytes], Detection] = read_labels,
    ) -> None:
        self._call = call
        self._diagnosis = diagnosis
        self._model = model
        self._read = read

    async def detect(self, image: ObjectRef) -> Detection:
        """Make one paid attempt; see ``Detector``.

        When Rekognition cannot read an object, the diagnosis runs before the error is raised. An object that was
        replaced between listing and call is examined as it is now; the ETag condition of its action detects that.
        """
        try:
            return self._read(await self._call(image.bucket, image.key))
        except (ErrorResponseError, *UNREADABLE) as exc:
            raise await self._meaning(image, exc) from exc

    async def detect_content(self, image: ObjectRef, content: bytes) -> Detection:
        """Make one paid attempt with ``content``, the bytes that represent ``image``; raises as ``detect`` does."""
        try:
            return self._read(await self._call.content(image.uri, content))
        except (ErrorResponseError, *UNREADABLE) as exc:
            raise await self._meaning(image, exc) from exc

    async def _meaning(self, image: ObjectRef, exc: Exception) -> Exception:
        if not isinstance(exc, ErrorResponseError):
            return undecodable(f"labels of {image.uri}", exc)
        response = exc.response
        if response.code == OPAQUE and self._diagnosis is not None:
            return await self._diagnosis.cause(image, response)
        if response.code in _OF_THE_MODEL and self._model:
            response = replace(response, where=self._model)
        return classify(response)
