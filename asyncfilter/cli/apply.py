"""``asyncfilter apply`` and ``asyncfilter undo``: show the plan, ask for consent, carry the plan out."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from asyncfilter.cli import deferred
from asyncfilter.cli.options import (
    Events,
    JobPath,
    Json,
    Settings,
    command_group,
    help_text,
    refuse_two_for_stdout,
    takes_options,
)
from asyncfilter.cli.signals import Signals, interruptible
from asyncfilter.cli.stderr import ask_number, print_err
from asyncfilter.cli.terminal import print_out, stderr_console, write_json
from asyncfilter.errors import ExitCode, UsageError
from asyncfilter.job.spec import Job
from asyncfilter.policy.removal_plan import DEFAULT_MAX_SHARE, Consent, RemovalPlan, RemovalSummary
from asyncfilter.report.terminal.apply import draw_plan, draw_removal, plan_mapping, removal_mapping

app = command_group()


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyOptions:
    """The options of both commands.

    Attributes:
        dry_run: The plan is shown and nothing else is done.
        expect: How many images there must be; None without the flag.
        allow_place: Places that the user allows besides those of the job.
        events: File for events, ``-`` for stdout; None for none.
        as_json: The result is written as JSON.
        yes: No question is asked; ``expect`` is the consent.

    Raises:
        UsageError: The options contradict each other.
    """

    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the plan.")] = False
    expect: Annotated[
        int | None,
        typer.Option(
            "--expect",
            metavar="N",
            min=0,
            help="The number of images; with any other number, nothing is done.",
            show_default=False,
        ),
    ] = None
    allow_place: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-place",
            metavar="PLACE",
            help="A bucket and prefix, or a folder, that no action of the job names and in which the checkpoint may "
            "delete and write all the same, such as s3://former-target/birds/; may be repeated.",
            show_default=False,
        ),
    ] = None
    events: Events = None
    as_json: Json = False
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; needs --expect.")] = False

    def __post_init__(self) -> None:
        refuse_two_for_stdout(as_json=self.as_json, option="--events", target=self.events)
        if self.yes and self.expect is None and not self.dry_run:
            raise UsageError("--yes alone agrees to nothing", hint="Add --expect N, the number of images.")

    @property
    def places(self) -> list[str]:
        """The places that the user allows besides those of the job."""
        return self.allow_place or []


@dataclass(frozen=True, slots=True, kw_only=True)
class _Removal:
    """What differs between the commands.

    Attributes:
        plan: Makes the plan of a job.
        carry_out: Carries a plan out, with the consent to it.
        question: The question that the user is asked first.
        max_share: Largest share of the examined images that may be removed, 0 to 1; None where nothing is removed.
    """

    plan: Callable[[Job], Coroutine[Any, Any, RemovalPlan]]
    carry_out: Callable[..., Coroutine[Any, Any, RemovalSummary]]
    question: str
    max_share: float | None

    def consent(self, images: int, digest: str | None = None) -> Consent:
        """The consent to ``images`` images; with ``digest`` to exactly one plan."""
        return Consent(images=images, max_share=1.0 if self.max_share is None else self.max_share, digest=digest)


@app.command(
    "apply",
    help=help_text(
        "Move and delete images as the job's actions require. The command shows how many images, for which reason and "
        "what can be undone, and asks you to type the number. An image that changed since it was examined is left in "
        "place and reported. After Ctrl-C (exit 75) the same command continues.",
        "asyncfilter apply job.yaml --dry-run            the plan alone",
        "asyncfilter apply job.yaml",
        "asyncfilter apply job.yaml --max-share 0.7      allow more than half to be removed",
        "asyncfilter apply job.yaml --yes --expect 1234  in scripts",
        "asyncfilter apply job.yaml --stale              delete copies that changed rules no longer make",
    ),
)
@takes_options
def apply(
    job: JobPath,
    *,
    settings: Settings = None,
    max_share: Annotated[
        float,
        typer.Option(
            "--max-share",
            metavar="F",
            min=0.0,
            max=1.0,
            help="Largest share of the examined images (with --stale: of the copies) that may be removed, 0 to 1.",
        ),
    ] = DEFAULT_MAX_SHARE,
    again: Annotated[bool, typer.Option("--again", help="Include images that undo brought back.")] = False,
    stale: Annotated[
        bool, typer.Option("--stale", help="Delete copies that the rules no longer make, and nothing else.")
    ] = False,
    options: ApplyOptions,
) -> None:
    """Move and delete; the exit code is the summary's."""
    if stale and again:
        raise UsageError("--again is for images, --stale for copies", hint="Give only one of them.")
    with interruptible() as signals:
        loaded = deferred.load_job(job, overrides=settings or ())
        removal = _Removal(
            plan=functools.partial(deferred.plan_apply, again=again, stale=stale, allow_places=options.places),
            carry_out=functools.partial(deferred.apply, again=again, stale=stale, allow_places=options.places),
            question="Delete these copies?" if stale else "Remove these images from the source?",
            max_share=max_share,
        )
        code = _remove(loaded, removal, signals, options)
    raise typer.Exit(code)


@app.command(
    "undo",
    help=help_text(
        "Bring back what apply removed from the source: moved images, and deleted images where the bucket keeps "
        "versions. An object that now has the key of an image is never overwritten.",
        "asyncfilter undo job.yaml --dry-run",
        "asyncfilter undo job.yaml",
        "asyncfilter undo job.yaml --yes --expect 1234",
    ),
)
@takes_options
def undo(job: JobPath, *, settings: Settings = None, options: ApplyOptions) -> None:
    """Bring images back; the exit code is the summary's."""
    with interruptible() as signals:
        loaded = deferred.load_job(job, overrides=settings or ())
        removal = _Removal(
            plan=functools.partial(deferred.plan_undo, allow_places=options.places),
            carry_out=functools.partial(deferred.undo, allow_places=options.places),
            question="Bring these images back?",
            max_share=None,
        )
        code = _remove(loaded, removal, signals, options)
    raise typer.Exit(code)


def _remove(job: Job, removal: _Removal, signals: Signals, options: ApplyOptions) -> int:
    """Show the plan, ask for consent, carry the plan out. Returns the exit code."""
    plan = deferred.run_async(removal.plan, job)
    _show_plan(plan, removal.max_share, options)
    if options.dry_run:
        return ExitCode.OK
    _agree(plan, removal, options)
    consent = removal.consent(plan.images, plan.digest)
    verb = functools.partial(removal.carry_out, job, consent)
    summary = deferred.remove_with_console(verb, plan.images, signals, options.events)
    if options.as_json:
        write_json(removal_mapping(summary, plan, removal.max_share))
    else:
        stderr_console().print(draw_removal(summary, job, plan))
    return summary.exit_code


def _show_plan(plan: RemovalPlan, max_share: float | None, options: ApplyOptions) -> None:
    """Print the plan: on stdout as the result of a dry run, otherwise on stderr as a message."""
    drawn = draw_plan(plan, max_share)
    if not options.dry_run:
        stderr_console().print(drawn)
    elif options.as_json:
        write_json({"dry_run": True, "plan": plan_mapping(plan, max_share)})
    else:
        print_out(drawn)


def _agree(plan: RemovalPlan, removal: _Removal, options: ApplyOptions) -> None:
    """Return when the user agrees to exactly this plan.

    Raises:
        UsageError: ``--expect`` is another number, too many images would be removed, or there is no terminal to ask on.
        typer.Exit: Another number was typed.
    """
    removal.consent(plan.images if options.expect is None else options.expect).check(plan)
    if options.yes or not plan.images:
        return
    if not ask_number(removal.question, plan.images):
        print_err("That is another number: nothing was done.")
        raise typer.Exit(ExitCode.ABORTED)
