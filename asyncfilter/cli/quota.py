"""``asyncfilter quota``."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import typer

from asyncfilter.cli import deferred
from asyncfilter.cli.options import Profile, ResultOptions, command_group, help_text, takes_options
from asyncfilter.cli.terminal import print_out, write_json
from asyncfilter.errors import UsageError
from asyncfilter.job.spec import Aws, DetectorKind, DetectorSpec, Pricing
from asyncfilter.policy.detectors import PROFILES, price_list
from asyncfilter.report.terminal.quota import DetectorTerms, draw_quota, quota_mapping

_TIMEOUT_S = 15.0
_CONNECTIONS = 4

app = command_group()


class _Priced(NamedTuple):
    """The part of a job that a price list depends on."""

    detector: DetectorSpec
    pricing: Pricing


@app.command(
    "quota",
    help=help_text(
        "Show quota and price of the account in a region: calls a second, price, hours for a million images, and "
        "which images are accepted.",
        "asyncfilter quota",
        "asyncfilter quota --region eu-west-1 --profile research --json",
    ),
)
@takes_options
def quota(
    *,
    region: Annotated[
        str | None, typer.Option("--region", help="Default: that of the AWS settings.", show_default=False)
    ] = None,
    profile: Profile = None,
    options: ResultOptions,
) -> None:
    """Show quota, price and limits."""
    region_name, terms = deferred.run_async(_read_terms, region, profile)
    if options.as_json:
        write_json(quota_mapping(region_name, terms))
    else:
        print_out(draw_quota(region_name, terms))


async def _read_terms(region: str | None, profile: str | None) -> tuple[str, list[DetectorTerms]]:
    """The region, and the terms of every detector in it."""
    aws = Aws(profile=profile, region=region)
    async with deferred.open_aws(aws, timeout_s=_TIMEOUT_S, connections=_CONNECTIONS) as session:
        region_name = session.region
        if region_name is None:
            raise UsageError("no region is set", hint="Add --region, or set AWS_REGION.")
        terms = [
            DetectorTerms(
                kind=kind,
                quota=await deferred.quota_tps(session, kind, region_name),
                prices=price_list(_Priced(DetectorSpec(kind=kind), Pricing()), region_name),
            )
            for kind in DetectorKind
            if PROFILES[kind].is_service
        ]
        return region_name, terms
