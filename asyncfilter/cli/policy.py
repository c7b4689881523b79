"""``asyncfilter policy``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated

import typer

from asyncfilter.cli import deferred
from asyncfilter.cli.options import JobPath, ResultOptions, Settings, command_group, help_text, takes_options
from asyncfilter.cli.stderr import print_err
from asyncfilter.cli.terminal import print_out, stderr_console, write_json
from asyncfilter.errors import CredentialsError, ExitCode, UsageError
from asyncfilter.job.addresses import check_bucket
from asyncfilter.job.model_arn import ModelArn
from asyncfilter.job.spec import Job
from asyncfilter.policy.permissions import (
    AccessReport,
    BucketFacts,
    Command,
    bucket_policy,
    caller_policy,
    commands_of,
    images_bucket,
    lane_needs,
    lanes_bucket_policy,
    needs_of,
    partition_of,
    policy_document,
)
from asyncfilter.policy.permissions.arns import PARTITIONS
from asyncfilter.report.terminal.policy import (
    LanePolicies,
    check_mapping,
    draw_check,
    draw_commands,
    lanes_mapping,
    policy_mapping,
)

_NO_LONGER_NEEDED = (
    "note: Custom Labels reads images with the caller's permissions since its dataset operations exist; only projects "
    "from before need this bucket policy. What the caller needs for its console is in --json (caller_policy)."
)

_OF_LANES = (
    "note: `policy` is for the job's own credentials, each of `lanes` for the identity that calls there: a role or a "
    "profile of the lane, else the job's own."
)
_OF_BUCKET = (
    "note: `bucket_policy` lets them read images from another account, beside what the bucket's policy has; within the "
    "bucket's account it is not needed. The account of a profile stands for ACCOUNT-OF-... there. The role of a lane "
    "must trust the job's credentials."
)

app = command_group()


@dataclass(frozen=True, slots=True, kw_only=True)
class FactOptions:
    """What the job file does not say about account and buckets.

    Attributes:
        partition: Of the account; by default that of the region in the settings.
        versions: Whether the source keeps versions; None when that is not known.
        source_kms_key: KMS keys of the images.
        target_kms_key: KMS keys of the targets.
    """

    partition: Annotated[
        str | None,
        typer.Option(
            "--partition", metavar="NAME", help="aws, aws-cn, aws-us-gov, ... Default: that of the region.",
            show_default=False,
        ),
    ] = None  # fmt: skip
    versions: Annotated[
        bool | None,
        typer.Option("--versions/--no-versions", help="Whether the source keeps versions. Default: for both."),
    ] = None
    source_kms_key: Annotated[
        list[str] | None,
        typer.Option(
            "--source-kms-key", metavar="ARN", help="A KMS key of the images; may be repeated.", show_default=False
        ),
    ] = None
    target_kms_key: Annotated[
        list[str] | None,
        typer.Option(
            "--target-kms-key", metavar="ARN", help="A KMS key of the targets; may be repeated.", show_default=False
        ),
    ] = None

    def __post_init__(self) -> None:
        if self.partition is not None and self.partition not in PARTITIONS:
            raise UsageError(f"--partition {self.partition}: there is {', '.join(PARTITIONS)}")

    def of(self, job: Job) -> BucketFacts:
        """The facts for a job."""
        return BucketFacts(
            partition=self.partition or partition_of(_region(job)),
            keeps_versions=self.versions,
            source_keys=tuple(self.source_kms_key or ()),
            target_keys=tuple(self.target_kms_key or ()),
        )


@app.command(
    "policy",
    help=help_text(
        "Print the least-privilege IAM policy of a job: exactly the actions that its commands send, on its own buckets "
        "and prefixes. The policy is on stdout, ready for IAM; which command needs which statement is on stderr. With "
        "detector.lanes there is one for each lane, and the bucket policy beside. "
        "Nothing is asked of AWS without --check, which says what the caller lacks (exit 4) before the first paid "
        "call.",
        "asyncfilter policy job.yaml > policy.json",
        "asyncfilter policy job.yaml --command plan --command run",
        "asyncfilter policy job.yaml --check",
        "asyncfilter policy job.yaml --source-kms-key arn:aws:kms:eu-west-1:123456789012:key/1234abcd",
        "asyncfilter policy job.yaml --bucket-policy      what Custom Labels asks for",
    ),
)
@takes_options
def policy(
    job: JobPath,
    *,
    settings: Settings = None,
    command: Annotated[
        list[Command] | None,
        typer.Option(
            "--command",
            metavar="COMMAND",
            help="Only the needs of this command, such as run or 'plan --sample'; may be repeated. Default: all that "
            "the job gives something to do.",
            show_default=False,
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Check the caller: harmless requests, and IAM's simulation where allowed.")
    ] = False,
    try_writes: Annotated[
        bool,
        typer.Option(
            "--try-writes",
            help="With --check: try copies whose condition cannot hold also at stores other than AWS's. A store that "
            "ignores conditions keeps such a copy.",
        ),
    ] = False,
    for_bucket: Annotated[
        bool, typer.Option("--bucket-policy", help="Print the bucket policy that Custom Labels asks for.")
    ] = False,
    bucket: Annotated[
        str | None,
        typer.Option(
            "--bucket",
            metavar="NAME",
            help="Its bucket. Default: where kept images go, else the source.",
            show_default=False,
        ),
    ] = None,
    facts: FactOptions,
    options: ResultOptions,
) -> None:
    """Print or check the policy; the exit code is 4 when the caller lacks what a command cannot do without."""
    _refuse_contradictions(check=check, try_writes=try_writes, for_bucket=for_bucket, bucket=bucket, command=command)
    loaded = deferred.with_known_bucket(deferred.load_job(job, overrides=settings or ()))
    commands = tuple(dict.fromkeys(command or commands_of(loaded)))
    if for_bucket:
        _print_bucket_policy(loaded, bucket, facts.of(loaded).partition, as_json=options.as_json)
    elif check:
        _check(loaded, commands, facts.of(loaded), try_writes=try_writes, as_json=options.as_json)
    else:
        _print_policy(loaded, commands, facts.of(loaded), as_json=options.as_json)


def _refuse_contradictions(
    *, check: bool, try_writes: bool, for_bucket: bool, bucket: str | None, command: Sequence[Command] | None
) -> None:
    if check and for_bucket:
        raise UsageError("--check is for the caller, --bucket-policy for a bucket", hint="Give only one of them.")
    if bucket is not None and not for_bucket:
        raise UsageError("--bucket needs --bucket-policy")
    if try_writes and not check:
        raise UsageError("--try-writes needs --check")
    if bucket is not None:
        try:
            check_bucket(bucket)
        except ValueError as error:
            raise UsageError(f"--bucket: {error}") from error
    if for_bucket and command:
        raise UsageError("--bucket-policy is the same for every command", hint="Leave --command out.")


def _print_policy(job: Job, commands: Sequence[Command], facts: BucketFacts, *, as_json: bool) -> None:
    needs = needs_of(job, commands, facts)
    by_command = {command: needs_of(job, [command], facts) for command in commands}
    lanes = LanePolicies(lane_needs(job, facts), lanes_bucket_policy(job, facts))
    if as_json:
        write_json(policy_mapping(job.name, facts.partition, needs, by_command, lanes))
        return
    document = policy_document(needs)
    write_json({"policy": document, **lanes_mapping(lanes)} if lanes.needs else document)
    stderr_console().print(draw_commands(needs, by_command))
    if lanes.needs:
        print_err(_OF_LANES)
    if lanes.bucket_policy is not None:
        print_err(_OF_BUCKET)


def _check(job: Job, commands: Sequence[Command], facts: BucketFacts, *, try_writes: bool, as_json: bool) -> None:
    report = deferred.run_async(_checked, job, commands, facts, try_writes)
    if as_json:
        write_json(check_mapping(job.name, report))
    else:
        print_out(draw_check(job.name, report))
    if not report.is_ok:
        raise typer.Exit(ExitCode.ACCESS)


async def _checked(job: Job, commands: Sequence[Command], facts: BucketFacts, tries_writes: bool) -> AccessReport:
    return await deferred.check_permissions(job, commands, facts, tries_writes=tries_writes)


def _print_bucket_policy(job: Job, bucket: str | None, partition: str, *, as_json: bool) -> None:
    name = bucket or images_bucket(job)
    if name is None:
        raise UsageError("the job has no bucket", hint="Name one with --bucket.")
    made = bucket_policy(name, partition=partition)
    if as_json:
        callers = caller_policy(name, partition=partition)
        write_json({"bucket": name, "bucket_policy": made, "caller_policy": callers, "note": _NO_LONGER_NEEDED})
        return
    write_json(made)
    print_err(f"the bucket policy of {name}")
    print_err(_NO_LONGER_NEEDED)


def _region(job: Job) -> str | None:
    """The region of the settings; the AWS config file is read only where nothing else names one."""
    model = ModelArn.match(job.detector.model or "")
    lanes = job.detector.lanes
    named = lanes[0].region if lanes else job.detector.region if model is None else model.region
    if named is not None:
        return named
    with suppress(CredentialsError):  # the settings of another machine may be meant
        return deferred.configured_region(job.aws)
    return None
