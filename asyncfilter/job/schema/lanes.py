"""Lanes: the regions and accounts among which the calls of one run are divided."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from asyncfilter.job.schema.limits import Auto, Tier
from asyncfilter.job.schema.types import SEEN, Region, Section, WholeNumber

_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,512}\Z", re.ASCII)
_EXTERNAL_ID = re.compile(r"[\w+=,.@:/-]{2,1224}\Z", re.ASCII)
"""botocore's sts model, shape ``externalIdType``."""

MAX_LANES = 32


def _role(text: str) -> str:
    if _ROLE.match(text) is None:
        raise ValueError(f"expected the ARN of a role (arn:aws:iam::123456789012:role/NAME), found {SEEN}")
    return text


def _external_id(text: str) -> str:
    if _EXTERNAL_ID.match(text) is None:
        raise ValueError(f"expected 2 to 1224 of letters, digits and _+=,.@:/-, found {SEEN}")
    return text


class Lane(Section):
    """One region of one account, with a quota, a rate and prices of its own. See `docs/scale.md`."""

    region: Region = Field(description="Where the calls of this lane go.")
    name: (
        Annotated[str, Field(pattern=r"^[A-Za-z0-9._/-]{1,64}$", title="1 to 64 of A-Z, a-z, 0-9, ., _, / and -")]
        | None
    ) = Field(
        default=None,
        description="Names the lane in summaries, events and the checkpoint. Default: REGION, REGION/PROFILE or "
        "REGION/ACCOUNT of the role. A lane that is renamed starts its place in the price tiers anew.",
    )
    profile: Annotated[str, Field(min_length=1)] | None = Field(
        default=None,
        description="A profile of the AWS configuration files; its account is called. Default: the job's credentials.",
    )
    role: Annotated[str, AfterValidator(_role), Field(title="the ARN of a role")] | None = Field(
        default=None,
        description="A role whose account is called; it is assumed with the job's credentials.",
    )
    external_id: Annotated[str, AfterValidator(_external_id), Field(title="an external id")] | None = Field(
        default=None, description="The external id that `role` asks for."
    )
    tps: Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)] | Auto = Field(
        default="auto",
        description="Calls a second, retries included. `auto`: the account's quota in this region from Service "
        "Quotas, else the documented default.",
    )
    share: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = Field(
        default=None, description="Fraction of that rate that this run may use. Default: `limits.share`."
    )
    used_this_month: WholeNumber | None = Field(
        default=None,
        description="Images that other programs had billed this month (UTC) in this account and region. Default: "
        "`pricing.used_this_month` for a lane of the job's own credentials, else 0.",
    )
    tiers: Annotated[list[Tier], Field(min_length=1)] | None = Field(
        default=None, description="Prices of this lane, in place of the table; they must not rise."
    )
