"""``asyncfilter quota``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from asyncfilter.cli.options import Json, Yes, described
from asyncfilter.errors import UsageError
from asyncfilter.job.spec import Aws, DetectorKind, DetectorSpec, Pricing

if TYPE_CHECKING:
    from asyncfilter.report.quota import DetectorTerms

_TIMEOUT_S = 15.0
_CONNECTIONS = 4


class _Priced(NamedTuple):
    """What a price list asks of a job."""

    detector: DetectorSpec
    pricing: Pricing


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(
        "quota",
        help=described(
            "Show what the account may use in a region and what it pays: calls a second, price, hours for a million "
            "images, and which images are taken.",
            "asyncfilter quota",
            "asyncfilter quota --region eu-west-1 --profile research --json",
        ),
    )(quota)


def quota(
    *,
    region: Annotated[
        str | None, typer.Option("--region", help="Default: that of the AWS settings.", show_default=False)
    ] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", help="Of the AWS config file.", show_default=False)
    ] = None,
    json_: Json = False,
    yes: Yes = False,
) -> None:
    """Show quota, price and limits."""
    del yes  # nothing is asked
    import anyio  # noqa: PLC0415

    from asyncfilter.cli.terminal import show, write_json  # noqa: PLC0415
    from asyncfilter.report.quota import draw_quota, quota_mapping  # noqa: PLC0415

    place, terms = anyio.run(_ask, region, profile)
    if json_:
        write_json(quota_mapping(place, terms))
    else:
        show(draw_quota(place, terms))


async def _ask(region: str | None, profile: str | None) -> tuple[str, list[DetectorTerms]]:
    from asyncfilter.aws import open_aws, quota_tps  # noqa: PLC0415
    from asyncfilter.policy.detectors import price_list  # noqa: PLC0415
    from asyncfilter.report.quota import DetectorTerms  # noqa: PLC0415

    async with open_aws(Aws(profile=profile, region=region), timeout_s=_TIMEOUT_S, connections=_CONNECTIONS) as session:
        place = session.region
        if place is None:
            raise UsageError("no region is set", hint="Add --region, or set AWS_REGION.")
        terms = [
            DetectorTerms(
                kind=kind,
                quota=await quota_tps(session, kind, place),
                prices=price_list(_Priced(DetectorSpec(kind=kind), Pricing()), place),
            )
            for kind in DetectorKind
        ]
        return place, terms
