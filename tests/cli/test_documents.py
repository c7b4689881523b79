"""What the documents show is what the program does: their console and Python blocks are run, in order.

``tests.kit.reader`` states how a document is read. In the output that is shown, ``...`` stands for what varies or is
left out; below the comment ``<!-- figures vary -->`` numbers may be others. What cannot be run is in ``NOT_RUN`` there,
with the reason.
"""

from __future__ import annotations

import multiprocessing
import re
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor

import pytest
import yaml

from asyncfilter.job import parse_job
from tests.kit.documents import ROOT, blocks, steps
from tests.kit.jobs import job_document
from tests.kit.reader import NOT_RUN, read_document

DOCUMENTS = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/**/*.md"))]
RUN = [name for name in DOCUMENTS if any(block.language in {"console", "python"} for block in blocks(name))]
SHELLS = {"bash", "sh", "shell", "zsh"}
"""Languages in which commands would not be run: they belong in console blocks."""
INDENTED = re.compile(r"\n\n {4}(?:\$ )?(?:asyncfilter|aws|docker|make|pip|pipx|python3?|uv) ")
_AT_ONCE = 3
"""Documents that are read at the same time: most of their time is spent waiting for a rate to grow."""


@pytest.fixture(scope="module")
def readings(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[None]]]:
    """The selected documents, each being read in a process of its own."""
    selected = [item for item in request.session.items if isinstance(item, pytest.Function)]
    parameters = [item.callspec.params for item in selected if hasattr(item, "callspec")]
    chosen = [str(values["document"]) for values in parameters if "document" in values]
    with ProcessPoolExecutor(_AT_ONCE, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield {document: pool.submit(read_document, document, tmp_path_factory.mktemp("home")) for document in chosen}
        pool.shutdown(cancel_futures=True)


@pytest.mark.slow
@pytest.mark.parametrize("document", RUN)
def test_what_a_document_shows_is_what_happens(document: str, readings: dict[str, Future[None]]) -> None:
    """Every command of the document works as it is written, on a sandbox, and prints what is shown."""
    readings[document].result()


def test_every_block_of_commands_is_a_console_block() -> None:
    """No command is in a block that nobody runs."""
    for document in DOCUMENTS:
        for block in blocks(document):
            has_commands = block.language in SHELLS or block.text.startswith("$ ")
            assert block.language == "console" or not has_commands, f"{block.place}: make it a console block"
        assert not INDENTED.search((ROOT / document).read_text("utf-8")), f"{document}: make it a console block"


def test_what_is_not_run_is_in_some_document() -> None:
    """The list of programs that are not run has no entry that is no longer needed."""
    shown = {block for document in RUN for block in blocks(document) if block.language == "console"}
    assert NOT_RUN.keys() <= {program for block in shown for step in steps(block) for program in step.programs}


def test_parts_of_jobs_are_accepted() -> None:
    """Every YAML block without a file name is part of a job that loads."""
    for document in DOCUMENTS:
        for block in blocks(document):
            if block.language == "yaml" and block.file_name is None:
                parse_job(job_document(**yaml.safe_load(block.text)), base_dir="/work")
