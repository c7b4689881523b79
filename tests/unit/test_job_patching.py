"""Numbers of a job file are changed, and not one byte beside them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncfilter.errors import UsageError
from asyncfilter.job import yaml_positions
from asyncfilter.job.patching import confidence_paths, number_text, patched
from asyncfilter.model import Verdict

KEEP = ("rules", 1, "keep", "confidence")
REVIEW = ("rules", 2, "review", "confidence")

JOB = """\
# A job, with umlauts: \u00e4\u00f6\u00fc \U0001f426 and a 85 in a comment
version: 1
name: robins
rules:
  - reject: {any: [Person 85], confidence: 85}   # not this 85
  - keep: {any: ["Robin, 85", \u00dcberflieger], confidence: 85.0}  # but this 85.0
  - review:
      any: Robin
      confidence:   60   # and this
otherwise: reject
"""


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_only_the_numbers_change(line_end: str, bom: bytes) -> None:
    """Comments, spaces, quotes, line ends and a byte order mark stay."""
    content = bom + JOB.replace("\n", line_end).encode()
    found = patched(content, "job.yaml", {REVIEW: 55.5, KEEP: 72.0})
    wanted = content.replace(b"85.0}", b"72}").replace(b"  60 ", b"  55.5 ")
    assert found.content == wanted
    assert found.changes == (
        ("rules[1].keep.confidence", 6, "85.0", "72"),
        ("rules[2].review.confidence", 9, "60", "55.5"),
    )


def test_what_is_so_already_is_no_change() -> None:
    """85.0 is 85: the file keeps its own spelling."""
    found = patched(JOB.encode(), "job.yaml", {KEEP: 85.0})
    assert (found.changes, found.content) == ((), JOB.encode())


def test_each_condition_of_a_list_has_its_own_number() -> None:
    """A rule may have several conditions; all of them have the threshold."""
    text = 'rules:\n- keep:\n  - {any: A, confidence: 80}\n  - any: B\n    confidence: "80"\n'
    document = yaml_positions.read(text, "job.yaml")
    paths = confidence_paths(document, 0, Verdict.KEEP)
    found = patched(text.encode(), "job.yaml", dict.fromkeys(paths, 70.0))
    assert found.content == text.replace('"80"', "70").replace("80", "70").encode()


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("{any: A, confidence: &c 85}", "anchor"),
        ("{any: A, confidence: *c}", "anchor"),
        ("{<<: *m, any: A}", "anchor"),
        ("{any: A}", "not written"),
    ],
)
def test_a_number_that_cannot_be_changed_alone_is_refused(rule: str, why: str) -> None:
    """A number that others share, or that is not there, is named with its way out."""
    head = "other: &c 85\nmap: &m {confidence: 85}\nuser: *m\n" if "&c" not in rule else "map: &m {confidence: 85}\n"
    tail = "\nuse: *c\n" if "&c" in rule else "\n"
    text = f"{head}rules:\n- keep: {rule}{tail}"
    with pytest.raises(UsageError, match=why) as raised:
        patched(text.encode(), "job.yaml", {("rules", 0, "keep", "confidence"): 72.0})
    assert "--set rules[0].keep.confidence=72" in (raised.value.hint or "")


@given(st.floats(0, 100).map(lambda pct: round(pct, 3)))
def test_a_number_is_read_back_as_it_was(pct: float) -> None:
    """Whatever the threshold, YAML reads the same number."""
    text = number_text(pct)
    assert yaml_positions.read(f"a: {text}", "x").value == {"a": pct}
