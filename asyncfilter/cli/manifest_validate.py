"""``asyncfilter manifest validate``."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple, NoReturn

import typer

from asyncfilter.cli.manifest_images import checked_images
from asyncfilter.cli.manifest_input import ManifestPath, OpenManifest, Region, open_manifest
from asyncfilter.cli.manifest_output import CreationDate, command_moment
from asyncfilter.cli.options import STDOUT, Profile, ResultOptions, command_group, help_text, takes_options
from asyncfilter.cli.questions import check_replaced
from asyncfilter.cli.result_file import LazyResult, check_named, open_result
from asyncfilter.cli.terminal import write_json, write_lines
from asyncfilter.datasets.manifests.codes import Finding
from asyncfilter.datasets.manifests.file_checks import CheckOptions, Role, TrainingFacts
from asyncfilter.datasets.manifests.fixing import Fixer
from asyncfilter.datasets.manifests.image_facts import ImageChecker
from asyncfilter.datasets.manifests.line_checks import ImageCheck
from asyncfilter.datasets.manifests.validation import Validation, unreadable, validate
from asyncfilter.errors import AsyncFilterError, ExitCode, ObjectMissingError, PermissionDeniedError, UsageError
from asyncfilter.job.spec import Aws
from asyncfilter.report.as_json import json_line
from asyncfilter.report.program import program
from asyncfilter.report.terminal.manifest import validation_lines

_MISSING = "ERROR_MANIFEST_INACCESSIBLE_OR_UNSUPPORTED_FORMAT"
_DENIED = "ERROR_INVALID_PERMISSIONS_MANIFEST_S3_BUCKET"

app = command_group()


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleOptions:
    """The options of what the manifest is for."""

    role: Annotated[
        Role | None,
        typer.Option(
            "--role",
            metavar="ROLE",
            help="train, test, or single for a manifest that the service is to split. Default: train, or test with "
            "--against.",
            show_default=False,
        ),
    ] = None
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="FILE", help="The training manifest of a test manifest.", show_default=False),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingOptions:
    """The options of what counts, is shown, and is written beside the result."""

    fix: Annotated[
        Path | None,
        typer.Option(
            "--fix",
            metavar="OUT",
            help="Write what can be saved to OUT, and the rest to OUT-rejected.jsonl.",
            show_default=False,
        ),
    ] = None
    findings: Annotated[
        Path | None,
        typer.Option(
            "--findings", metavar="FILE", help="Write every finding to FILE as one line of JSON.", show_default=False
        ),
    ] = None
    max_findings: Annotated[int, typer.Option("--max-findings", metavar="N", min=0, help="Show at most N.")] = 1000
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False
    creation_date: CreationDate = None

    def outputs(self, *, yes: bool) -> Outputs:
        """The files that they name; ``yes`` answers every question with yes.

        Raises:
            UsageError: One is stdout, or two are the same file.
        """
        outputs = Outputs(fix=self.fix, findings=self.findings, moment=command_moment(self.creation_date), yes=yes)
        outputs.check()
        return outputs


@app.command(
    "validate",
    help=help_text(
        "Check a manifest by all rules of Custom Labels, above all for lines that the service drops without a word. "
        "One line a finding: FILE:LINE: SEVERITY CODE: message. Exit code 1 when there is an error.",
        "asyncfilter manifest validate train.manifest",
        "asyncfilter manifest validate test.manifest --against train.manifest --strict",
        "asyncfilter manifest validate train.manifest --fix good.manifest    what can be saved, and the rest beside it",
    ),
)
@takes_options
def validate_(
    file: ManifestPath,
    *,
    roles: RoleOptions,
    region: Region = None,
    check_images: Annotated[
        bool,
        typer.Option(
            "--check-images",
            help="Look at every image in S3, too: whether it is there, its format, bytes and pixels. FILE.checked "
            "keeps what was found, so that a check that was interrupted goes on.",
        ),
    ] = False,
    findings: FindingOptions,
    profile: Profile = None,
    options: ResultOptions,
) -> None:
    """Check a manifest, and repair it where that is asked for."""
    aws = Aws(profile=profile, region=region)
    outputs = findings.outputs(yes=options.yes)
    check = CheckOptions(
        role=roles.role or (Role.TRAIN if roles.against is None else Role.TEST),
        region=region,
        most_findings=findings.max_findings,
        is_strict=findings.strict,
        training=None if roles.against is None else _training(roles.against, aws),
    )
    with ExitStack() as stack:
        try:
            manifest = stack.enter_context(open_manifest(file, aws=aws))
        except (ObjectMissingError, PermissionDeniedError) as error:
            _report_unreadable(file, error, options)
        known = stack.enter_context(checked_images(manifest, aws=aws)) if check_images else None
        result = _validated(manifest, check, outputs, None if known is None else ImageChecker(known))
    _report(result, options)
    if not result.ok:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _report(result: Validation, options: ResultOptions) -> None:
    if options.as_json:
        write_json(result.as_mapping())
    else:
        write_lines(validation_lines(result))


def _report_unreadable(file: str, error: AsyncFilterError, options: ResultOptions) -> NoReturn:
    """Report a manifest in S3 that cannot be read as a finding.

    Raises:
        typer.Exit: Always.
    """
    is_missing = isinstance(error, ObjectMissingError)
    code = _MISSING if is_missing else _DENIED
    _report(unreadable(file, code, error.message, hint=error.hint), options)
    raise typer.Exit(ExitCode.SOME_FAILED if is_missing else ExitCode.ACCESS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """The files that the command writes beside its result.

    Attributes:
        fix: For what can be saved; None for none.
        findings: For all findings; None for none.
        moment: ``creation-date`` of metadata that have none.
        yes: Every question is answered with yes.
    """

    fix: Path | None
    findings: Path | None
    moment: str
    yes: bool

    @property
    def rejected(self) -> Path | None:
        """Where the rest goes; None without ``--fix``."""
        return None if self.fix is None else self.fix.with_name(f"{self.fix.name}-rejected.jsonl")

    def check(self) -> None:
        """Check the names, and ask whether existing files may be replaced.

        Raises:
            UsageError: One is stdout, or two are the same file.
        """
        for option, path in (("--fix", self.fix), ("--findings", self.findings)):
            if path is not None and str(path) == STDOUT:
                raise UsageError(f"{option} - is not a file", hint="Name a file: stdout has the findings.")
            if path is not None:
                check_named(option, path)
        paths = [path for path in (self.fix, self.rejected, self.findings) if path is not None]
        if len({path.resolve() for path in paths}) < len(paths):
            raise UsageError(
                f"--fix {self.fix} and --findings {self.findings} write the same file", hint="Name two files."
            )
        check_replaced(paths, yes=self.yes)


def _training(name: str, aws: Aws) -> TrainingFacts:
    """What a test manifest is compared with.

    Raises:
        UsageError: There is no label in it: any test would agree with it.
    """
    with open_manifest(name, aws=aws) as manifest:
        found = validate(
            manifest.stream, file=name, size_bytes=manifest.size_bytes, options=CheckOptions(most_findings=0)
        )
        if not found.tally.labels:
            raise UsageError(
                f"--against {name}: no labelled image in it, so that there is nothing to compare with",
                hint=f"What is wrong with it: {program()} manifest validate {shlex.quote(name)}",
            )
        return TrainingFacts(file=name, tally=found.tally, refs=found.refs)


def _validated(manifest: OpenManifest, check: CheckOptions, outputs: Outputs, images: ImageCheck | None) -> Validation:
    """Check a manifest, and write the files that were asked for."""
    with ExitStack() as stack:
        fix = _Fix.open(manifest, outputs, images, stack)
        result = validate(
            manifest.stream,
            file=manifest.name,
            size_bytes=manifest.size_bytes,
            options=check,
            images=images,
            on_line=None if fix is None else fix.fixer.add,
            on_finding=_finding_writer(outputs.findings, stack),
        )
        if fix is not None:
            result.notes |= fix.as_mapping()
    return result


def _finding_writer(path: Path | None, stack: ExitStack) -> Callable[[Finding], object] | None:
    if path is None:
        return None
    out = stack.enter_context(open_result("--findings", path))
    return lambda found: out.write(json_line(found))


class _Fix(NamedTuple):
    """A repair that is going on, and its files."""

    fixer: Fixer
    out: LazyResult
    rejected: LazyResult

    @classmethod
    def open(cls, manifest: OpenManifest, outputs: Outputs, images: ImageCheck | None, stack: ExitStack) -> _Fix | None:
        """Begin a repair, if one is asked for; the files are there when ``stack`` is closed."""
        if outputs.fix is None or outputs.rejected is None:
            return None
        out = LazyResult("--fix", outputs.fix, stack)
        rejected = LazyResult("--fix", outputs.rejected, stack)
        fixer = Fixer(manifest.stream, out=out, rejected=rejected, creation_date=outputs.moment, images=images)
        return cls(fixer, out, rejected)

    def as_mapping(self) -> dict[str, object]:
        """The counts under their public names, and the files that were made."""
        return {
            "kept": self.fixer.kept,
            "repaired": self.fixer.repaired,
            "rejected": self.fixer.rejected,
            "fixed_file": None if self.out.made is None else str(self.out.made),
            "rejected_file": None if self.rejected.made is None else str(self.rejected.made),
        }
