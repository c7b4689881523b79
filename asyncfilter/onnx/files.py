"""The files of a model: read within bounds, and identified by what they hold.

External data is taken from the folder of the model alone: a name that leads out of it, also by a link, is refused
before anything opens it.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from asyncfilter.onnx.errors import OwnModelError
from asyncfilter.onnx.wire import Seen, WireError, scan

MAX_MODEL_BYTES = 2**31 - 1
"""Largest model file: that of a protocol buffer. Larger models have their weights in files beside it."""

MAX_EXTERNAL_BYTES = 64 * 2**30
"""Most bytes of all files of weights beside a model."""

MAX_EXTERNAL_FILES = 10_000
MAX_TEXT_BYTES = 16 * 2**20
"""Largest file of labels or of preprocessing."""

_BLOCK_BYTES = 1 << 20
_IN_MEMORY = "_ORT_MEM_ADDR_"
"""Mark of onnxruntime for weights at an address in memory, which a file must not name."""


class ModelContent(NamedTuple):
    """A model that was read.

    Attributes:
        body: The bytes of the model file.
        external: Paths of its files of weights, by their names in it.
        operators: Names of the operators that it uses.
        digest: SHA-256 of all of it, in hex digits: of the model file where it is alone.
    """

    body: bytes
    external: dict[str, Path]
    operators: set[str]
    digest: str


def read_model(path: str) -> ModelContent:
    """The model at ``path``, with the files that belong to it.

    Raises:
        OwnModelError: It is not there, too large, no model in ONNX format, or names a file outside of its folder.
    """
    body = read_file(path, key="model", most_bytes=MAX_MODEL_BYTES)
    seen = _scanned(body, path)
    external = {name: _beside(path, name) for name in sorted(seen.locations)}
    digest = hashlib.sha256(body).hexdigest()
    whole = _with_external(digest, external, path) if external else digest
    return ModelContent(body, external, seen.operators, whole)


def locations_in(body: bytes, path: str) -> list[str]:
    """The names of the files of weights in a model; ``path`` is for messages.

    Raises:
        OwnModelError: It is no model, or a name leads out of its folder.
    """
    return sorted(_scanned(body, path).locations)


def _scanned(body: bytes, path: str) -> Seen:
    try:
        seen = scan(body)
    except WireError as exc:
        raise OwnModelError("model", f"{path}: not a model in ONNX format ({exc})") from exc
    if (files := len(seen.locations)) > MAX_EXTERNAL_FILES:
        raise OwnModelError("model", f"{path}: names {files:,} files of weights, expected {MAX_EXTERNAL_FILES:,}")
    for name in seen.locations:
        _check_inside(name, path)
    return seen


def read_file(path: str, *, key: str, most_bytes: int) -> bytes:
    """All bytes of a regular file; ``key`` names what it is for.

    Raises:
        OwnModelError: It cannot be read, or is too large.
    """
    try:
        # Not blocking: to open a pipe could wait for ever.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise OwnModelError(key, f"{path}: expected a file, found something else")
            if status.st_size > most_bytes:
                raise OwnModelError(key, f"{path}: {status.st_size:,} bytes, expected at most {most_bytes:,}")
            return file.read(most_bytes + 1)[:most_bytes]
    except (OSError, ValueError) as exc:
        if isinstance(exc, OwnModelError):
            raise
        why = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        raise OwnModelError(key, f"{path}: {why}", hint=f"Correct detector.{key} in the job file.") from exc


def _check_inside(name: str, path: str) -> None:
    """Check that a name of a file of weights is one below the model's folder."""
    parts = PurePosixPath(name)
    is_path = name and "\0" not in name and "\\" not in name and _IN_MEMORY not in name
    if not is_path or parts.is_absolute() or ".." in parts.parts or parts == PurePosixPath():
        raise _outside(name, path)


def _beside(path: str, name: str) -> Path:
    """The file of weights ``name`` of the model at ``path``."""
    folder = Path(path).parent
    found = folder / name
    try:
        real = Path(os.path.realpath(found))
        if not real.is_relative_to(os.path.realpath(folder)):
            raise _outside(name, path)
        if not stat.S_ISREG(real.stat().st_mode):
            raise OwnModelError("model", f"{path}: its file of weights {name} is not a file")
    except OSError as exc:
        why = f"{path}: its file of weights {name} cannot be read ({exc.strerror or exc})"
        raise OwnModelError("model", why, hint="Put it beside the model.") from exc
    return found


def _outside(name: str, path: str) -> OwnModelError:
    return OwnModelError(
        "model",
        f"{path}: names the file of weights {name[:200]!r}, which is not in the model's folder",
        hint="Use a model whose weights are beside it.",
    )


def _with_external(digest: str, external: dict[str, Path], path: str) -> str:
    """The digest of a model and of its files of weights."""
    whole = hashlib.sha256(digest.encode())
    left = MAX_EXTERNAL_BYTES
    for name, file in sorted(external.items()):
        found, size_bytes = _digest(file, path)
        left -= size_bytes
        if left < 0:
            raise OwnModelError("model", f"{path}: over {MAX_EXTERNAL_BYTES:,} bytes of weights")
        whole.update(f"\0{name}\0{found}".encode())
    return whole.hexdigest()


def _digest(file: Path, path: str) -> tuple[str, int]:
    digest, size_bytes = hashlib.sha256(), 0
    try:
        with file.open("rb") as stream:
            while block := stream.read(_BLOCK_BYTES):
                digest.update(block)
                size_bytes += len(block)
    except OSError as exc:
        raise OwnModelError("model", f"{path}: {file}: {exc.strerror or exc}") from exc
    return digest.hexdigest(), size_bytes
