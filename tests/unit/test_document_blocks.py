"""How blocks of documents are found, and how shown output is compared: a difference is never overlooked."""

from __future__ import annotations

import pytest

from tests.kit.documents import ROOT, Block, Step, blocks, steps


def shown(*lines: str, figures_vary: bool = False) -> Step:
    """A command with this output."""
    return Step("README.md:1", "asyncfilter plan job.yaml", lines, figures_vary)


@pytest.mark.parametrize(
    ("step", "printed", "agrees"),
    [
        (shown("one", "two"), ["one", "two"], True),
        (shown("one", "two"), ["one  ", "two"], True),
        (shown("one", "two"), ["one"], False),
        (shown("one"), ["one", "two"], False),
        (shown("one"), ["One"], False),
        (shown("one", "..."), ["one"], True),
        (shown("one", "...", "four"), ["one", "two", "three", "four"], True),
        (shown("one", "...", "four"), ["one", "two", "three"], False),
        (shown("took ... s"), ["took 3.2 s"], True),
        (shown("took ... s"), ["took 3.2 h"], False),
        (shown("a ... b"), ["a", "b"], False),
        (shown("12 kept, $0.10"), ["13 kept, $0.10"], False),
        (shown("12 kept, $0.10", figures_vary=True), ["3 kept, $1,000.00"], True),
        (shown("12 kept, $0.10", figures_vary=True), ["12 lost, $0.10"], False),
        (shown("12 kept.", figures_vary=True), ["12 kept"], False),
        (shown(), ["anything"], True),
    ],
)
def test_output_agrees_only_if_it_is_the_same(step: Step, printed: list[str], agrees: bool) -> None:
    """Lines are compared whole; ``...`` and, where figures vary, numbers are all that may differ."""
    assert step.agrees(printed) is agrees


def test_steps_have_their_command_output_and_answers() -> None:
    """A command may go on in the next line; an answer follows its question."""
    text = "$ one \\\n    --more\nout\n$ two\nPay for it? [y/N] y\nType 1,000 to continue: 1000\n"
    text += "Keep [Bird]: Robin, Tree\nBudget [1.00]:\n$ A=1 three 'a b' 2>&1 | B=2 four && five  # and; six\n"
    found = list(steps(Block("README.md", 5, "console", text)))
    assert [(step.place, step.command) for step in found] == [
        ("README.md:5", "one \\\n    --more"),
        ("README.md:8", "two"),
        ("README.md:13", "A=1 three 'a b' 2>&1 | B=2 four && five  # and; six"),
    ]
    assert [step.shown for step in found[::2]] == [("out",), ()]
    assert found[1].answers == ["y", "1000", "Robin, Tree", ""]
    assert found[2].programs == ["three", "four", "five"]


def test_a_console_block_begins_with_a_command() -> None:
    """Output without a command is a mistake, not something to skip."""
    with pytest.raises(AssertionError, match="begins with a command"):
        list(steps(Block("README.md", 5, "console", "out\n$ one\n")))


def test_blocks_of_readme_are_found() -> None:
    """The job and every console block, at their lines."""
    found = blocks("README.md")
    assert [block.file_name for block in found if block.language == "yaml"] == ["job.yaml"]
    assert len([block for block in found if block.language == "console"]) >= 4
    lines = ["", *(ROOT / "README.md").read_text("utf-8").splitlines()]
    assert all(block.text.startswith(f"{lines[block.line]}\n") for block in found)
