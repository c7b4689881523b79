"""The documents of the site are those of the program, and nothing in them is made up."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import rich.text
from rich.console import Console, Group
from rich.live import Live

import asyncfilter
from tests.kit.workspace import bare_environment
from website.__main__ import ROOT, documents, stale
from website.commands import entries
from website.notebook import NOTEBOOK, run_cells
from website.screenshots import _FOLDER, IMAGES, SHOTS, Shot, Studio, as_svg, screen

GALLERY = ROOT / "docs" / "gallery.md"


def test_the_generated_documents_are_current() -> None:
    """Otherwise: ``python -m website``."""
    assert not [str(path.relative_to(ROOT)) for path in stale()]


@pytest.mark.parametrize("command", entries())
def test_the_page_of_a_command_has_every_option_of_its_help(command: str) -> None:
    """Every option that ``--help`` prints is on the page, and so is every line of its examples."""
    line = [sys.executable, "-m", "asyncfilter", *command.split(), "--help"]
    shown = subprocess.run(line, capture_output=True, text=True, check=True, timeout=30).stdout
    page = documents()[ROOT / "docs" / "commands" / f"{command.replace(' ', '-')}.md"]
    options = re.findall(r"^  (?:-\w, )?(--[\w-]+)", shown, re.MULTILINE)
    assert "--help" in options
    assert [option for option in options if f"`{option}" not in page] == []
    examples = shown.partition("Examples:\n")[2].partition("\n\n")[0].splitlines()
    assert examples
    assert [example for example in examples if example.strip() not in page] == []


def test_a_page_of_a_command_that_is_gone_is_stale(tmp_path: Path) -> None:
    """Pages are removed with their commands."""
    for name in ("docs/comparison.md", "benchmarks/results/results.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    gone = tmp_path / "docs" / "commands" / "gone.md"
    gone.parent.mkdir()
    gone.touch()
    assert stale(tmp_path)[gone] is None


def test_the_public_modules_have_a_page() -> None:
    """Those that the package's docstring names."""
    named = {f"asyncfilter.{name}" for name in re.findall(r"``asyncfilter\.(\w+)``", asyncfilter.__doc__ or "")}
    text = (ROOT / "website" / "hooks.py").read_text("utf-8")
    found = re.search(r"^MODULES = \((.*)\)$", text, re.MULTILINE)
    assert found is not None
    assert {f"asyncfilter.{name}".rstrip(".") for name in re.findall(r'"(\w*)"', found[1])} == named | {"asyncfilter"}
    navigation = (ROOT / "mkdocs.yml").read_text("utf-8")
    assert all(f"api/{name.removeprefix('asyncfilter.')}.md" in navigation for name in named)


# -- Screenshots -------------------------------------------------------------------------------------------------------


def test_every_picture_of_the_script_is_shown_and_every_other_one_is_gone() -> None:
    """The gallery shows all of them; no picture is left of a command that is not run any more."""
    names = {f"{shot.name}.svg" for shot in SHOTS}
    assert names == {path.name for path in IMAGES.glob("*.svg")} - {"favicon.svg"}
    shown = "".join(path.read_text("utf-8") for path in (ROOT / "docs").rglob("*.md"))
    assert [name for name in names if f"images/{name}" not in shown] == []


@pytest.mark.parametrize("path", sorted(IMAGES.glob("*.svg")), ids=lambda path: path.stem)
def test_a_picture_loads_nothing_and_shows_no_path_of_this_machine(path: Path) -> None:
    """No reference leads out of it, it has no script, and no folder of this machine is named."""
    text = path.read_text("utf-8")
    assert not re.findall(r"<script|<image|@import|(?:href|src)=|url\((?!#)", text)
    assert [folder for folder in ("/tmp/", "/work/", "/root/", "/home/") if folder in text.replace(_FOLDER, "")] == []


def test_the_screen_is_what_a_terminal_shows_of_a_redrawn_display() -> None:
    """Of a display, the drawing of the moment; lines above it stay; at the end nothing of it is left."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=40, color_system=None)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        for second in range(10):
            if second == 3:
                console.print("a warning")
            live.update(Group(f"second {second}", "a bar"), refresh=True)
    console.print("the end")
    assert [line for line in screen(out.getvalue()) if line] == ["a warning", "the end"]
    middle = screen(out.getvalue(), 0.6)
    assert middle[0] == "a warning"
    assert re.fullmatch(r"second [3-7]", middle[1])
    assert middle[2:] == ["a bar"]


def test_a_line_that_is_too_long_is_folded_and_markup_is_text() -> None:
    """Nothing of an output is lost."""
    svg = as_svg(["[red]" + "word " * 40], title="a <b>", name="long")
    shown = re.sub(r"<[^>]+>", "", svg).replace("&#160;", " ")
    assert shown.count("word") == 40
    assert "[red]" in shown
    assert "<title>a &lt;b&gt;</title>" in svg


def test_a_picture_is_of_a_command_that_ran(tmp_path: Path) -> None:
    """The program's own words, in its own colours."""
    studio = Studio(tmp_path, bare_environment(tmp_path))
    svg = studio.take(Shot("error", ["plan", "job.yaml", "--set", "limits.budjet_usd=5"]))
    shown = re.sub(r"<[^>]+>", " ", svg).replace("&#160;", " ")
    assert "nearest is" in " ".join(shown.split())
    assert "asyncfilter plan job.yaml" in " ".join(shown.split())


# -- The notebook ------------------------------------------------------------------------------------------------------


async def test_the_notebook_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cell runs, in order, on a sandbox; no image is paid for twice."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.setenv(name, "")  # so that the cells' own are taken back at the end
        monkeypatch.delenv(name)
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    stored = [output.get("text") for cell in cells for output in cell.get("outputs", ())]
    await run_cells(cells)
    outputs = [output for cell in cells if cell["cell_type"] == "code" for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} == {"execute_result", "stream"}
    assert any("0 calls" in line for output in outputs for line in output.get("text", ()))
    assert [output.get("text") for output in outputs] == stored, "otherwise: python -m website.notebook"


@pytest.mark.skipif(find_spec("nbclient") is None, reason="nbclient is not installed; the cells are run above")
def test_the_notebook_runs_in_jupyter() -> None:
    """The same in a kernel, where it can be had."""
    code = (
        "import nbformat, nbclient\n"
        f"notebook = nbformat.read({str(NOTEBOOK)!r}, 4)\n"
        "nbformat.validate(notebook)\n"
        "nbclient.NotebookClient(notebook, timeout=120).execute()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=240)


def test_from_ansi_reads_what_a_line_is_built_of() -> None:
    """The screen's lines keep their control sequences of colours."""
    (line,) = screen("\x1b[1mbold\x1b[0m plain\r\n")
    assert rich.text.Text.from_ansi(line).plain == "bold plain"
