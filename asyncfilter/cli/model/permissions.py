"""``asyncfilter model permissions``."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from asyncfilter.cli.model.options import reap_first
from asyncfilter.cli.options import ResultOptions, command_group, help_text, takes_options
from asyncfilter.cli.stderr import print_err
from asyncfilter.cli.terminal import write_json
from asyncfilter.errors import UsageError
from asyncfilter.job.addresses import parse_s3_uri
from asyncfilter.model import S3
from asyncfilter.policy.permissions import bucket_policy, partition_of
from asyncfilter.policy.permissions.models import ModelPlaces, model_policy

_NOTE = (
    "This is the policy of the caller: since 2021 the service reads images and manifests with the caller's "
    "permissions. Only projects from before need a bucket policy for rekognition.amazonaws.com "
    "(--legacy-bucket-policy)."
)
_BUCKET = re.compile(r"[0-9A-Za-z._-]{3,255}\Z")
_KEY = re.compile(r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:(key|alias)/\S+\Z")

app = command_group()


@app.command(
    "permissions",
    help=help_text(
        "Print the IAM policy that the caller of the model commands needs, ready for IAM. Nothing is asked of AWS.",
        "asyncfilter model permissions --bucket my-images > policy.json",
        "asyncfilter model permissions --bucket my-images --output my-results --kms arn:aws:kms:eu-west-1:...",
    ),
)
@takes_options
def permissions(
    *,
    bucket: Annotated[
        list[str],
        typer.Option(
            "--bucket", metavar="B", help="Bucket of images and manifests; may be repeated.", show_default=False
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            metavar="B",
            help="Bucket of the results of training. Default: the first --bucket.",
            show_default=False,
        ),
    ] = None,
    kms: Annotated[
        str | None,
        typer.Option("--kms", metavar="ARN", help="KMS key of images, manifests and results.", show_default=False),
    ] = None,
    legacy: Annotated[
        bool,
        typer.Option(
            "--legacy-bucket-policy",
            help="Print also the bucket policies for rekognition.amazonaws.com that projects from before 2021 need.",
        ),
    ] = False,
    region: Annotated[
        str | None,
        typer.Option(
            "--region", metavar="REGION", help="Region of the projects, for its partition.", show_default=False
        ),
    ] = None,
    options: ResultOptions,
) -> None:
    """Print the policy."""
    buckets = list(dict.fromkeys(_bucket(one, "--bucket") for one in bucket))
    target = None if output is None else _bucket(output, "--output")
    if kms is not None and not _KEY.match(kms):
        raise UsageError(f"--kms {kms}: not the ARN of a KMS key", hint="Give arn:aws:kms:REGION:ACCOUNT:key/ID.")
    reap_first()
    partition = partition_of(region)
    policy = model_policy(ModelPlaces(buckets=buckets, output=target, kms_key=kms, partition=partition))
    every = dict.fromkeys([*buckets, *([target] if target else [])])
    legacy_policies = {one: bucket_policy(one, partition=partition) for one in every} if legacy else None
    if options.as_json:
        write_json({"policy": policy, "bucket_policies": legacy_policies, "note": _NOTE})
        return
    write_json(policy if legacy_policies is None else {"policy": policy, "bucket_policies": legacy_policies})
    print_err(_NOTE)


def _bucket(text: str, option: str) -> str:
    """A bucket, by its name or as the beginning of an address."""
    name = text
    if text.startswith(S3):
        try:
            name = parse_s3_uri(text).bucket
        except ValueError as error:
            raise UsageError(f"{option} {text}: {error}") from error
    if not _BUCKET.match(name):
        raise UsageError(f"{option} {text}: not the name of a bucket", hint="Name a bucket, without its objects.")
    return name
