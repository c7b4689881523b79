"""Whether files can be written to the targets of a job, before anything is paid."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from asyncfilter.errors import AccessError, PermissionDeniedError
from asyncfilter.folders.sink import UnlinkableError
from asyncfilter.job.addresses import parse_template
from asyncfilter.job.spec import Action
from asyncfilter.model import StoreKind, folder_of

_CHOOSE = "Choose targets that you may write to."


def check_writable(source: Path | None, actions: Mapping[str, Action], *, tries: bool) -> None:
    """Check that the folders of all targets could be made and written.

    Args:
        source: The folder that the images are in; None where they are in another kind of store.
        actions: By their keys in the job file.
        tries: Write an empty file there and take it away again; else nothing is written.

    Raises:
        PermissionDeniedError: A folder may not be written.
        AccessError: It cannot be for another reason.
    """
    for key, action in actions.items():
        template = parse_template(action.target) if action.target is not None else None
        if template is None or template.store is not StoreKind.FOLDER:
            continue
        beginning, _, _ = template.literal_prefix().rpartition("/")
        folder = _existing(folder_of(template.bucket) / beginning)
        _check_folder(key, folder)
        if source is not None and action.is_link and _device(folder) != _device(source):
            raise UnlinkableError(
                f"{key}: {folder} is on another file system than the source {source}, so that no hard link is possible",
                hint="Use copy in place of link.",
            )
        if tries:
            _try_to_write(key, folder)


def _existing(folder: Path) -> Path:
    """The folder itself, or the nearest one above it that is there."""
    return next((one for one in (folder, *folder.parents) if os.path.lexists(one)), Path("/"))


def _check_folder(key: str, folder: Path) -> None:
    if not folder.is_dir():
        raise AccessError(f"{key}: {folder} is no folder, so that nothing can be written below it", hint=_CHOOSE)
    system = os.statvfs(folder)
    if system.f_flag & os.ST_RDONLY:
        raise PermissionDeniedError(f"{key}: {folder} is on a file system that is mounted read-only", hint=_CHOOSE)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionDeniedError(f"{key}: {folder} may not be written", hint=_CHOOSE)


def _try_to_write(key: str, folder: Path) -> None:
    try:
        with tempfile.TemporaryFile(prefix=".asyncfilter-", dir=folder):
            pass
    except OSError as exc:
        message = f"{key}: {folder} cannot be written ({exc.strerror or exc})"
        raise (PermissionDeniedError if isinstance(exc, PermissionError) else AccessError)(
            message, hint=_CHOOSE
        ) from exc


def _device(folder: Path) -> int:
    return folder.stat().st_dev
