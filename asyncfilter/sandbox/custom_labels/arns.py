"""The ARNs of projects, datasets and model versions (service model)."""

from __future__ import annotations

from typing import Final

_HEAD: Final = r"^arn:[a-z\d-]+:rekognition:[a-z\d-]+:\d{12}:project\/[a-zA-Z0-9_.\-]{1,255}"
PROJECT: Final = _HEAD + r"\/[0-9]+$"
DATASET: Final = _HEAD + r"\/dataset\/(train|test)\/[0-9]+$"
VERSION: Final = _HEAD + r"\/version\/[a-zA-Z0-9_.\-]{1,255}\/[0-9]+$"


class Arns:
    """Makes the ARNs of one account; their last part is the time in milliseconds, made unique where it must be."""

    def __init__(self, partition: str, region: str, account: str) -> None:
        self._head = f"arn:{partition}:rekognition:{region}:{account}:project/"
        self._last = 0

    def project(self, name: str, now_s: float) -> str:
        """The ARN of a new project."""
        return f"{self._head}{name}/{self._number(now_s)}"

    def future_project(self, name: str) -> str:
        """What stands for the ARN of a project before it is there, where permissions are concerned."""
        return f"{self._head}{name}/0"

    def dataset(self, project: str, kind: str, now_s: float) -> str:
        """The ARN of a new dataset; ``kind`` is TRAIN or TEST."""
        return f"{self._head}{project}/dataset/{kind.lower()}/{self._number(now_s)}"

    def version(self, project: str, name: str, now_s: float) -> str:
        """The ARN of a new version; it does not have the number of the project's ARN."""
        return f"{self._head}{project}/version/{name}/{self._number(now_s)}"

    def _number(self, now_s: float) -> int:
        self._last = max(self._last + 1, int(now_s * 1000))
        return self._last


def project_name(arn: str) -> str:
    """The name of the project in any of the ARNs."""
    return arn.split(":project/", 1)[1].partition("/")[0]


def uri(arn: str) -> str:
    """What stands for ``bucket/key`` in globs of faults: the part of the ARN from ``project/`` without the number."""
    return arn[arn.find("project/") :].rpartition("/")[0]
