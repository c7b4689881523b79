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
from asyncfilter.sandbox.options import ACCESS_KEY

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


def lane_keys(profiles: Sequence[str]) -> dict[str, str]:
    """An access key for each profile of a lane, and so an account of its own."""
    return {profile: f"{ACCESS_KEY[:-2]}{number:02d}" for number, profile in enumerate(profiles, 1)}


@contextmanager
def profile_file(
    profiles: Sequence[str], options: SandboxOptions, lanes: Mapping[str, str] | None = None
) -> Iterator[Mapping[str, str]]:
    """A temporary credentials file that has the sandbox's keys for each profile.

    Args:
        profiles: Those of jobs.
        options: Of the sandbox.
        lanes: Those of lanes, each with its access key.

    Yields:
        The variable that names it; nothing without profiles.
    """
    variables = client_environment(options, "")
    keys = {**(lanes or {}), **dict.fromkeys(profiles, variables["AWS_ACCESS_KEY_ID"])}
    if not keys:
        yield {}
        return
    lines = [
        line
        for profile, access_key in keys.items()
        for line in (
            f"[{profile}]",
            f"aws_access_key_id = {access_key}",
            f"aws_secret_access_key = {options.credentials.get(access_key, variables['AWS_SECRET_ACCESS_KEY'])}",
        )
    ]
    with NamedTemporaryFile("w", prefix="asyncfilter-sandbox-", suffix=".ini") as file:
        file.write("\n".join(lines) + "\n")
        file.flush()
        yield {"AWS_SHARED_CREDENTIALS_FILE": file.name}
