"""A line with what the service adds to it: its errors, where they are, and whether it is labelled."""

from __future__ import annotations

import msgspec

from asyncfilter.sandbox.custom_labels.judgement import judge


def annotated(line: bytes) -> str:
    """The line as ListDatasetEntries returns it."""
    judged = judge(line)
    document = dict(judged.document)
    document["cl-metadata"] = {"is_labeled": bool(judged.labels or judged.boxes)}
    return msgspec.json.encode(document).decode()
