"""The file that ``asyncfilter init`` writes: where it is, and addresses as they are to stand in it."""

from __future__ import annotations

import os
import shlex
import stat
import sys
from contextlib import suppress
from pathlib import Path

from asyncfilter.cli.options import STDOUT
from asyncfilter.cli.questions import check_replaced
from asyncfilter.cli.result_file import write_result
from asyncfilter.cli.streams import StdoutEndedError
from asyncfilter.errors import UsageError
from asyncfilter.job.addresses import folder_path, parse_source
from asyncfilter.model import S3Location, StoreKind, folder_of, store_of

DEFAULT_NAME = "job.yaml"
KEPT = "kept"
"""Name of the folder for copies in the example of a new job file."""


class NewJobFile:
    """A job file to be written.

    Args:
        output: Its path; ``-`` for stdout.

    Attributes:
        output: As given.
        base_dir: The folder from which relative paths in it start.
        command: Its path in a shell.

    Raises:
        UsageError: There can be no file at that path.
    """

    def __init__(self, output: str) -> None:
        is_stream = output == STDOUT or _is_special(output)
        self.output = output
        self.base_dir = Path() if is_stream else Path(output).parent
        self.command = shlex.quote(DEFAULT_NAME if is_stream else output)

    def confirm(self, *, yes: bool) -> None:
        """Ask before an existing file is replaced.

        Raises:
            AbortedError: There is one, and no terminal to ask on.
            typer.Exit: The user does not want it replaced.
        """
        if self.output != STDOUT:
            check_replaced([Path(self.output)], yes=yes)

    def write(self, text: str) -> None:
        """Write it, whole or not at all.

        Raises:
            OutputError: It cannot be written.
        """
        if self.output != STDOUT:
            write_result("--output", Path(self.output), lambda out: out.write(text))
            return
        with suppress(StdoutEndedError):
            sys.stdout.write(text)
            sys.stdout.flush()

    def source(self, place: str) -> tuple[str, S3Location]:
        """A place that the user named, as it is to stand in the file, and the location that it means.

        A folder is named from the working directory, and in the file from ``base_dir``; one without ``./`` is
        accepted where it exists.

        Raises:
            UsageError: It is no place that a job can have.
        """
        try:
            place.encode()
            text = f"./{place}" if not _is_address(place) and Path(place).is_dir() else place
            location = parse_source(text, os.curdir)
        except UnicodeEncodeError as exc:
            raise UsageError(
                f"{place!r} is not text in UTF-8", hint="Rename the folder, for instance with convmv."
            ) from exc
        except ValueError as exc:
            raise UsageError(str(exc), hint="Name the place as s3://bucket/prefix/, or a folder as ./photos.") from exc
        if location.store is StoreKind.OWN:
            raise UsageError(f"{place} is a store of a program's own", hint="Name s3://bucket/prefix/, or a folder.")
        return self._from_here(text, location), location

    def target(self, text: str) -> str:
        """A target that the user named, as it is to stand in the file.

        One that names neither a placeholder nor ends in a slash is a folder or prefix: as a name it would be that of
        every copy.
        """
        if "{" not in text and not text.endswith("/"):
            text += "/"
        if not text.startswith(("./", "../")):
            return text
        folder = self._relative(os.path.abspath(folder_path(text)))  # noqa: PTH100  text that may hold placeholders
        return f"{folder}/" if text.endswith("/") else folder

    def kept_beside(self, location: S3Location) -> str:
        """A folder for copies, as it is to stand in the file: beside it, or beside the source that contains it."""
        source = folder_of(location.bucket)
        if not self.base_dir.absolute().is_relative_to(source):
            return f"./{KEPT}/"
        return f"{self._relative(str(source.parent / KEPT))}/"

    def _from_here(self, text: str, location: S3Location) -> str:
        if location.store is not StoreKind.FOLDER or text.startswith("~"):
            return text
        path = folder_path(text)
        return path if Path(path).is_absolute() else self._relative(str(folder_of(location.bucket)))

    def _relative(self, path: str) -> str:
        """An absolute path, from ``base_dir``, which is lexical as the reading of a job file is."""
        relative = os.path.relpath(path, os.path.abspath(self.base_dir))  # noqa: PTH100  likewise
        if relative == os.curdir:
            return "./"
        return relative if relative == os.pardir or relative.startswith(f"{os.pardir}/") else f"./{relative}"


def _is_special(output: str) -> bool:
    """Whether there is something at this path that is no regular file, such as a pipe.

    Raises:
        UsageError: There can be no file at that path.
    """
    path, hint = Path(output), "Name a file such as job.yaml in a folder that exists."
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if path.parent.is_dir():
            return False
        raise UsageError(f"--output {output}: is in a folder that does not exist", hint=hint) from None
    except OSError as error:  # a name that is too long, a file in place of a folder
        raise UsageError(f"--output {output}: {error.strerror or error}", hint=hint) from error
    if stat.S_ISDIR(mode):
        raise UsageError(f"--output {output}: is a folder", hint=hint)
    return not stat.S_ISREG(mode)


def _is_address(text: str) -> bool:
    """Whether a text begins as addresses and paths in a job file do."""
    return store_of(text) is not StoreKind.S3 or text.startswith(("s3:", "arn:", "/", ".", "~", "file:"))
