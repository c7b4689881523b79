"""``asyncfilter answers``: the commands about what people say, each in a module of its own."""

from __future__ import annotations

from asyncfilter.cli.lazy import Entry, Group
from asyncfilter.cli.options import help_text

ANSWERS = Group(
    help=help_text(
        "Set, list, import, export and merge what people say about the images of a job, or of a folder of pictures. No "
        "run is disturbed; `run`, `refilter` and `apply` obey new answers when they start.",
        "asyncfilter answers set job.yaml birds/0017.jpg keep",
        "asyncfilter answers set job.yaml s3://raw/birds/0017.jpg none     take one's own last word back",
        "asyncfilter answers list job.yaml --verdict unresolved            what people do not agree on",
        "asyncfilter answers export job.yaml --format label-studio --all-images -o tasks.json",
        "asyncfilter answers import job.yaml export.json                   what came back",
        "asyncfilter answers merge job.yaml ../laptop/robins.answers.db",
    ),
    short_help="Set, list, import and export what people say about images.",
    commands={
        "set": Entry("asyncfilter.cli.answers.set", "Say keep, reject or unsure about one image."),
        "list": Entry("asyncfilter.cli.answers.list", "Show what people said."),
        "import": Entry(
            "asyncfilter.cli.answers.import_", "Import answers from Label Studio, Ground Truth, CSV, JSON."
        ),
        "export": Entry("asyncfilter.cli.answers.export", "Write answers for Label Studio, Ground Truth, CSV, JSON."),
        "merge": Entry("asyncfilter.cli.answers.merge", "Merge other answers files into this one."),
    },
)
"""The group, with its commands in the order of the help."""
