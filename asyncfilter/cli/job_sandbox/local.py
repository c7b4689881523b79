"""Files of this machine that the sandbox writes for jobs: pictures that are sent, and profiles of AWS."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING

from asyncfilter.cli.stderr import ask, has_terminal, print_err
from asyncfilter.sandbox import SandboxOptions, client_environment
from asyncfilter.sandbox.loading import drawn_body

if TYPE_CHECKING:
    from asyncfilter.cli.job_sandbox.contents import LocalPicture


def draw_files(local: Sequence[LocalPicture], *, seed: int, yes: bool) -> None:
    """Draw pictures in files, if the user agrees; a file that exists is left as it is.

    Without a terminal and without ``yes`` nothing is drawn, and a message names the option.

    Raises:
        OSError: A file cannot be written.
    """
    if not local:
        return
    folders = ", ".join(os.path.relpath(folder) for folder in dict.fromkeys(picture.path.parent for picture in local))
    if not yes and not has_terminal():
        print_err(f"{folders}: nothing is drawn there without --yes")
        return
    if not ask(f"Draw {len(local)} files in {folders}?", yes=yes):
        return
    for path, spec in local:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError), path.open("xb") as file:
            file.write(drawn_body(spec, seed))
    print_err(f"{folders}: {len(local)} files were drawn")


@contextmanager
def profile_file(profiles: Sequence[str], options: SandboxOptions) -> Iterator[Mapping[str, str]]:
    """A temporary credentials file that has the sandbox's keys for each profile.

    Yields:
        The variable that names it; nothing without profiles.
    """
    if not profiles:
        yield {}
        return
    variables = client_environment(options, "")
    lines = [
        line
        for profile in profiles
        for line in (
            f"[{profile}]",
            f"aws_access_key_id = {variables['AWS_ACCESS_KEY_ID']}",
            f"aws_secret_access_key = {variables['AWS_SECRET_ACCESS_KEY']}",
        )
    ]
    with NamedTemporaryFile("w", prefix="asyncfilter-sandbox-", suffix=".ini") as file:
        file.write("\n".join(lines) + "\n")
        file.flush()
        yield {"AWS_SHARED_CREDENTIALS_FILE": file.name}
