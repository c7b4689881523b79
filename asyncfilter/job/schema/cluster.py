"""Where images are examined, in place of this process alone."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from asyncfilter.job import spec
from asyncfilter.job.schema.types import SEEN, Section

_CLUSTER = spec.Cluster()
_PLACE = re.compile(r"(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")
MOST_WORKERS = 10_000

Workers = Annotated[int, Field(ge=1, le=MOST_WORKERS)]
Number = Annotated[float, Field(ge=0, le=100_000, allow_inf_nan=False)]


def check_address(text: str) -> str:
    """``auto`` or ``HOST:PORT``, unchanged.

    Raises:
        ValueError: It is something else.
    """
    if text.startswith("ray://"):
        raise ValueError(
            f"expected auto or HOST:PORT, found {SEEN}: over Ray Client each message would pass a proxy, so the "
            "command must run inside of the cluster"
        )
    found = _PLACE.fullmatch(text)
    if text != "auto" and (found is None or not 0 < int(found[2]) < 65536):
        raise ValueError(f"expected auto or HOST:PORT, found {SEEN}")
    return text


def _whole_above_one(gpus: float) -> float:
    """A share of one GPU, or whole ones: Ray gives no others.

    Raises:
        ValueError: It is neither.
    """
    if gpus > 1 and gpus != int(gpus):
        raise ValueError(f"expected a whole number, or a part of 1, found {SEEN}")
    return gpus


def _both(value: object) -> Any:  # noqa: ANN401  any content of the file
    """``workers: 4`` stands for ``workers: {min: 4, max: 4}``."""
    return {"min": value, "max": value} if isinstance(value, int) and not isinstance(value, bool) else value


class WorkerCount(Section):
    """How many workers there are."""

    min: Workers = Field(
        default=_CLUSTER.least, description="Paying starts with so many; more join while the run goes on."
    )
    max: Workers | None = Field(default=None, description="Most workers. `null`: what the cluster's cores hold.")


class PerWorker(Section):
    """What Ray is asked for, for each worker."""

    cpus: Annotated[float, Field(ge=1, le=100_000, allow_inf_nan=False)] = Field(
        default=_CLUSTER.cpus, description="Cores; so many pictures are decoded at one time."
    )
    gpus: Annotated[Number, AfterValidator(_whole_above_one)] = Field(
        default=_CLUSTER.gpus, description="GPUs; a part of one is allowed."
    )
    memory_gb: Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)] | None = Field(
        default=None, description="Memory in GB. `null`: Ray is not asked for any."
    )


class Cluster(Section):
    """Workers on other machines examine the images; listing, money, rate, rules and actions stay here (`scale.md`)."""

    engine: Literal["ray"] = Field(description="What runs the workers. Needs `pip install 'asyncfilter[ray]'`.")
    address: Annotated[str, AfterValidator(check_address), Field(title="auto or HOST:PORT")] = Field(
        default=_CLUSTER.address,
        description="Of the cluster. `auto`: the environment's RAY_ADDRESS, else a Ray that runs on this machine, else "
        "one that is started for this run.",
    )
    workers: Annotated[WorkerCount, BeforeValidator(_both, json_schema_input_type=Workers | WorkerCount)] = Field(
        default=WorkerCount(), description="How many workers there are; a number stands for both."
    )
    per_worker: PerWorker = Field(default=PerWorker(), description="What Ray is asked for, for each worker.")
    send: Literal["auto", "all"] = Field(
        default="auto",
        description="`auto`: a job whose images are examined by reference runs in this process, since workers would "
        "make it dearer and no faster; `convert`, `near_duplicates`, bytes of another region and kind `onnx` are sent. "
        "`all`: every job is sent.",
    )
    wait_s: Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)] = Field(
        default=_CLUSTER.wait_s,
        description="Seconds for which `workers.min` workers are waited for; then the run ends with nothing paid.",
    )
