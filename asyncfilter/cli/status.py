"""``asyncfilter status``."""

from __future__ import annotations

from asyncfilter.cli import deferred
from asyncfilter.cli.options import JobPath, ResultOptions, Settings, command_group, help_text, takes_options
from asyncfilter.cli.reading import open_for_reading
from asyncfilter.cli.terminal import print_out, write_json
from asyncfilter.fleet.note import read_noted
from asyncfilter.policy.cautions.label_names import uses_boxes
from asyncfilter.policy.removal_query import removal_query
from asyncfilter.report.terminal.status import draw_status, status_mapping

app = command_group()


@app.command(
    "status",
    help=help_text(
        "Show what the checkpoint of a job holds. Nothing is changed, and a run in progress is not disturbed. No "
        "service is called, but S3 where the checkpoint is kept there.",
        "asyncfilter status job.yaml",
        "asyncfilter status job.yaml --json",
    ),
)
@takes_options
def status(job: JobPath, *, settings: Settings = None, options: ResultOptions) -> None:
    """Show what a checkpoint holds."""
    loaded, checkpoint, copy = open_for_reading(job, settings or ())
    found = deferred.read_status(loaded.checkpoint, owner=None if copy is None else deferred.holder_of(copy))
    pending = deferred.count_pending(loaded.checkpoint, removal_query(loaded))
    answers = deferred.read_answers_state(loaded.answers_path, found.taken_over)
    labels = deferred.read_labels(loaded.checkpoint, boxes=uses_boxes(loaded))
    state = None
    if loaded.state is not None:
        state = deferred.read_state_status(loaded, *(() if copy is None else (copy.head, copy.age_s)))
    if options.as_json:
        holder = found.held_by
        workers = read_noted(checkpoint, since_unix_s=holder.since_unix_s) if holder is not None else None
        mapping = status_mapping(
            found, checkpoint, loaded, pending, labels, answers=answers, state=state, workers=workers
        )
        write_json(mapping)
    else:
        print_out(draw_status(found, checkpoint, loaded, pending, labels, answers=answers, state=state))
