"""``--fix`` saves what can be saved, loses nothing, and a second time changes nothing."""

from __future__ import annotations

import io
import json
from typing import Any, NamedTuple

import pytest

from asyncfilter.datasets.manifests.codes import Consequence, Severity
from asyncfilter.datasets.manifests.fixing import Fixer
from asyncfilter.datasets.manifests.line_checks import read_manifest
from asyncfilter.datasets.manifests.multi_label import BadMultiLabelError, turned
from asyncfilter.datasets.manifests.validation import validate
from tests.kit.manifests import (
    CASES,
    D,
    box,
    box_line,
    box_metadata,
    encoded,
    image_line,
    label_metadata,
    ref,
    size,
    without,
)

NOW = "2026-11-28T00:00:00.000"


class Fixed(NamedTuple):
    """The result of a repair."""

    out: bytes
    rejected: bytes
    counts: tuple[int, int, int]

    @property
    def documents(self) -> list[dict[str, Any]]:
        """The lines of the output."""
        return [json.loads(line) for line in self.out.split(b"\n")[:-1]]


def fixed(body: bytes) -> Fixed:
    """Repair a manifest."""
    source, out, rejected = io.BytesIO(body), io.BytesIO(), io.BytesIO()
    fixer = Fixer(source, out=out, rejected=rejected, creation_date=NOW)
    result = validate(source, file="a.manifest", on_line=fixer.add)
    counts = (fixer.kept, fixer.repaired, fixer.rejected)
    assert sum(counts) == result.tally.lines
    return Fixed(out.getvalue(), rejected.getvalue(), counts)


def check_sound(done: Fixed) -> None:
    """Nothing is wrong with a line of the output, and a second repair changes nothing."""
    for checked in read_manifest(io.BytesIO(done.out)):
        assert not any(
            found.severity is Severity.ERROR or found.effect is Consequence.DROPPED for found in checked.findings
        ), checked.findings
    again = fixed(done.out)
    assert again.out == done.out
    assert again.counts == (done.counts[0] + done.counts[1], 0, 0)


def test_good_lines_are_unchanged() -> None:
    """Byte for byte, whatever their form, in their order; a last line without an end gets one."""
    good = [case.content for case in CASES if case.state in {"valid", "ignored"} and not case.codes]
    odd = b'\t{ "source-ref" : "s3://pictures/\\u00e9", "extra" : 1e5 }  '
    body = b"\r\n".join([*good, encoded({"source-ref": ref()}), odd.replace(b', "extra" : 1e5', b"")])
    done = fixed(body)
    assert done == Fixed(body + b"\n", b"", (len(good) + 2, 0, 0))
    check_sound(done)


def test_every_case_is_saved_or_set_aside() -> None:
    """All bad lines together: lines in are lines out, and what is set aside is unchanged and in order."""
    body = b"\n".join(case.content for case in CASES)
    done = fixed(body)
    check_sound(done)
    kept_or_set_aside = set(done.out.split(b"\n")) | set(done.rejected.split(b"\n"))
    changed = [case.content for case in CASES if case.content not in kept_or_set_aside]
    assert len(changed) == done.counts[1]
    order = [line for line in done.rejected.split(b"\n")[:-1] if line]
    assert order == [case.content for case in CASES if case.content in set(order)]


def one(document: object) -> dict[str, Any] | None:
    """The repaired line; None when it was set aside."""
    body = document if isinstance(document, bytes) else encoded(document)
    done = fixed(body)
    check_sound(done)
    assert done.rejected == (b"" if done.out else body)
    return done.documents[0] if done.out else None


def test_defaults() -> None:
    """What metadata lack and a default exists for is added."""
    line = image_line()
    bare = without(line["label0-metadata"], "confidence", "human-annotated", "creation-date")
    found = one(line | {"label0": "0", "label0-metadata": bare})
    assert found is not None
    assert found["label0"] == 0
    assert found["label0-metadata"] == bare | {"confidence": 1, "human-annotated": "no", "creation-date": NOW}
    boxes = box_line(box(), box(), metadata=without(box_metadata(), "objects"))
    found = one(boxes)
    assert found is not None
    assert found["boxes-metadata"]["objects"] == [{"confidence": 1}] * 2
    found = one(box_line(box(), box(), metadata=box_metadata(1)))
    assert found is not None
    assert found["boxes-metadata"]["objects"] == [{"confidence": 0.9}, {"confidence": 1}]


@pytest.mark.parametrize(
    "metadata",
    [
        label_metadata(confidence=95),
        label_metadata(**D({"human-annotated": "Yes"})),
        label_metadata(**D({"creation-date": "today"})),
        without(label_metadata(), "class-name"),
        without(label_metadata(), "type"),
        label_metadata("x" * 256),
    ],
)
def test_what_is_wrong_and_not_missing_is_not_guessed(metadata: dict[str, Any]) -> None:
    """Such a line is set aside; beside a good attribute, only the bad one goes."""
    assert one(image_line(**D({"label0-metadata": metadata}))) is None
    line = image_line("Robin", "Wren")
    assert one(line | {"label0-metadata": metadata}) == without(line, "label0", "label0-metadata")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (box(0.5, 0.4, 10.2, 10), box(1, 0, 10, 10)),
        (box(-5, -5, 20, 20), box(0, 0, 15, 15)),
        (box(630, 470, 20, 20), box(630, 470, 10, 10)),
        (box(-5.4, 3, 2000.5, 5.5), box(0, 3, 640, 6)),
        (box(10.4, 10.4, 1.1, 9.2), box(10, 10, 2, 10)),
    ],
)
def test_boxes_come_into_the_frame(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Fractions are rounded by their edges, what leaves the frame is cut; nothing that was large enough gets lost."""
    found = one(box_line(before))
    assert found is not None
    assert found["boxes"]["annotations"] == [after]


@pytest.mark.parametrize("bad", [box(700, 0), box(-40, 0), box(width=-3), box(height=1), box(0, 479.5)])
def test_boxes_that_cannot_be_saved_go_with_their_objects(bad: dict[str, Any]) -> None:
    """The others keep their own confidences; a line without any is set aside."""
    objects = [{"confidence": number / 10} for number in range(3)]
    found = one(box_line(box(1), bad, box(2), metadata=box_metadata(objects=objects)))
    assert found is not None
    assert found["boxes"]["annotations"] == [box(1), box(2)]
    assert found["boxes-metadata"]["objects"] == [objects[0], objects[2]]
    assert one(box_line(bad)) is None
    line = image_line()
    assert one(box_line(bad, **line)) == line


def test_a_byte_order_mark_goes() -> None:
    """The line behind it is the line."""
    line = image_line()
    assert one(b"\xef\xbb\xbf" + encoded(line)) == line
    assert one(b"\xef\xbb\xbf{") is None


def test_repeated_addresses() -> None:
    """The first line that can be kept is; a broken one does not stand in the way of a good one."""
    address = ref()
    broken, good, later = (
        encoded(image_line(source_ref=address) | {"label0-metadata": 3}),
        encoded(image_line("Wren", source_ref=address)),
        encoded(image_line("Crow", source_ref=address)),
    )
    done = fixed(b"\n".join([broken, good, later, encoded({"source-ref": address})]))
    assert done.out == good + b"\n"
    assert done.rejected == broken + b"\n" + later + b"\n" + encoded({"source-ref": address})
    assert done.counts == (1, 0, 3)
    check_sound(done)


def test_long_lines_are_set_aside_whole() -> None:
    """A line that is too long to be held is copied byte for byte, and those around it are saved."""
    long = b'{"x":"' + b"y" * 3_000_000 + b'"}'
    good = encoded(image_line())
    done = fixed(good + b"\n" + long + b"\r\n" + encoded(image_line()) + b"\n" + long)
    assert done.rejected == long + b"\r\n" + long
    assert done.counts == (2, 0, 2)


MULTI = {
    "class-map": {"0": "Robin", "3": "Wren"},
    "confidence-map": {"0": 0.5},
    "type": "groundtruth/image-classification-multilabel",
    "human-annotated": "yes",
    "creation-date": NOW,
    "job-name": "labeling-job/x",
}
OTHERS = {"human-annotated": "yes", "creation-date": NOW, "job-name": "labeling-job/x"}


def test_multi_label_lines_are_turned() -> None:
    """Each id becomes an attribute of its own, in order, with the type that the service takes."""
    kind = "groundtruth/image-classification"
    line = {"source-ref": ref(), "x": [3, 0], "x-metadata": MULTI, "y": 1}
    assert one(line) == {
        "source-ref": line["source-ref"],
        "x0": 1,
        "x0-metadata": {"class-name": "Wren", "confidence": 0, "type": kind, **OTHERS},
        "x1": 1,
        "x1-metadata": {"class-name": "Robin", "confidence": 0.5, "type": kind, **OTHERS},
        "y": 1,
    }
    assert one({"source-ref": "s3://pictures/a", "x": [], "x-metadata": MULTI}) == {"source-ref": "s3://pictures/a"}
    for bad in ({"x": [7]}, {"x": 3}, {"x0": 1}, {"x": [True]}):
        with pytest.raises(BadMultiLabelError):
            turned(line | bad)
        assert one(line | bad) is None


def test_numbers_and_text_survive_a_repair() -> None:
    """What was not repaired has the same value afterwards."""
    more: D = {"big": 2**70, "small": 1e-30, "text": 'é\u2028\x7f"\\/', "list": [1.5, None, True]}
    line = image_line(**more) | {"label0": "3"}
    assert one(line) == line | {"label0": 3}
    assert one(encoded(line).replace(b"1e-30", b"1e999")) is None
    assert one(encoded(line).replace(b'"list"', b'"\\ud800"')) is None


def test_sizes_that_are_no_size_are_left() -> None:
    """Boxes without a frame cannot be cut."""
    assert one(box_line(box(0.5), image_size=size(0, 3))) is None
