"""``asyncfilter quota``."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import typer

from asyncfilter.cli import deferred
from asyncfilter.cli.options import Profile, ResultOptions, command_group, help_text, takes_options
from asyncfilter.cli.terminal import print_out, write_json
from asyncfilter.errors import UsageError
from asyncfilter.job.spec import Aws, DetectorKind, DetectorSpec, Pricing
from asyncfilter.policy.detectors import price_list
from asyncfilter.report.quota import DetectorTerms, draw_quota, quota_mapping

_TIMEOUT_S = 15.0
_CONNECTIONS = 4

app = command_group()


class _Priced(NamedTuple):
    """What a price list asks of a job."""

    detector: DetectorSpec
    pricing: Pricing


@app.command(
    "quota",
    help=help_text(
        "Show what the account may use in a region and what it pays: calls a second, price, hours for a million "
        "images, and which images are taken.",
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
    place, terms = deferred.run_async(_read_terms, region, profile)
    if options.as_json:
        write_json(quota_mapping(place, terms))
    else:
        print_out(draw_quota(place, terms))


async def _read_terms(region: str | None, profile: str | None) -> tuple[str, list[DetectorTerms]]:
    """The region, and the terms of every detector in it."""
    aws = Aws(profile=profile, region=region)
    async with deferred.open_aws(aws, timeout_s=_TIMEOUT_S, connections=_CONNECTIONS) as session:
        place = session.region
        if place is None:
            raise UsageError("no region is set", hint="Add --region, or set AWS_REGION.")
        terms = [
            DetectorTerms(
                kind=kind,
                quota=await deferred.quota_tps(session, kind, place),
                prices=price_list(_Priced(DetectorSpec(kind=kind), Pricing()), place),
            )
            for kind in DetectorKind
        ]
        return place, terms
