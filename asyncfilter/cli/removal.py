"""``asyncfilter apply`` and ``asyncfilter undo``: the plan, the question, and the doing."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asyncfilter.cli.options import Events, JobPath, Json, Settings, described
from asyncfilter.cli.signals import Signals
from asyncfilter.errors import UsageError

if TYPE_CHECKING:
    from asyncfilter.job.spec import Job
    from asyncfilter.policy.removal import RemovalPlan

INTERRUPTED = 75
_DECLINED = 130
DEFAULT_MAX_SHARE = 0.5

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; needs --expect.")]
Expect = Annotated[
    int | None,
    typer.Option(
        "--expect", metavar="N", min=0, help="How many images: any other number does nothing.", show_default=False
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show the plan.")]
Verb = Callable[..., Coroutine[Any, Any, Any]]


def register(app: typer.Typer) -> None:
    """Add both commands to ``app``."""
    app.command(
        "apply",
        help=described(
            "Move and delete the images that the job's rules condemn. It shows how many, why and what can be undone, "
            "and asks for the number. What changed since it was examined is left and reported. Ctrl-C ends it gently, "
            "and the same command goes on.",
            "asyncfilter apply job.yaml --dry-run            the plan alone",
            "asyncfilter apply job.yaml",
            "asyncfilter apply job.yaml --max-share 0.7      allow more than half to go",
            "asyncfilter apply job.yaml --yes --expect 1234  in scripts",
            "asyncfilter apply job.yaml --stale              delete copies that changed rules no longer make",
        ),
    )(apply)
    app.command(
        "undo",
        help=described(
            "Bring back what apply took out of the source: moved images, and deleted ones where the bucket keeps "
            "versions. What stands in their place now is never overwritten.",
            "asyncfilter undo job.yaml --dry-run",
            "asyncfilter undo job.yaml",
            "asyncfilter undo job.yaml --yes --expect 1234",
        ),
    )(undo)


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
            help="Most of the examined images (of the copies) that may be gone, 0 to 1.",
        ),
    ] = DEFAULT_MAX_SHARE,
    again: Annotated[bool, typer.Option("--again", help="Propose also images that undo brought back.")] = False,
    stale: Annotated[
        bool, typer.Option("--stale", help="Instead, delete copies that the rules no longer make.")
    ] = False,
    dry_run: DryRun = False,
    expect: Expect = None,
    events: Events = None,
    json_: Json = False,
    yes: Yes = False,
) -> None:
    """Move and delete; the exit code is the summary's."""
    from asyncfilter import wiring  # noqa: PLC0415  brings AWS's client with it

    if stale and again:
        raise UsageError("--again is about images, --stale about copies", hint="Give one of them.")
    plan = functools.partial(wiring.plan_apply, again=again, stale=stale)
    verb = functools.partial(wiring.apply, again=again, stale=stale)
    question = "Delete these copies?" if stale else "Take these images out of the source?"
    _Removal(job, settings, plan, verb, question, max_share).go(
        dry_run=dry_run, expect=expect, events=events, as_json=json_, yes=yes
    )


def undo(
    job: JobPath,
    *,
    settings: Settings = None,
    dry_run: DryRun = False,
    expect: Expect = None,
    events: Events = None,
    json_: Json = False,
    yes: Yes = False,
) -> None:
    """Bring back; the exit code is the summary's."""
    from asyncfilter import wiring  # noqa: PLC0415  brings AWS's client with it

    question = "Bring these images back?"
    _Removal(job, settings, wiring.plan_undo, wiring.undo, question, None).go(
        dry_run=dry_run, expect=expect, events=events, as_json=json_, yes=yes
    )


class _Removal:
    """One command line."""

    def __init__(  # noqa: PLR0917  one of our own
        self,
        path: JobPath,
        settings: list[str] | None,
        plan: Verb,
        verb: Verb,
        question: str,
        max_share: float | None,
    ) -> None:
        self._path = path
        self._settings = settings
        self._plan = plan
        self._verb = verb
        self._question = question
        self._max_share = max_share

    def go(self, *, dry_run: bool, expect: int | None, events: str | None, as_json: bool, yes: bool) -> None:
        """Show the plan; when somebody agrees to it, carry it out."""
        if as_json and events == "-":
            raise UsageError("--json and --events - both want stdout", hint="Give --events the name of a file.")
        if yes and expect is None and not dry_run:
            raise UsageError("--yes alone agrees to nothing", hint="Add --expect N, the number of images.")
        from asyncfilter.job.load import load_job  # noqa: PLC0415

        with Signals() as signals:
            try:
                job = load_job(self._path, overrides=self._settings or ())
                import anyio  # noqa: PLC0415  --help does not wait for it

                plan = anyio.run(self._plan, job)
                self._show(plan, dry_run=dry_run, as_json=as_json)
                if dry_run:
                    return
                self._agree(plan, expect=expect, yes=yes)
                code = self._carry_out(job, plan, signals, events=events, as_json=as_json)
            except KeyboardInterrupt:
                raise typer.Exit(INTERRUPTED) from None
        raise typer.Exit(code)

    def _show(self, plan: RemovalPlan, *, dry_run: bool, as_json: bool) -> None:
        from asyncfilter.cli.terminal import show, talk, write_json  # noqa: PLC0415
        from asyncfilter.report.removal import draw_plan, plan_mapping  # noqa: PLC0415

        drawn = draw_plan(plan, self._max_share)
        if not dry_run:
            talk().print(drawn)
        elif as_json:
            write_json({"dry_run": True, "plan": plan_mapping(plan, self._max_share)})
        else:
            show(drawn)

    def _agree(self, plan: RemovalPlan, *, expect: int | None, yes: bool) -> None:
        """Return when somebody agrees to this very plan.

        Raises:
            UsageError: ``--expect`` is another number, too much would go, or there is nobody to ask.
            typer.Exit: Another number was typed.
        """
        from asyncfilter.cli.terminal import ask_number, say  # noqa: PLC0415
        from asyncfilter.policy.removal import Consent  # noqa: PLC0415

        share = 1.0 if self._max_share is None else self._max_share
        Consent(images=plan.images if expect is None else expect, max_share=share).check(plan)
        if yes or not plan.images:
            return
        if not ask_number(self._question, plan.images):
            say("That is another number: nothing was done.")
            raise typer.Exit(_DECLINED)

    def _carry_out(self, job: Job, plan: RemovalPlan, signals: Signals, *, events: str | None, as_json: bool) -> int:
        from asyncfilter.cli.removing import conduct  # noqa: PLC0415
        from asyncfilter.cli.terminal import talk, write_json  # noqa: PLC0415
        from asyncfilter.policy.removal import Consent  # noqa: PLC0415
        from asyncfilter.report.removal import draw_removal, removal_mapping  # noqa: PLC0415

        share = 1.0 if self._max_share is None else self._max_share
        consent = Consent(images=plan.images, max_share=share, digest=plan.digest)
        summary = conduct(functools.partial(self._verb, job, consent), plan.images, signals, events)
        if not as_json:
            talk().print(draw_removal(summary, job, plan))
        else:
            write_json(removal_mapping(summary, plan, self._max_share))
        return summary.exit_code
