"""The account: credentials, region, quota, opt-out of AI services, and what a job needs of it."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from datetime import UTC, datetime

from asyncfilter import aws
from asyncfilter.aws import AwsClients, AwsSession, Caller, OptOutState
from asyncfilter.errors import AsyncFilterError, CredentialsError
from asyncfilter.job.spec import Aws, DetectorKind, Job, TargetCheck
from asyncfilter.model import StoreKind
from asyncfilter.policy.detectors import PROFILES
from asyncfilter.policy.findings import Finding, Health
from asyncfilter.policy.permissions import Access, BucketFacts, Command, commands_by_need
from asyncfilter.policy.quota import QuotaOrigin
from asyncfilter.report import formatting

_SOON_S = 3600.0
_OPT_OUT = "ai opt-out"


async def credentials(session: AwsSession) -> tuple[Finding, Caller | None]:
    """The provider, the caller and the expiry of the keys."""
    try:
        found = await session.found_keys()
    except AsyncFilterError as error:
        return Finding.failed("credentials", error), None
    left_s = found.expires_unix_s - time.time()
    expires = None if math.isinf(left_s) else datetime.fromtimestamp(found.expires_unix_s, UTC)
    facts: dict[str, object] = {
        "provider": found.provider,
        "expires": None if expires is None else expires.isoformat(timespec="seconds"),
    }
    try:
        caller = await aws.identify(session)
    except CredentialsError as error:
        return Finding.failed("credentials", error, **facts), None
    except AsyncFilterError as error:
        text = f"from {found.provider}; who that is could not be asked: {error.message}"
        return Finding(name="credentials", health=Health.WARNING, text=text, hint=error.hint, facts=facts), None
    facts |= {"account": caller.account, "arn": caller.arn}
    text = f"{caller.arn}, from {found.provider}"
    return _expiry(text, left_s, facts), caller


def _expiry(text: str, left_s: float, facts: dict[str, object]) -> Finding:
    if math.isinf(left_s):
        return Finding(name="credentials", health=Health.OK, text=f"{text}; no expiry", facts=facts)
    text = f"{text}; valid for {formatting.duration(max(0.0, left_s))}"
    return Finding(name="credentials", health=Health.OK, text=f"{text}, then renewed", facts=facts)


def region(session: AwsSession, settings: Aws, found: str | None) -> Finding:
    """The region, and what sets it; ``found`` is that of the job's bucket or model."""
    setting = _region_setting(settings) if session.region else None
    facts = {"region": session.region, "setting": setting, "detector": found or session.region}
    if found is not None:
        text = f"{found}, of the job's bucket or model"
        if session.region and session.region != found:
            text += f"; {session.region} by {setting} is for nothing else"
        return Finding(name="region", health=Health.OK, text=text, facts=facts)
    if session.region is None:
        hint = "Set AWS_REGION, aws.region in the job, or region in the profile."
        return Finding(name="region", health=Health.WARNING, text="none is set", hint=hint, facts=facts)
    return Finding(name="region", health=Health.OK, text=f"{session.region} by {setting}", facts=facts)


def _region_setting(settings: Aws) -> str:
    if settings.region:
        return "aws.region"
    return next((name for name in ("AWS_REGION", "AWS_DEFAULT_REGION") if os.environ.get(name)), "the AWS config file")


async def quota(session: AwsSession, kind: DetectorKind, region_name: str) -> Finding:
    """The quota in calls a second."""
    answer = await aws.quota_tps(session, kind, region_name)
    text = f"{formatting.tps(answer.tps)} calls a second in {region_name} ({answer.origin})"
    facts = {"tps": answer.tps, "origin": answer.origin.value, "reason": answer.reason or None}
    if answer.origin is QuotaOrigin.DOCUMENTED:
        hint = "Allow servicequotas:GetServiceQuota, or set limits.tps."
        return Finding(name="quota", health=Health.WARNING, text=f"{text}: {answer.reason}", hint=hint, facts=facts)
    return Finding(name="quota", health=Health.OK, text=text, facts=facts)


async def ai_opt_out(session: AwsSession) -> Finding:
    """Whether AWS may keep the images that Rekognition is sent."""
    found = await aws.opt_out(session)
    facts = {"state": found.state.value, "detail": found.detail}
    if found.state is OptOutState.OUT:
        text = f"AWS may not keep images to improve its services ({found.detail})"
        return Finding(name=_OPT_OUT, health=Health.OK, text=text, facts=facts)
    hint = "Opt out by an AI services opt-out policy of the organisation (AWS Organizations)."
    if found.state is OptOutState.IN:
        text = f"AWS may keep images to improve its services: {found.detail}"
        return Finding(name=_OPT_OUT, health=Health.NOTE, text=text, hint=hint, facts=facts)
    text = f"not known whether AWS may keep images to improve its services: {found.detail}"
    hint = "Allow organizations:DescribeEffectivePolicy, or ask who administers the organisation."
    return Finding(name=_OPT_OUT, health=Health.UNKNOWN, text=text, hint=hint, facts=facts)


async def job_access(job: Job, clients: AwsClients) -> Finding:
    """Whether source, targets and detector of a job can be used, as its run checks them before the first paid call."""
    bucket_region: str | None = None
    cautions: tuple[str, ...] = ()
    try:
        # Without a write to the targets, also where the job allows one.
        plain = dataclasses.replace(job, check_targets=TargetCheck.EXISTS)
        if job.source.store is StoreKind.S3:
            store = await aws.open_store(plain, clients)
            bucket_region, cautions = store.region, store.cautions
        else:
            cautions = await aws.check_s3_targets(plain, clients)
        found, answers = None, ""
        if PROFILES[job.detector.kind].is_service:
            _, found = await aws.open_detector(job, clients, bucket_region=bucket_region)
            answers = ", the detector answers"
        if PROFILES[job.detector.kind].needs_model:
            return await _model(job, clients.session)
    except AsyncFilterError as error:
        return Finding.failed("job", error)
    text = f"the source can be listed, its targets exist{answers}"
    if cautions:
        return Finding(name="job", health=Health.NOTE, text=f"{text}; {'; '.join(cautions)}")
    return Finding(name="job", health=Health.OK, text=text, facts={"detector_region": found})


async def _model(job: Job, session: AwsSession) -> Finding:
    state = await aws.describe_model(session, job.detector.model or "")
    text, facts = f"the source can be listed, the model is {state.status}", {"model_status": state.status}
    if state.status == "RUNNING":
        return Finding(name="job", health=Health.OK, text=text, facts=facts)
    hint = "Start the model (StartProjectVersion) before the run; it is billed by the hour."
    return Finding(name="job", health=Health.WARNING, text=text, hint=hint, facts=facts)


async def permissions(job: Job, clients: AwsClients, partition: str) -> Finding:
    """What the caller lacks for a run of the job."""
    needs = commands_by_need(job, [Command.RUN], BucketFacts(partition=partition))
    hint = f"See asyncfilter policy {job.path or 'JOB'} --check."
    try:
        report = await aws.check_access(job, needs, clients)
    except AsyncFilterError as error:
        return Finding.failed("permissions", error)
    missing = [result.need.action for result in report.of(Access.MISSING)]
    required = [result.need.action for result in report.of(Access.MISSING) if result.is_required]
    unknown = [result.need.action for result in report.of(Access.UNKNOWN)]
    facts = {"missing": required, "lacking": missing, "unknown": unknown}
    if required:
        text = f"a run lacks {', '.join(dict.fromkeys(required))}"
        return Finding(name="permissions", health=Health.ERROR, text=text, hint=hint, facts=facts)
    if missing:
        text = f"a run lacks {', '.join(dict.fromkeys(missing))}, and can do without"
        return Finding(name="permissions", health=Health.NOTE, text=text, hint=hint, facts=facts)
    if unknown:
        text = f"a run lacks nothing as far as is known; not known: {', '.join(dict.fromkeys(unknown))}"
        return Finding(name="permissions", health=Health.UNKNOWN, text=text, hint=hint, facts=facts)
    return Finding(name="permissions", health=Health.OK, text="a run lacks nothing", facts=facts)
