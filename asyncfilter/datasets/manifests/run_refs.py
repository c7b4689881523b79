"""Where the examined images are: the ``source-ref`` of each."""

from __future__ import annotations

from enum import StrEnum

from asyncfilter.datasets.manifests.source_ref import join_path
from asyncfilter.errors import UsageError
from asyncfilter.job.addresses import parse_template
from asyncfilter.job.spec import Job
from asyncfilter.model import StoreKind, store_of, uri_of
from asyncfilter.records.images import StoredImage


class Refs(StrEnum):
    """Which address of an image a line has."""

    TARGET = "target"
    """Where it was copied or moved to, else the source."""
    SOURCE = "source"


class RunRefs:
    """The addresses of a job's images.

    Args:
        job: Names the source and the targets.
        refs: Which address is wanted.
        s3_path: Stands for the source's folder, and for each folder of targets; needed for images that are not in S3.

    Raises:
        UsageError: No image can be in S3, and ``s3_path`` is None; or all are there, and it is given.
    """

    def __init__(self, job: Job, refs: Refs, s3_path: str | None) -> None:
        self._bucket, self._refs, self._s3_path = job.source.bucket, refs, s3_path
        is_copied = refs is Refs.TARGET and StoreKind.S3 in job.target_stores
        if job.source.store is not StoreKind.S3 and s3_path is None and not is_copied:
            raise _needs_s3_path(self._bucket)
        targets = [action.target for action in job.actions_by_key.values() if action.target is not None]
        roots = {f"{parse_template(target).bucket}/" for target in targets if store_of(target) is not StoreKind.S3}
        self._roots = sorted(roots, key=len, reverse=True)
        is_useless = job.source.store is StoreKind.S3 and (refs is Refs.SOURCE or not roots)
        if s3_path is not None and is_useless:
            raise UsageError("--s3-path is for folders alone", hint="Leave it out: the images are in S3 already.")

    def of(self, image: StoredImage) -> str | None:
        """The address of an image; None when it is not there any more, or not below a folder of the job.

        Raises:
            UsageError: The image is not in S3, and ``s3_path`` is None.
        """
        moved_or_copied = image.copied_to
        if self._refs is Refs.TARGET and moved_or_copied is not None:
            return self._in_s3(moved_or_copied)
        if image.removal is not None:
            return None
        if store_of(self._bucket) is StoreKind.S3:
            return uri_of(self._bucket, image.key)
        if self._s3_path is None:
            raise _needs_s3_path(uri_of(self._bucket, image.key))
        return join_path(self._s3_path, image.key)

    def _in_s3(self, target: str) -> str | None:
        if store_of(target) is StoreKind.S3:
            return target
        root = next((root for root in self._roots if target.startswith(root)), None)
        if root is None:
            return None
        if self._s3_path is None:
            raise _needs_s3_path(target)
        return join_path(self._s3_path, target.removeprefix(root))


def _needs_s3_path(where: str) -> UsageError:
    return UsageError(
        f"{where} is not in S3, and a manifest names images in S3",
        hint="Say where they will be: --s3-path s3://BUCKET/PREFIX.",
    )
