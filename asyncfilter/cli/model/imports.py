"""``asyncfilter model import``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import Annotated, NamedTuple

import typer

from asyncfilter.cli import deferred
from asyncfilter.cli.manifest_input import OpenManifest, open_manifest
from asyncfilter.cli.model import verbs
from asyncfilter.cli.model.options import (
    ModelOptions,
    ProjectArgument,
    WaitOptions,
    parse_place,
    run_verb,
    show_progress,
)
from asyncfilter.cli.options import command_group, help_text, takes_options
from asyncfilter.cli.stderr import print_err
from asyncfilter.cli.streams import stdout_is_whole
from asyncfilter.cli.terminal import write_json, write_lines
from asyncfilter.custom_labels.counting import ImportedDataset, LineError
from asyncfilter.custom_labels.importing import ImportBy, ImportWish, ManifestSource
from asyncfilter.custom_labels.manifest_lines import LineFates, digest_of, source_refs_at
from asyncfilter.datasets.manifests.codes import Severity
from asyncfilter.datasets.manifests.file_checks import CheckOptions, Role, TrainingFacts
from asyncfilter.datasets.manifests.validation import Validation, validate
from asyncfilter.errors import CredentialsError, ExitCode, UsageError
from asyncfilter.job.addresses import parse_s3_uri
from asyncfilter.job.model_names import ProjectName
from asyncfilter.job.spec import Aws
from asyncfilter.model import S3, S3Location
from asyncfilter.ports.model_service import DatasetType
from asyncfilter.report.terminal.manifest import validation_lines
from asyncfilter.report.terminal.models import import_lines, import_mapping

_FOLDER = "asyncfilter/manifests"

app = command_group()


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetOptions:
    """The options of the manifests, and of how datasets are made of them.

    Raises:
        UsageError: Two of them give the test dataset.
    """

    train: Annotated[
        str,
        typer.Option(
            "--train", metavar="FILE", help="The training manifest: a file, or s3://BUCKET/KEY.", show_default=False
        ),
    ]
    test: Annotated[
        str | None, typer.Option("--test", metavar="FILE", help="The test manifest.", show_default=False)
    ] = None
    auto_split: Annotated[
        bool, typer.Option("--auto-split", help="Let the service move a fifth of the training dataset to the test.")
    ] = False
    manifests: Annotated[
        str | None,
        typer.Option(
            "--manifests",
            metavar="s3://B/P/",
            help=f"Where local manifests are put for the service. Default: {_FOLDER}/PROJECT/ in the images' bucket.",
            show_default=False,
        ),
    ] = None
    by: Annotated[
        ImportBy,
        typer.Option(
            "--by",
            metavar="MODE",
            help="auto, reference or entries: by reference the service makes a new dataset of a manifest in S3, by "
            "entries lines are sent to one that is there. auto: what fits.",
        ),
    ] = ImportBy.AUTO
    force: Annotated[bool, typer.Option("--force", help="Import although the check has found errors.")] = False

    def __post_init__(self) -> None:
        if self.test is not None and self.auto_split:
            raise UsageError("--auto-split makes the test dataset, and --test gives it", hint="Give only one of them.")

    def place(self) -> S3Location | None:
        """Where local manifests are put; None for the default.

        Raises:
            UsageError: It is no place in S3.
        """
        return None if self.manifests is None else parse_place(self.manifests, "--manifests")


@app.command(
    "import",
    help=help_text(
        "Check manifests by all rules of the service, and make the datasets of a project of them, or add them to those "
        "that are there. Afterwards the datasets are counted: lines that the service has dropped without a word, and "
        "entries with errors, are told with their numbers (exit code 1). An import that was cut goes on with the same "
        "command.",
        "asyncfilter model import birds --train train.manifest --test test.manifest",
        "asyncfilter model import birds --train all.manifest --auto-split",
        "asyncfilter model import birds --train corrections.manifest --by entries",
    ),
)
@takes_options
def import_(
    project: ProjectArgument,
    *,
    data: DatasetOptions,
    waits: WaitOptions,
    options: ModelOptions,
) -> None:
    """Check, import and count."""
    named = ProjectName.parse(project)
    aws, patience = options.aws(named), waits.quiet_patience()
    checks = _Checks(project=named, manifests=data.place(), region=_region(aws), is_split=data.auto_split)
    with ExitStack() as stack:
        checked = [_checked(stack, data.train, checks, aws)]
        if data.test is not None:
            checked.append(_checked(stack, data.test, checks, aws, training=checked[0].validation))
        if not data.force and not all(one.validation.ok for one in checked):
            _refuse(named.name, checked, options)
        wish = ImportWish(sources=[one.source(checks) for one in checked], is_split=data.auto_split, by=data.by)
        bare = import_mapping(named.name, []) | {"ok": False}
        verb = partial(verbs.import_manifests, named, wish, patience, aws=aws)
        report = run_verb(verb, bare, options, waits=waits)
    result = import_mapping(named.name, report.datasets)
    if options.as_json:
        write_json(result)
    else:
        write_lines(import_lines(named.name, report.datasets))
    if stdout_is_whole():
        verbs.import_shown(report)
    if not result["ok"]:
        raise typer.Exit(ExitCode.SOME_FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checks:
    """How manifests are checked, and where they go."""

    project: ProjectName
    manifests: S3Location | None
    region: str | None
    is_split: bool


class _Checked(NamedTuple):
    """A manifest that was checked."""

    kind: DatasetType
    manifest: OpenManifest
    validation: Validation
    fates: LineFates

    def source(self, checks: _Checks) -> ManifestSource:
        """The manifest as an import takes it.

        Raises:
            UsageError: It names no bucket of images, and no other place is given for it.
        """
        digest, name = digest_of(self.manifest.stream), self.manifest.name
        return ManifestSource(
            kind=self.kind,
            name=name,
            stream=self.manifest.stream,
            size_bytes=self.manifest.size_bytes,
            digest=digest,
            fates=self.fates,
            refs=self.validation.refs,
            place=_place(name, self.validation, checks, digest),
            is_there=name.startswith(S3),
        )


def _checked(stack: ExitStack, name: str, checks: _Checks, aws: Aws, *, training: Validation | None = None) -> _Checked:
    """Check a manifest; with the training manifest, it is a test manifest."""
    kind = DatasetType.TRAIN if training is None else DatasetType.TEST
    manifest = stack.enter_context(open_manifest(name, aws=aws))
    fates = LineFates()
    role = Role.TEST if kind is DatasetType.TEST else Role.SINGLE if checks.is_split else Role.TRAIN
    facts = None if training is None else TrainingFacts(file=training.file, tally=training.tally, refs=training.refs)
    show_progress(f"{name}: checking")
    validation = validate(
        manifest.stream,
        file=manifest.name,
        size_bytes=manifest.size_bytes,
        options=CheckOptions(role=role, region=checks.region, training=facts),
        on_line=fates.add,
    )
    return _Checked(kind, manifest, validation, fates)


def _place(name: str, validation: Validation, checks: _Checks, digest: str) -> S3Location:
    if name.startswith(S3):
        return parse_s3_uri(name)
    bucket = next(iter(validation.tally.buckets), None)
    if checks.manifests is None and bucket is None:
        raise UsageError(f"{name}: no image says in which bucket it is", hint="Say where it goes with --manifests.")
    prefix = checks.manifests or S3Location(bucket or "", f"{_FOLDER}/{checks.project.name}/")
    folder = prefix.key if not prefix.key or prefix.key.endswith("/") else f"{prefix.key}/"
    return S3Location(prefix.bucket, f"{folder}{digest}.manifest")


def _refuse(project: str, checked: Sequence[_Checked], options: ModelOptions) -> None:
    """Show what the check has found; the service was not called.

    Raises:
        typer.Exit: Always.
    """
    if options.as_json:
        write_json(import_mapping(project, [_unimported(one) for one in checked]) | {"ok": False})
    else:
        for one in checked:
            write_lines(validation_lines(one.validation))
    print_err("nothing was imported: correct the manifest (asyncfilter manifest validate --fix), or add --force")
    raise typer.Exit(ExitCode.SOME_FAILED)


def _unimported(one: _Checked) -> ImportedDataset:
    wrong = [found for found in one.validation.log.kept if found.severity is Severity.ERROR]
    refs = source_refs_at(one.manifest.stream, {found.line for found in wrong})
    errors = [
        LineError(line=found.line, source_ref=refs.get(found.line or 0), code=found.code, message=found.message)
        for found in wrong
    ]
    return ImportedDataset(kind=one.kind, dataset=None, lines=one.fates.lines, batches=0, missing=(), errors=errors)


def _region(aws: Aws) -> str | None:
    """The region whose limits hold; None where none is set, or the settings cannot be read."""
    with suppress(CredentialsError):  # the import will say so
        return aws.region or deferred.configured_region(aws)
    return None
