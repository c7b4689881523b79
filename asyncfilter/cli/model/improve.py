"""``asyncfilter model improve``."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asyncfilter.cli.manifest_input import OpenManifest
from asyncfilter.cli.model import verbs
from asyncfilter.cli.model.options import (
    ModelOptions,
    NewVersion,
    ProjectArgument,
    TrainingOutput,
    WaitOptions,
    parse_place,
    run_verb,
    show_progress,
    wait_verb,
)
from asyncfilter.cli.model.reviewed import Reviewed, ReviewedOptions, corrected_lines
from asyncfilter.cli.model.stop import exit_for
from asyncfilter.cli.model.train import PRICE, trainings_going_on
from asyncfilter.cli.options import command_group, help_text, takes_options
from asyncfilter.cli.questions import agree
from asyncfilter.cli.stderr import print_err
from asyncfilter.cli.streams import stdout_is_whole
from asyncfilter.cli.terminal import write_json, write_lines
from asyncfilter.custom_labels.corrections import IN_TEST_SET, Corrections, check_corrections
from asyncfilter.custom_labels.improving import Improved, ImprovementPlan, ImprovementWish
from asyncfilter.custom_labels.reaper import StopFailure
from asyncfilter.errors import AbortedError, ExitCode, RefusedError
from asyncfilter.job.model_names import ProjectName, VersionName
from asyncfilter.job.spec import Aws
from asyncfilter.policy.pricing import model_micros
from asyncfilter.report.formatting import count, duration, usd
from asyncfilter.report.terminal.improvements import (
    bare_improvement,
    correction_lines,
    improvement_lines,
    improvement_mapping,
    planned_mapping,
    refused_mapping,
)
from asyncfilter.report.terminal.leases import lease_mapping, lease_text, price_text, reaped_lines, started_lines

if TYPE_CHECKING:
    from asyncfilter.wiring.improvements import ImprovementReport, PlannedSwitch

app = command_group()


@app.command(
    "improve",
    help=help_text(
        "Merge corrections (a manifest, or what people said about a job's images) into the training dataset, train "
        "a version with them, compare it with the newest one on the same test images, and propose to switch to it or "
        "to keep the old one. Says the price, and asks. An image of the test dataset never enters training. Repeat the "
        "command after Ctrl-C, a crash or a reboot: nothing is imported or paid for twice. With --switch the model "
        "that runs by a lease is replaced, if the new one is better.",
        "asyncfilter model improve birds --corrections corrections.manifest --output s3://my-bucket/training/",
        "asyncfilter model improve birds --reviewed job.yaml --reject-label other --output s3://my-bucket/training/",
        "asyncfilter model improve birds --corrections c.manifest --output s3://my-bucket/training/ --switch",
    ),
)
@takes_options
def improve(
    project: ProjectArgument,
    *,
    corrections: Annotated[
        str | None,
        typer.Option(
            "--corrections",
            metavar="MANIFEST",
            help="The corrected lines: a file, or s3://BUCKET/KEY. The last line for an image holds.",
            show_default=False,
        ),
    ] = None,
    reviewed: Reviewed = None,
    output: TrainingOutput,
    version: NewVersion = None,
    switch: Annotated[
        bool,
        typer.Option(
            "--switch",
            help="If the new version is better, start it in place of the old one that runs by a lease; asks.",
        ),
    ] = False,
    of_people: ReviewedOptions,
    waits: WaitOptions,
    options: ModelOptions,
) -> None:
    """Improve, or go on with what was begun."""
    named = ProjectName.parse(project)
    wished = None if version is None else VersionName.parse(version, project=named).name
    wish = ImprovementWish(version=wished, output=parse_place(output, "--output"), switches=switch)
    command = _Command(project=named, wish=wish, waits=waits, options=options, aws=options.aws(named))
    with ExitStack() as stack:
        manifest = stack.enter_context(corrected_lines(corrections, reviewed, of_people, aws=command.aws))
        checked = _checked(manifest, command)
        held = stack.enter_context(tempfile.TemporaryFile())
        verb = partial(verbs.plan_improvement, named, checked, wish, held, waits.quiet_patience(), aws=command.aws)
        plan = run_verb(verb, bare_improvement(named.name), options, waits=waits)
        _tell(plan)
        if plan.is_empty:
            _refuse_nothing(plan, options)
        _ask(plan, options)
        report = command.run(plan)
        command.finish(plan, report)
    if not report.improved.ok:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _checked(manifest: OpenManifest, command: _Command) -> Corrections:
    """The corrections, which have no error.

    Raises:
        typer.Exit: They have errors; the service was not called.
    """
    show_progress(f"{manifest.name}: checking")
    found = check_corrections(manifest.stream, name=manifest.name, size_bytes=manifest.size_bytes)
    if not found.errors:
        return found
    if command.options.as_json:
        write_json(refused_mapping(command.project.name, found.errors))
    else:
        write_lines(correction_lines(found))
    print_err("nothing was imported: correct the manifest (asyncfilter manifest validate --fix)")
    raise typer.Exit(ExitCode.SOME_FAILED)


# -- Before ------------------------------------------------------------------------------------------------------------


def _tell(plan: ImprovementPlan) -> None:
    """Say what is skipped, and what was done before."""
    selected, row = plan.selected, plan.row
    if number := selected.skipped[IN_TEST_SET]:
        more = ", ..." if number > len(selected.examples) else ""
        print_err(
            f"skipped {IN_TEST_SET}: {count(number)}: what is in the test dataset never enters training: "
            f"{', '.join(selected.examples)}{more}"
        )
    if number := plan.corrections.tally.ignored:
        print_err(f"without a label: {count(number)}: a training does not use such images")
    if row is not None and row.is_open:
        print_err(f"taking up the improvement to {plan.training.version} that was begun")
    elif row is None and plan.before is not None:
        print_err(f"these corrections are in the training dataset already: {plan.before} was trained with them")


def _refuse_nothing(plan: ImprovementPlan, options: ModelOptions) -> None:
    """Say that no correction is left.

    Raises:
        typer.Exit: Always.
    """
    if options.as_json:
        write_json(planned_mapping(plan))
    print_err("nothing was imported or trained: no correction is left")
    raise typer.Exit(ExitCode.SOME_FAILED)


def _ask(plan: ImprovementPlan, options: ModelOptions) -> None:
    """Say what the training costs, and ask."""
    name = plan.training.version
    if not plan.training.is_paid:
        print_err(f"{name} is there ({plan.training.status or 'begun'}): nothing more is paid for its training")
        return
    print_err(f"{name}: {PRICE}")
    what = (
        f"Correct {count(len(plan.selected.refs))} images of the training dataset, train" if plan.imports else "Train"
    )
    agree(f"{what} {name} and pay for it?", yes=options.yes)


# -- After -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Command:
    """What the user asked for."""

    project: ProjectName
    wish: ImprovementWish
    waits: WaitOptions
    options: ModelOptions
    aws: Aws

    def run(self, plan: ImprovementPlan) -> ImprovementReport:
        """Improve; where the service trains as much as it may already, say what that is.

        Raises:
            RefusedError: The service refuses.
        """
        verb = partial(verbs.improve_model, plan, self.wish, self.waits.quiet_patience(), aws=self.aws)
        try:
            return wait_verb(verb, f"the improvement to {plan.training.version}", waits=self.waits)
        except RefusedError as error:
            going_on = trainings_going_on(self.project, error, self.waits, self.options)
            if self.options.as_json:
                told = {"trainings": going_on, "error": {"code": error.code, "message": error.message}}
                write_json({**planned_mapping(plan), **told})
            raise

    def finish(self, plan: ImprovementPlan, report: ImprovementReport) -> None:
        """Show the result, and switch where that is wished for; then note that it was shown.

        With ``--json`` the result is shown after the switch, which it tells of.
        """
        improved = report.improved
        result = improvement_mapping(plan, improved, report.errors)
        if not self.options.as_json:
            write_lines(improvement_lines(plan, improved, report.errors))
            _note_shown(plan, improved)
        failed: Sequence[StopFailure] = ()
        try:
            if self.wish.switches:
                failed = self._switch(result)
        except RefusedError:  # the result stands in ``run_verb``
            self._json_shown(plan, report)
            raise
        except (AbortedError, typer.Exit) as error:
            if isinstance(error, AbortedError) or error.exit_code == ExitCode.ABORTED:
                self._show_json(result)
                self._json_shown(plan, report)
            raise
        self._show_json(result)
        self._json_shown(plan, report)
        exit_for(failed)

    def _show_json(self, result: dict[str, Any]) -> None:
        if self.options.as_json:
            write_json(result)

    def _json_shown(self, plan: ImprovementPlan, report: ImprovementReport) -> None:
        if self.options.as_json:
            _note_shown(plan, report.improved)

    def _switch(self, result: dict[str, Any]) -> Sequence[StopFailure]:
        """Replace the old version by the new one, where that is proposed and the old one runs by a lease of ours.

        Returns:
            What could not be stopped.
        """
        old, new = result["old"]["version"], result["new"]["version"]
        if result["proposal"] != "switch":
            print_err("not switched: the proposal is to keep the old version")
            return ()
        planned = None
        if old is not None:
            verb = partial(verbs.plan_switch, self.project, old, new, aws=self.aws)
            planned = run_verb(verb, result, self.options, waits=self.waits)
        if planned is None:
            print_err(f"not switched: {old or 'no old version'} does not run by a lease of yours")
            return ()
        if planned.is_made:
            print_err(f"{new} runs already, and {old} does not: {lease_text(planned.lease)}")
            result |= {"switched": True, "lease": lease_mapping(planned.lease)}
            return ()
        self._ask_switch(old, new, planned)
        verb_of_switch = partial(verbs.switch_model, self.project, new, planned, self.waits.patience(), aws=self.aws)
        switched = run_verb(verb_of_switch, result, self.options, waits=self.waits)
        result |= {"switched": True, "lease": lease_mapping(switched.started.lease)}
        if not self.options.as_json:
            write_lines(started_lines(switched.started.version.status, switched.started.lease))
            write_lines(reaped_lines(switched.reaped))
        return switched.reaped.failed

    def _ask_switch(self, old: str, new: str, planned: PlannedSwitch) -> None:
        lease = planned.lease
        most = usd(model_micros(lease.most_units, planned.left_s))
        print_err(
            f"{new}: {price_text(lease.units, lease.max_units)}; until the lease ends, in {duration(planned.left_s)}, "
            f"at most {most}. {old} is stopped once {new} runs: until then both are paid for"
        )
        agree(f"Start {new} in place of {old}?", yes=self.options.yes)


def _note_shown(plan: ImprovementPlan, improved: Improved) -> None:
    """Note that the result was shown, unless stdout did not take it: then the same command shows it again."""
    if stdout_is_whole():
        verbs.improvement_shown(plan, improved)
