"""Which permissions of a job the caller has: what requests show, and for the rest what IAM says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from asyncfilter.aws.access.identity import Caller, identify
from asyncfilter.aws.access.probes import ProbeResult, Probes
from asyncfilter.aws.access.simulation import EvalDecision, Question, simulate
from asyncfilter.aws.factory import AwsClients
from asyncfilter.aws.preflight import region_asked_for
from asyncfilter.aws.s3.versions import S3Versions
from asyncfilter.aws.session import AwsSession
from asyncfilter.errors import AsyncFilterError, CredentialsError, EndpointError
from asyncfilter.job.spec import Job
from asyncfilter.model import StoreKind
from asyncfilter.policy.permissions import Access, AccessReport, AccessResult, CheckMethod, Command, Need
from asyncfilter.policy.permissions.arns import ANYTHING, sample
from asyncfilter.records.removal import Versioning

_SIMULATED = {
    EvalDecision.ALLOWED: "IAM: allowed",
    EvalDecision.EXPLICIT_DENY: "IAM: a policy denies it",
    EvalDecision.IMPLICIT_DENY: "IAM: no policy of the caller allows it; that of a bucket or key may",
}


_KEY = Need(
    action="kms:Decrypt",
    resource="*",
    statement="DecryptSource",
    why="read the images, which are encrypted with a key of KMS: name it with --source-kms-key",
)
"""The permission that shows to be needed only when an image is read."""


async def check_access(
    job: Job,
    needs: Mapping[Need, tuple[Command, ...]],
    clients: AwsClients,
    *,
    tries_writes: bool = False,
) -> AccessReport:
    """Check the caller's permissions; nothing is changed, and nothing is billed but a few requests to S3.

    Args:
        job: The job.
        needs: Its permissions, and the commands that need them.
        clients: From ``open_clients``.
        tries_writes: Writes whose condition cannot hold are tried also at stores other than AWS's.

    Raises:
        CredentialsError: AWS does not accept the credentials.
        EndpointError: S3, Rekognition or STS cannot be reached.
    """
    caller = await identify(clients.session)
    needs = await _of_the_source(job, needs, clients)
    probes = Probes(job, clients, region=await _region(job, clients), tries_writes=tries_writes)
    await probes.look()
    if probes.needs_key and not any(need.statement == _KEY.statement for need in needs):
        needs = {**needs, _KEY: _readers(needs)}
    tried = {need: await probes.run(need) for need in needs}
    simulated, why_not = await _simulated(clients, caller, list(needs))
    return AccessReport(
        caller=caller.arn,
        simulation=why_not,
        results=[_result(need, needs[need], tried[need], simulated.get(_question(need))) for need in needs],
    )


def _readers(needs: Mapping[Need, tuple[Command, ...]]) -> tuple[Command, ...]:
    return next((commands for need, commands in needs.items() if need.statement == "ReadSource"), ())


async def _of_the_source(
    job: Job, needs: Mapping[Need, tuple[Command, ...]], clients: AwsClients
) -> Mapping[Need, tuple[Command, ...]]:
    """The permissions less those that only other buckets need, if it can be read whether the source keeps versions."""
    if job.source.store is not StoreKind.S3 or all(need.keeps_versions is None for need in needs):
        return needs
    try:
        state = await S3Versions(clients.session).state(job.source.bucket)
    except (CredentialsError, EndpointError):
        raise
    except AsyncFilterError:
        return needs
    if state.versioning is Versioning.UNKNOWN:
        return needs
    keeps_versions = state.versioning is not Versioning.OFF
    return {need: needs[need] for need in needs if need.keeps_versions in {None, keeps_versions}}


async def _simulated(
    clients: AwsClients, caller: Caller, needs: Sequence[Need]
) -> tuple[Mapping[Question, EvalDecision], str]:
    """IAM's answers, or why there are none."""
    try:
        return await simulate(clients.session, caller, [_question(need) for need in needs]), ""
    except AsyncFilterError as error:
        return {}, error.message


def _question(need: Need) -> Question:
    resource = need.resource if need.resource == ANYTHING else sample(need.resource)
    return Question(need.action, resource, None if need.prefix is None else sample(need.prefix))


def _result(
    need: Need, commands: tuple[Command, ...], tried: ProbeResult, simulated: EvalDecision | None
) -> AccessResult:
    """A request counts more than a simulation, which does not know the policies of buckets and keys."""
    access, how, detail = tried.access, CheckMethod.TRIED, tried.detail
    if access is Access.UNKNOWN and simulated is not None:
        access = Access.ALLOWED if simulated is EvalDecision.ALLOWED else Access.MISSING
        how, detail = CheckMethod.SIMULATED, _SIMULATED[simulated]
    elif access is Access.UNKNOWN:
        how = CheckMethod.NOT_ASKED
    return AccessResult(need=need, commands=commands, access=access, how=how, detail=detail)


async def detector_region(job: Job, session: AwsSession) -> str | None:
    """The region in which a job examines images; None when nothing tells it.

    Raises:
        AccessError: The region of the source's bucket cannot be found out.
        CallError: The attempt failed.
    """
    if region := region_asked_for(job.detector):
        return region
    return session.region if job.source.store is not StoreKind.S3 else await session.bucket_region(job.source.bucket)


async def _region(job: Job, clients: AwsClients) -> str | None:
    try:
        return await detector_region(job, clients.session)
    except (CredentialsError, EndpointError):
        raise
    except AsyncFilterError:
        return clients.session.region
