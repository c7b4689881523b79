"""``--on``: where images are examined, in place of what the job says."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from asyncfilter.errors import UsageError
from asyncfilter.job.spec import Cluster, Job

AUTO = "auto"
"""A value of ``cluster.address``, which is no address on a command line."""

On = Annotated[
    str | None,
    typer.Option(
        "--on",
        metavar="WHERE",
        help="Where images are examined: local (this process), ray, or ray:HOST:PORT. Default: as `cluster` in the job "
        "says, else local.",
        show_default=False,
    ),
]


def placed(job: Job, on: str | None) -> Job:
    """The job with ``--on`` in place of ``cluster.engine`` and ``cluster.address``.

    Raises:
        UsageError: It is something else.
    """
    if on is None:
        return job
    if on == "local":
        return replace(job, cluster=None)
    cluster = job.cluster or Cluster()
    return replace(job, cluster=replace(cluster, address=check_on(on) or cluster.address))


def check_on(on: str | None) -> str | None:
    """The address in ``--on``; None where it has none.

    Raises:
        UsageError: It is none of its words.
    """
    if on is None or on in {"local", "ray"}:
        return None
    engine, colon, address = on.partition(":")
    if on == f"ray:{AUTO}":
        raise UsageError(
            f"--on {on}: expected local, ray or ray:HOST:PORT",
            hint="--on ray finds a Ray, or starts one; where the job has a cluster.address, add --set "
            f"cluster.address={AUTO}.",
        )
    if engine != "ray" or not colon:
        raise UsageError(f"--on {on}: expected local, ray or ray:HOST:PORT", hint="See `asyncfilter run --help`.")
    return _address(on, on if address.startswith("//") else address)


def _address(on: str, address: str) -> str:
    """The address of ``ray:HOST:PORT``.

    Raises:
        UsageError: It is none.
    """
    from asyncfilter.job.schema.cluster import check_address  # noqa: PLC0415  pydantic, for those who need it
    from asyncfilter.job.schema.types import SEEN  # noqa: PLC0415

    try:
        return check_address(address)
    except ValueError as error:
        why = str(error).replace(SEEN, address).replace(f"{AUTO} or ", "")
        raise UsageError(
            f"--on {on}: {why}", hint="Give --on ray:HOST:PORT, the address of the cluster's GCS."
        ) from error
