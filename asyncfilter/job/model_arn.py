"""The ARN of a Custom Labels model version, parsed here for both the job file and AWS."""

from __future__ import annotations

import re
from dataclasses import dataclass

from asyncfilter.errors import AccessError

FORM = "arn:aws:rekognition:REGION:ACCOUNT:project/NAME/version/VERSION/TIMESTAMP"
"""The form of such an ARN, for messages."""

_ARN = re.compile(
    r"arn:aws[a-z-]*:rekognition:(?P<region>[a-z0-9-]+):\d{12}"
    r":project/(?P<project>[\w.-]{1,255})/version/(?P<version>[\w.-]{1,255})/\d+\Z",
    re.ASCII,
)
"""botocore's rekognition model, shape ``ProjectVersionArn``."""


@dataclass(frozen=True, slots=True)
class ModelArn:
    """The parts of an ARN of the form ``FORM``."""

    region: str
    project: str
    version: str

    @classmethod
    def match(cls, text: str) -> ModelArn | None:
        """Parse an ARN; None when ``text`` is not the ARN of a model version."""
        found = _ARN.match(text)
        return cls(**found.groupdict()) if found else None

    @classmethod
    def parse(cls, text: str) -> ModelArn:
        """Parse an ARN.

        Raises:
            AccessError: It is not the ARN of a model version.
        """
        if (arn := cls.match(text)) is None:
            raise AccessError(
                f"{text!r} is not the ARN of a Custom Labels model", hint=f"Set detector.model to {FORM}."
            )
        return arn
