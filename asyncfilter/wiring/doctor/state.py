"""What ``doctor`` looks at of a state in S3."""

from __future__ import annotations

from asyncfilter.errors import AsyncFilterError, ExitCode
from asyncfilter.job.spec import Job
from asyncfilter.policy.findings import Finding, Health
from asyncfilter.report.formatting import count


async def of_state(job: Job | None) -> list[Finding]:
    """The state of a job, without owning it; nothing for a job without one."""
    if job is None or job.state is None:
        return []
    # Not needed by most jobs.
    from asyncfilter.state.looking import StateLook, find_look  # noqa: PLC0415
    from asyncfilter.state.names import place_of  # noqa: PLC0415
    from asyncfilter.wiring.states import open_state_store  # noqa: PLC0415

    place = place_of(job)
    if place is None:
        return []
    try:
        async with open_state_store(job.aws) as store:
            look: StateLook | None = await find_look(store, place)
    except AsyncFilterError as error:
        return [Finding.failed("state", error)]
    if look is None:
        return [Finding(name="state", health=Health.OK, text=f"a state to be made at {place.uri}")]
    facts = {"uri": place.uri, "commit": look.head.commit, "held": look.held, "ok": look.ok}
    if not look.ok:
        hint = "See asyncfilter state show."
        text = f"{place.uri}: {look.problems[0]}"
        return [Finding(name="state", health=Health.ERROR, text=text, hint=hint, facts=facts, code=ExitCode.CHECKPOINT)]
    text = f"{place.uri}: {count(look.head.rows)} images as of commit {count(look.head.commit)}"
    if look.held:
        text += f"; held by {look.head.owner}"
    return [Finding(name="state", health=Health.NOTE if look.held else Health.OK, text=text, facts=facts)]
