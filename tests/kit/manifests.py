"""Lines of manifests, good and bad: for each code of a line one that produces it."""

from __future__ import annotations

import json
from typing import Any, NamedTuple


def values(*found: Any) -> tuple[Any, ...]:
    """JSON values of any kind."""
    return found


D = dict[str, Any]
"""Members of a line."""
MOMENT = "2026-11-27T10:00:00.000"
NUMBERS = iter(range(1_000_000))


def ref(number: int | None = None, bucket: str = "pictures") -> str:
    """An address, by default a new one."""
    return f"s3://{bucket}/{next(NUMBERS) if number is None else number:07d}.jpg"


def encoded(document: object) -> bytes:
    """One line of JSON, without its end."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def without(document: dict[str, Any], *names: str) -> dict[str, Any]:
    """A copy without some members."""
    return {name: value for name, value in document.items() if name not in names}


def label_metadata(name: str = "Robin", **changes: Any) -> dict[str, Any]:
    """Metadata of an image-level label."""
    return {
        "class-name": name,
        "confidence": 1,
        "type": "groundtruth/image-classification",
        "job-name": "labeling-job/label",
        "human-annotated": "yes",
        "creation-date": MOMENT,
    } | changes


def image_line(*names: str, source_ref: str | None = None, **more: Any) -> dict[str, Any]:
    """A line with image-level labels, by default ``Robin``."""
    line: dict[str, Any] = {"source-ref": source_ref or ref()}
    for number, name in enumerate(names or ("Robin",)):
        line |= {f"label{number}": 1, f"label{number}-metadata": label_metadata(name)}
    return line | more


def box(left: Any = 10, top: Any = 20, width: Any = 30, height: Any = 40, class_id: Any = 0) -> dict[str, Any]:
    """One annotation."""
    return {"class_id": class_id, "top": top, "left": left, "width": width, "height": height}


def size(width: float = 640, height: float = 480) -> list[dict[str, Any]]:
    """``image_size``."""
    return [{"width": width, "height": height, "depth": 3}]


def box_metadata(boxes: int = 1, **changes: Any) -> dict[str, Any]:
    """Metadata of a set of boxes."""
    return {
        "objects": [{"confidence": 0.9}] * boxes,
        "class-map": {"0": "Robin", "1": "Wren"},
        "type": "groundtruth/object-detection",
        "human-annotated": "no",
        "creation-date": MOMENT,
        "job-name": "labeling-job/boxes",
    } | changes


def box_line(
    *boxes: dict[str, Any], image_size: Any = None, metadata: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """A line with boxes, by default one."""
    annotations = list(boxes) or [box()]
    return {
        "source-ref": ref(),
        "boxes": {"image_size": size() if image_size is None else image_size, "annotations": annotations},
        "boxes-metadata": box_metadata(len(annotations)) if metadata is None else metadata,
    } | more


class Case(NamedTuple):
    """One line, and what is found in it.

    Attributes:
        content: The line without its end.
        state: What the service does with it: valid, dropped, invalid or ignored.
        codes: All codes that are found, in their order.
    """

    content: bytes
    state: str
    codes: tuple[str, ...]


def case(document: object, state: str, *codes: str) -> Case:
    """A case of a document, or of bytes."""
    return Case(document if isinstance(document, bytes) else encoded(document), state, codes)


_FORMAT = "ERROR_INVALID_LABEL_ATTRIBUTE_FORMAT"
_METADATA = "ERROR_INVALID_LABEL_ATTRIBUTE_METADATA_FORMAT"
_NONE = "ERROR_NO_VALID_LABEL_ATTRIBUTES"
_MULTI = label_metadata(type="groundtruth/image-classification-multilabel")
_GOOD_BOXES = {"boxes": box_line()["boxes"], "boxes-metadata": box_metadata()}

CASES: list[Case] = [
    # -- good lines
    case(image_line(), "valid"),
    case(image_line("Robin", "Wren"), "valid"),
    case(box_line(), "valid"),
    case(box_line(**image_line()), "valid"),
    case(image_line(label0=-7), "valid"),
    case(b" \t" + encoded(image_line()) + b" ", "valid"),
    case(
        image_line(**D({"label0-metadata": label_metadata(confidence=0, **{"creation-date": "2026-11-27 10:00:00Z"})})),
        "valid",
    ),
    case(image_line(**D({"label0-metadata": without(label_metadata(), "job-name")})), "valid"),
    case(image_line("\u2028x" * 127), "valid"),
    case(image_line("x" * 255), "valid"),
    case(image_line(*(f"l{number}" for number in range(50))), "valid"),
    case(box_line(*[box()] * 50), "valid"),
    case(box_line(box(0, 0, 640, 480)), "valid"),
    case(box_line(box(0, 0, 2, 2), image_size=size(64, 64)), "valid"),
    case(box_line(box(0, 0, 4, 4), image_size=size(4096, 4096)), "valid"),
    case(box_line(image_size=size(1280, 64)), "valid"),
    case(image_line(**D({"cl-metadata": {}, "errors": [], "line-idx": 3})), "valid"),
    # -- dropped
    case(b"{", "dropped", "ERROR_INVALID_JSON_LINE"),
    case(b"[]", "dropped", "ERROR_INVALID_JSON_LINE"),
    case(b'{"a":NaN}', "dropped", "ERROR_INVALID_JSON_LINE"),
    case(b'{"a":1} // x', "dropped", "ERROR_INVALID_JSON_LINE"),
    case(b'{"a":"\xff"}', "dropped", "ERROR_INVALID_JSON_LINE"),
    case(b"\xef\xbb\xbf" + encoded(image_line()), "dropped", "ERROR_INVALID_JSON_LINE"),
    case(b'{"a":' + b"[" * 100 + b"]" * 100 + b"}", "dropped", "ERROR_INVALID_JSON_LINE"),
    case(b'{"a":' + b"[" * 90_000 + b"}", "dropped", "ERROR_INVALID_JSON_LINE"),
    case(b'{"a":\x0b1}', "dropped", "ERROR_INVALID_JSON_LINE"),
    case(b"{'a':1}", "dropped", "ERROR_INVALID_JSON_LINE"),
    case(b"", "dropped", "BLANK_LINE"),
    case(b" \t ", "dropped", "BLANK_LINE"),
    case(image_line() | {"x": " " * 100_000}, "dropped", "LINE_TOO_LONG", "UNPAIRED_KEY", "ATTRIBUTE_TOO_LONG"),
    case(b'{"x":"' + b"y" * 2_000_000 + b'"}', "dropped", "LINE_TOO_LONG"),
    case(without(image_line(), "source-ref"), "dropped", "ERROR_MISSING_SOURCE_REF"),
    case({}, "dropped", "ERROR_MISSING_SOURCE_REF", "ERROR_NO_LABEL_ATTRIBUTES"),
    *(
        case(image_line(**D({"source-ref": value})), "dropped", "ERROR_INVALID_SOURCE_REF_FORMAT")
        for value in values(
            *("https://pictures/a.jpg", "S3://pictures/a.jpg", "s3://pictures", "s3://pictures/", "s3://ab/a.jpg"),
            *("s3:///a.jpg", "s3://pic tures/a.jpg", " s3://pictures/a.jpg", "s3://pictures/" + "ü" * 513, "", 3, None),
            *(["s3://pictures/a.jpg"], "s3://" + "b" * 256 + "/a.jpg"),
        )
    ),
    case(
        encoded(image_line(source_ref="s3://pictures/X")).replace(b"X", b"\\ud800"),
        "dropped",
        "ERROR_INVALID_SOURCE_REF_FORMAT",
    ),
    # -- ignored and invalid lines
    case({"source-ref": ref()}, "ignored", "WARNING_UNANNOTATED_RECORD"),
    case(
        {"source-ref": ref(), "cl-metadata": {}, "line-idx": 1, "errors": []}, "ignored", "WARNING_UNANNOTATED_RECORD"
    ),
    case({"source-ref": ref(), "label": 1}, "invalid", "ERROR_NO_LABEL_ATTRIBUTES", "UNPAIRED_KEY"),
    case(
        {"source-ref": ref(), "x": 1, "auto-metadata": label_metadata()},
        *("invalid", "ERROR_NO_LABEL_ATTRIBUTES", "UNPAIRED_KEY", "UNPAIRED_KEY"),
    ),
    *(case(image_line(label0=value), "invalid", _FORMAT, _NONE) for value in ("0", 1.0, True, None, [1], "x")),
    case(image_line(label0={}), "invalid", _FORMAT, _NONE),
    *(
        case(image_line(**D({"label0-metadata": metadata})), "invalid", _METADATA, _NONE)
        for metadata in values(
            *(3, [], "x", None),
            *(
                label_metadata(**D({name: value}))
                for name, value in (("class-name", ""), ("class-name", 3), ("job-name", 1))
            ),
            *(label_metadata(confidence=value) for value in (-0.1, 1.1, "1", True, None, 99)),
            *(label_metadata(**D({"human-annotated": value})) for value in ("Yes", True, None, ["yes"])),
            *(
                label_metadata(**D({"creation-date": value}))
                for value in ("2026-11-27", "yesterday", 1, "2026-13-27T10:00")
            ),
            *(label_metadata(type=value) for value in (3, None)),
            *(
                without(label_metadata(), name)
                for name in ("confidence", "class-name", "type", "human-annotated", "creation-date")
            ),
        )
    ),
    case(box_line(boxes=3), "invalid", _FORMAT, _NONE),
    case(box_line(boxes={"image_size": size(), "annotations": {}}), "invalid", _FORMAT, _NONE),
    *(
        case(box_line(image_size=value), "invalid", _FORMAT, _NONE)
        for value in (size()[0], [], size() * 2, [{"width": 640, "height": 480}], size(0, 480), size(-1, 480), [3], "x")
    ),
    *(
        case(box_line(value, box()), "invalid", _FORMAT, _NONE)
        for value in values(
            *(without(box(), name) for name in ("class_id", "top", "left", "width", "height")),
            *(box(class_id=value) for value in ("0", 0.0, True, None)),
            *(box(left=value) for value in values("1", None, True, [])),
        )
    ),
    case(box_line(box(width="3"), box(top=None)), "invalid", _FORMAT, _FORMAT, _NONE),
    *(
        case(box_line(metadata=value), "invalid", _METADATA, _NONE)
        for value in values(
            *(box_metadata(**D({"class-map": value})) for value in values([], None, {"0": ""}, {"0": 3})),
            *(box_metadata(objects=value) for value in values({}, None)),
            *(without(box_metadata(), name) for name in ("objects", "class-map", "type", "creation-date")),
        )
    ),
    case(image_line(label0=[1], **D({"label0-metadata": _MULTI})), "invalid", "ERROR_UNSUPPORTED_USE_CASE_TYPE", _NONE),
    case(image_line("x" * 256), "invalid", "ERROR_INVALID_LABEL_NAME_LENGTH", _NONE),
    case(
        box_line(metadata=box_metadata(**D({"class-map": {"0": "x" * 256}}))),
        "invalid",
        "ERROR_INVALID_LABEL_NAME_LENGTH",
        _NONE,
    ),
    *(
        case(
            box_line(box(), box(), metadata=box_metadata(objects=value)),
            "invalid",
            "ERROR_MISSING_BOUNDING_BOX_CONFIDENCE",
            _NONE,
        )
        for value in values(
            [],
            [{"confidence": 1}],
            [{"confidence": 1}, {}],
            [{"confidence": "1"}, {"confidence": 1}],
            [1, 1],
        )
    ),
    case(box_line(box(class_id=7)), "invalid", "ERROR_MISSING_CLASS_MAP_ID", _NONE),
    *(
        case(box_line(box(0, 0, 9, 9), image_size=size(*sides)), "invalid", "ERROR_INVALID_IMAGE_DIMENSION")
        for sides in ((63, 640), (640, 63), (4097, 640), (640, 4097))
    ),
    case(box_line(box(0, 0, 9, 9), image_size=size(1300, 64)), "invalid", "ERROR_INVALID_IMAGE"),
    case(
        box_line(box(0, 0, 9, 9), image_size=size(1300, 60)),
        "invalid",
        "ERROR_INVALID_IMAGE_DIMENSION",
        "ERROR_INVALID_IMAGE",
    ),
    *(
        case(box_line(value), "invalid", "ERROR_INVALID_BOUNDING_BOX", "ERROR_NO_VALID_ANNOTATIONS")
        for value in (box(left=-1), box(top=-1), box(left=611), box(top=441), box(width=-3), box(height=-3))
    ),
    case(box_line(box(), box(left=-1)), "valid", "ERROR_INVALID_BOUNDING_BOX"),
    case(box_line(box(), box(width=1)), "valid", "ERROR_BOUNDING_BOX_TOO_SMALL"),
    case(
        box_line(box(0, 0, 2, 9), image_size=size(2560, 480)),
        "invalid",
        "ERROR_BOUNDING_BOX_TOO_SMALL",
        "ERROR_NO_VALID_ANNOTATIONS",
    ),
    case(box_line(*[box()] * 51), "invalid", "ERROR_TOO_MANY_BOUNDING_BOXES"),
    case(
        box_line(
            *[box()] * 26,
            more={"image_size": size(), "annotations": [box()] * 25},
            **D({"more-metadata": box_metadata(25)}),
        ),
        *("invalid", "ERROR_TOO_MANY_BOUNDING_BOXES"),
    ),
    case(image_line(*(f"l{number}" for number in range(51))), "invalid", "TOO_MANY_LABELS"),
    *(
        case(
            box_line(boxes={"image_size": size(), **value}),
            "ignored",
            "WARNING_NO_ATTRIBUTE_ANNOTATIONS",
            "WARNING_NO_ANNOTATIONS",
        )
        for value in values({"annotations": []}, {}, {"annotations": None})
    ),
    case(
        image_line(boxes={"image_size": size(), "annotations": []}, **D({"boxes-metadata": box_metadata(0)})),
        "valid",
        "WARNING_NO_ATTRIBUTE_ANNOTATIONS",
    ),
    # -- attributes that are not used, beside others that are
    case(image_line("Robin", "Wren", label1="x"), "valid", _FORMAT),
    case(image_line(**D({"label0-metadata": 3}), **_GOOD_BOXES), "valid", _METADATA),
    case(
        image_line(**D({"x": 1, "x-metadata": label_metadata(type="groundtruth/label-verification")})),
        "valid",
        "ERROR_UNSUPPORTED_USE_CASE_TYPE",
    ),
    case(
        image_line(**_GOOD_BOXES | {"boxes": {"image_size": size(), "annotations": [box(left=-1)]}}),
        "valid",
        "ERROR_INVALID_BOUNDING_BOX",
    ),
    # -- warnings and notices
    case(box_line(box(left=0.5)), "valid", "FRACTIONAL_PIXELS"),
    case(box_line(box(left=610.1, width=29.9)), "valid", "FRACTIONAL_PIXELS"),
    *(
        case({"source-ref": ref(), name: 1, f"{name}-metadata": label_metadata()}, "valid", "BAD_ATTRIBUTE_NAME")
        for name in ("a-ref", "$a", "a-metadata-b")
    ),
    case(encoded(image_line()).replace(b'"label0":1', b'"label0":2,"label0":1'), "valid", "DUPLICATE_KEY"),
    case(encoded(image_line()).replace(b'"confidence":1', b'"confidence":1,"confidence":1'), "valid", "DUPLICATE_KEY"),
    case(image_line(other=1), "valid", "UNPAIRED_KEY"),
    case(image_line(**D({"other-metadata": {"failure-reason": "x"}})), "valid", "UNPAIRED_KEY"),
    case(image_line(**D({"label0-metadata": label_metadata(note="x" * 20_001)})), "valid", "ATTRIBUTE_TOO_LONG"),
    case(image_line("Robin", "Robin"), "valid", "DUPLICATE_LABEL"),
]
"""One line or more for each code that one line by itself can have."""
