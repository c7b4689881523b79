"""``asyncfilter answers export``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asyncfilter.cli import deferred
from asyncfilter.cli.answers.options import AnswersFile, Target, reviewer_of
from asyncfilter.cli.manifest_output import CreationDate, command_moment, open_output
from asyncfilter.cli.manifest_writers import checked_s3_path
from asyncfilter.cli.nothing import nothing_told
from asyncfilter.cli.options import (
    STDOUT,
    ResultOptions,
    Settings,
    command_group,
    help_text,
    refuse_two_for_stdout,
    takes_options,
)
from asyncfilter.cli.questions import check_replaced
from asyncfilter.cli.reading import load_for_answers
from asyncfilter.cli.result_file import open_result
from asyncfilter.cli.run_lines import read_sizes, sizes_path
from asyncfilter.cli.stderr import print_err
from asyncfilter.cli.terminal import write_json
from asyncfilter.datasets.answers.detecting import AnswerFormat
from asyncfilter.datasets.answers.label_studio_tasks import labelling_config
from asyncfilter.datasets.manifests.model import ImageSize
from asyncfilter.errors import UsageError
from asyncfilter.model import uri_of
from asyncfilter.records.answers import Subject
from asyncfilter.report.answer_exchange import export_lines, export_mapping

if TYPE_CHECKING:
    from asyncfilter.wiring.answer_exports import AnswerExport, ExportOptions, SizeOf
    from asyncfilter.wiring.answers import AnswersPlace

app = command_group()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceOptions:
    """The options of which answers are written, in which format and where."""

    format_: Annotated[
        AnswerFormat,
        typer.Option("--format", metavar="FORMAT", help="jsonl, csv, label-studio or ground-truth."),
    ] = AnswerFormat.JSONL
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="The file to write; - is stdout.")] = (
        STDOUT
    )
    reviewer: Annotated[
        str | None,
        typer.Option("--reviewer", metavar="NAME", help="Only what this person said.", show_default=False),
    ] = None
    all_images: Annotated[
        bool,
        typer.Option("--all-images", help="For Label Studio: every image with labels, and not only those answered."),
    ] = False
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="For Label Studio: write the labelling configuration to this file.",
            show_default=False,
        ),
    ] = None
    s3_path: Annotated[
        str | None,
        typer.Option(
            "--s3-path",
            metavar="PREFIX",
            help="s3://BUCKET/PREFIX under which the images are; needed for a manifest of a folder.",
            show_default=False,
        ),
    ] = None
    creation_date: CreationDate = None

    def checked(self) -> ExportOptions:
        """What they say, but for files.

        Raises:
            UsageError: One cannot be used, or is for another format.
        """
        for is_given, option in ((self.all_images, "--all-images"), (self.config is not None, "--config")):
            if is_given and self.format_ is not AnswerFormat.LABEL_STUDIO:
                raise UsageError(f"{option} is for Label Studio alone", hint="Add --format label-studio.")
        return deferred.ExportOptions(
            format_=self.format_,
            reviewer=None if self.reviewer is None else reviewer_of(self.reviewer, option="--reviewer"),
            all_images=self.all_images,
            s3_path=checked_s3_path(self.s3_path),
            creation_date=command_moment(self.creation_date),
        )


@app.command(
    "export",
    help=help_text(
        "Write people's answers: every row as JSON Lines (jsonl), which loses nothing; or the current answer of each "
        "image as CSV, as tasks of Label Studio with the machine's predictions, or as a manifest of Ground Truth. Its "
        "boxes need the sizes of the pictures: these are read from their first bytes, once, and kept in "
        "CHECKPOINT.sizes.",
        "asyncfilter answers export job.yaml > answers.jsonl",
        "asyncfilter answers export job.yaml --format csv -o answers.csv",
        "asyncfilter answers export job.yaml --format label-studio --all-images --config labels.xml -o tasks.json",
        "asyncfilter answers export job.yaml --format ground-truth -o answers.manifest",
        "asyncfilter answers export ./photos --format ground-truth --s3-path s3://my-bucket/photos",
    ),
)
@takes_options
def export(
    target: Target,
    *,
    chosen: ChoiceOptions,
    answers: AnswersFile = None,
    settings: Settings = None,
    options: ResultOptions,
) -> None:
    """Export answers."""
    output, config, format_ = chosen.output, chosen.config, chosen.format_
    refuse_two_for_stdout(as_json=options.as_json, option="--output", target=output)
    checked = chosen.checked()
    place = deferred.find_answers(target, answers=answers, settings=settings or (), load=load_for_answers)
    with ExitStack() as stack:
        with nothing_told(as_json=options.as_json):
            exported = stack.enter_context(deferred.AnswerExport(place, checked))
        check_replaced([Path(one) for one in (output, config) if one not in {None, STDOUT}], yes=options.yes)
        size_of = stack.enter_context(_sizes(place, exported, format_))
        out = stack.enter_context(open_output(output, yes=True))
        counts = exported.write(out, size_of)
        if config is not None:
            stack.enter_context(open_result("--config", config)).write(labelling_config(counts.labels).encode())
    if options.as_json:
        write_json(export_mapping(counts, format_=format_, output=output))
    else:
        for line in export_lines(counts, output=output):
            print_err(line)


@contextmanager
def _sizes(place: AnswersPlace, exported: AnswerExport, format_: AnswerFormat) -> Iterator[SizeOf]:
    """The sizes of pictures: those that a manifest needs are read first; for Label Studio those that are known.

    Raises:
        UsageError: The file of the sizes cannot be used.
        AccessError: No image can be read.
    """
    path = sizes_path(place.path if place.job is None else place.job.checkpoint)
    is_needed = next(exported.wanted(), None) is not None
    is_used = format_ in {AnswerFormat.LABEL_STUDIO, AnswerFormat.GROUND_TRUTH}
    if not is_needed and not (is_used and path.exists()):
        yield lambda _: None
        return
    from asyncfilter.datasets.manifests.image_journal import ImageJournal  # noqa: PLC0415  only for boxes

    with ImageJournal(path) as journal:
        if is_needed:
            read_sizes(exported.wanted(), journal, deferred.job_of(place))

        def size_of(subject: Subject) -> ImageSize | None:
            facts = journal.facts_at(uri_of(subject.bucket, subject.key), subject.etag)
            return None if facts is None else facts.size

        yield size_of
