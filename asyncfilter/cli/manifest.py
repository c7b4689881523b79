"""``asyncfilter manifest``: the commands about manifests, each in a module of its own."""

from __future__ import annotations

from asyncfilter.cli.lazy import Entry, Group
from asyncfilter.cli.options import help_text

MANIFEST = Group(
    help=help_text(
        "Write, check and convert manifests of Amazon Rekognition Custom Labels: JSON Lines, each with the labels or "
        "boxes of one image.",
        "asyncfilter manifest from-run job.yaml -o train.manifest",
        "asyncfilter manifest from-folders s3://my-bucket/birds/ -o train.manifest",
        "asyncfilter manifest validate train.manifest     what the service would refuse or drop",
        "asyncfilter manifest stats train.manifest        what a manifest holds",
    ),
    short_help="Write, check and convert manifests of Custom Labels.",
    commands={
        "from-run": Entry("asyncfilter.cli.manifest_from_run", "Write a manifest from the images that a run examined."),
        "from-csv": Entry("asyncfilter.cli.manifest_from_csv", "Write a manifest from a CSV file of labels or boxes."),
        "from-folders": Entry("asyncfilter.cli.manifest_from_folders", "Write a manifest: folders are labels."),
        "validate": Entry("asyncfilter.cli.manifest_validate", "Check a manifest by all rules of the service."),
        "stats": Entry("asyncfilter.cli.manifest_stats", "Show what a manifest holds."),
        "convert": Entry("asyncfilter.cli.manifest_convert", "Convert from and to SageMaker's lines, COCO, VOC, YOLO."),
        "split": Entry("asyncfilter.cli.manifest_split", "Split a manifest into training and test."),
        "merge": Entry("asyncfilter.cli.manifest_merge", "Merge manifests, one line an image."),
    },
)
"""The group, with its commands in the order of the help."""
