"""Projects, datasets and versions of Custom Labels by the names and ARNs that users give."""

from __future__ import annotations

import re
from dataclasses import dataclass

from asyncfilter.errors import UsageError
from asyncfilter.job.model_arn import ModelArn

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,255}\Z")
"""botocore's rekognition model, shapes ``ProjectName`` and ``VersionName``."""

_PROJECT_ARN = re.compile(
    r"arn:aws[a-z-]*:rekognition:(?P<region>[a-z0-9-]+):\d{12}:project/(?P<name>[\w.-]{1,255})/\d+\Z", re.ASCII
)
"""botocore's rekognition model, shape ``ProjectArn``."""

_NAME_RULE = "1 to 255 of A-Z, a-z, 0-9, _, . and -"


@dataclass(frozen=True, slots=True)
class ProjectName:
    """A project as the user names it.

    Attributes:
        name: Its name.
        region: From its ARN; None where only the name was given.
        arn: Its ARN, where that was given.
    """

    name: str
    region: str | None = None
    arn: str | None = None

    @classmethod
    def parse(cls, text: str) -> ProjectName:
        """Parse a name, the ARN of a project, or that of one of its versions.

        Raises:
            UsageError: It is none of these.
        """
        if _NAME.match(text):
            return cls(text)
        if found := _PROJECT_ARN.match(text):
            return cls(found["name"], found["region"], text)
        if version := ModelArn.match(text):
            return cls(version.project, version.region)
        raise UsageError(
            f"{text!r} is neither the name of a project ({_NAME_RULE}) nor its ARN",
            hint="Name a project, or give its ARN (asyncfilter model list shows both).",
        )


@dataclass(frozen=True, slots=True)
class VersionName:
    """A version as the user names it; ``arn`` is None where only its name was given."""

    name: str
    arn: str | None = None

    @classmethod
    def parse(cls, text: str, *, project: ProjectName) -> VersionName:
        """Parse a name, or the ARN of a version of ``project``.

        Raises:
            UsageError: It is neither.
        """
        if _NAME.match(text):
            return cls(text)
        version = ModelArn.match(text)
        if version is None:
            raise UsageError(
                f"{text!r} is neither the name of a version ({_NAME_RULE}) nor its ARN",
                hint="Name a version, or give its ARN (asyncfilter model list PROJECT shows both).",
            )
        if version.project != project.name or project.region not in {None, version.region}:
            raise UsageError(f"{text} is not a version of {project.arn or project.name}")
        return cls(version.version, text)
