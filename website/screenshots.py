"""``python -m website.screenshots [NAME...]``: screenshots of commands that really run, on a sandbox.

Each command runs on a pseudo-terminal; what the terminal shows at its end, or in the middle of a run, becomes
``docs/images/NAME.svg``. The pictures contain text, not pixels, and load nothing from anywhere: the font is the
reader's own. Times and rates differ from run to run, so a new set is committed when the output has changed.
"""

from __future__ import annotations

import csv
import html
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import rich.text
from PIL import Image
from rich.console import Console

from asyncfilter.sandbox import BucketSpec, SamplesSpec, SandboxOptions, SandboxProcess, syntax
from tests.kit.terminal import Terminal

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
COLUMNS = 92
_FOLDER = "/home/ada/photos"
"""Shown for a temporary folder, whose name is as long, so that frames stay whole."""
_PREFIX = "/opt/asyncfilter"
"""Shown for the folder of this Python."""

JOBS = {
    "job.yaml": """\
version: 1
name: robins
source: s3://raw-images/
rules:
  - reject: {any: [Person], confidence: 85}
  - keep:   {any: [Robin], confidence: 85}
  - review: {any: [Robin], confidence: 60}
otherwise: reject
actions:
  keep:   {copy: "s3://clean-images/robin/{key}"}
  review: {copy: "s3://review-images/robin/{key}"}
limits: {budget_usd: 25}
""",
    "cleanup.yaml": """\
version: 1
name: cleanup
source: s3://raw-images/
rules:
  - reject: {none: [Bird], confidence: 60}
otherwise: keep
actions:
  reject: {move: "s3://quarantine/{name}/{key}"}
limits: {budget_usd: 5}
""",
}
"""Much as those of the how-tos; the source is another one, with broken and unsuitable pictures in it."""


Step = Sequence[str] | Callable[[Path], None]
"""A command line without the program, or something else that is done in the folder."""


class Shot(NamedTuple):
    """One picture.

    Attributes:
        name: Name of the picture; that of a command where the picture is to be on the command's page.
        command: The command line, without the program.
        hidden: What is added to it, and not shown.
        moment: What is shown: 1 is the end, 0.5 the redrawn display in the middle.
        reply: What is typed at the prompt.
        before: What is done first.
        lines: So many of the first lines are shown; None for all.
    """

    name: str
    command: Sequence[str]
    hidden: Sequence[str] = ()
    moment: float = 1
    reply: str = ""
    before: Sequence[Step] = ()
    lines: int | None = None


def _answer(folder: Path) -> None:
    """Answer the questions of an audit as a person would who knows robins."""
    with (folder / "questions.csv").open(newline="", encoding="utf-8") as asked:
        rows = list(csv.DictReader(asked))
    with (folder / "answers.csv").open("w", newline="", encoding="utf-8") as answers:
        writer = csv.DictWriter(answers, rows[0])
        writer.writeheader()
        writer.writerows({**row, "reviewer": "ada", "verdict": _word(row["key"])} for row in rows)


def _word(key: str) -> str:
    """Every twelfth robin is one that the person would not keep."""
    is_good = "robin" in key and zlib.crc32(key.encode()) % 12
    return "keep" if is_good else "reject"


def _damage(folder: Path) -> None:
    """Make of the manifest one in which three lines cannot be used."""
    lines = (folder / "birds.manifest").read_text("utf-8").splitlines()
    lines[4] = lines[4].replace('"yes"', '"perhaps"')
    lines[7] = lines[6]
    lines[9] = lines[9][:-1]
    (folder / "damaged.manifest").write_text("\n".join(lines) + "\n", "utf-8")


_PARTS = ("--train", "train.manifest", "--test", "test.manifest")
_POLL = ("--poll", "0.2", "--yes")

SHOTS = (
    Shot("help", ["--help"]),
    Shot("init", ["init", "s3://raw-images/raw/robin/", "-o", "first.yaml"], hidden=["--yes"]),
    Shot("doctor", ["doctor", "job.yaml"]),
    Shot("labels", ["labels", "s3://raw-images/raw/robin/0001.jpg", "s3://raw-images/raw/robin/0002.jpg"]),
    Shot("plan", ["plan", "job.yaml"]),
    Shot("sample", ["plan", "job.yaml", "--sample", "100", "--yes"]),
    Shot("bench", ["bench", "job.yaml", "--seconds", "20"], hidden=["--set", "name=bench"]),
    Shot("progress", ["run", "job.yaml"], hidden=["--fresh", "--yes"], moment=0.7),
    Shot("run", ["run", "job.yaml"], hidden=["--fresh", "--yes"]),
    Shot("status", ["status", "job.yaml"]),
    Shot("refilter", ["refilter", "job.yaml", "--set", "rules[1].keep.confidence=70"]),
    Shot("apply", ["apply", "cleanup.yaml"], reply="no\n", before=[["run", "cleanup.yaml"]]),
    Shot(
        "audit",
        ["audit", "job.yaml", "--precision", "0.8", "--format", "csv", "-o", "questions.csv"],
        hidden=["--milestones", "100,200"],
    ),
    Shot(
        "calibrate",
        ["calibrate", "job.yaml"],
        before=[_answer, ["answers", "import", "job.yaml", "answers.csv"]],
    ),
    Shot(  # of a fifth of the pictures, since a training takes its time
        "manifest-from-folders",
        ["manifest", "from-folders", "s3://raw-images/raw/", "-o", "birds.manifest"],
        hidden=["--include", "*0.jpg", "--include", "*5.jpg"],
    ),
    Shot("manifest-validate", ["manifest", "validate", "damaged.manifest"], before=[_damage]),
    Shot(
        "dataset-check",
        ["dataset", "check", "train.manifest", "test.manifest"],
        before=[["manifest", "split", "birds.manifest", *_PARTS]],
    ),
    Shot(
        "model-evaluate",
        ["model", "evaluate", "birds", "v1"],
        before=[
            ["model", "create", "birds", *_POLL],
            ["model", "import", "birds", *_PARTS, "--manifests", "s3://models/manifests/", *_POLL],
            ["model", "train", "birds", "--output", "s3://models/training/", "--version", "v1", *_POLL],
        ],
        lines=37,
    ),
    Shot("model-start", ["model", "start", "birds", "v1", "--for", "2h"], hidden=["--no-watcher", *_POLL]),
    Shot("model-list", ["model", "list"]),
    Shot("quota", ["quota"]),
    Shot("error", ["plan", "job.yaml", "--set", "limits.budjet_usd=5", "--set", "rules[1].keep.confidence=850"]),
)
"""In the order in which they are taken, in one folder."""


def main(names: Sequence[str]) -> int:
    """Make the pictures, all or those of the names; returns the exit code."""
    if unknown := set(names) - {shot.name for shot in SHOTS}:
        sys.stderr.write(f"no such picture: {', '.join(sorted(unknown))}\n")
        return 2
    with tempfile.TemporaryDirectory() as folder, SandboxProcess(_options()) as sandbox:
        studio = Studio(Path(folder), sandbox.environment())
        for shot in SHOTS:
            if not names or shot.name in names:
                svg = studio.take(shot)
                (IMAGES / f"{shot.name}.svg").write_text(svg, "utf-8")
                sys.stderr.write(f"{shot.name}: {len(svg) // 1000} kB\n")
        if not names:
            studio.take_page(IMAGES / "demo.jpg")
    return 0


def _options() -> SandboxOptions:
    return SandboxOptions(
        samples=(SamplesSpec("raw-images", 1500),),
        buckets=tuple(BucketSpec(name) for name in ("clean-images", "review-images", "quarantine", "models")),
        speed=3000,
        tps=50,
        latency=syntax.parse_latency("p50=150ms,p99=900ms"),
        faults=(syntax.parse_fault("throttle=0.5%"),),
    )


class Studio:
    """A folder with the jobs of the how-tos, in which commands run on a terminal.

    Args:
        folder: Working and home directory.
        environment: Variables that lead to the service.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            **environment,
        }
        self._outputs: dict[tuple[str, ...], str] = {}
        for name, text in JOBS.items():
            (folder / name).write_text(text, "utf-8")

    def take(self, shot: Shot) -> str:
        """The picture as SVG. Pictures of one command line are of one run."""
        for step in shot.before:
            if callable(step):
                step(self._folder)
            else:
                self._output(step)
        seen = self._output([*shot.command, *shot.hidden], reply=shot.reply)
        shown = seen.replace(sys.prefix, _PREFIX)
        if len(str(self._folder)) == len(_FOLDER):
            shown = shown.replace(str(self._folder), _FOLDER)
        return as_svg(
            screen(shown, shot.moment)[: shot.lines], title=f"asyncfilter {' '.join(shot.command)}", name=shot.name
        )

    def take_page(self, target: Path) -> None:
        """The review page of the demo, as a browser shows it; nothing where there is no browser."""
        browser = shutil.which("chromium") or shutil.which("google-chrome")
        if browser is None:
            sys.stderr.write("no Chromium: the page of the demo is left as it is\n")
            return
        picture = self._folder / "page.png"
        options = ["--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=1200,900", "--timeout=8000"]
        line = [sys.executable, "-m", "asyncfilter", "demo", "--review", "--json"]
        with subprocess.Popen(line, cwd=self._folder, env=self._env, stdout=subprocess.PIPE) as served:
            assert served.stdout is not None
            url = json.loads(served.stdout.readline())["urls"][0]["url"]
            command = [browser, *options, f"--screenshot={picture}", url]
            subprocess.run(command, check=True, capture_output=True, timeout=120)
            served.terminate()
        with Image.open(picture) as image:
            image.convert("RGB").save(target, quality=82, optimize=True)

    def _output(self, command: Sequence[str], *, reply: str = "") -> str:
        """The output of a command to its terminal, control sequences included."""
        if tuple(command) not in self._outputs:
            line = [sys.executable, "-m", "asyncfilter", *command]
            terminal = Terminal(line, folder=self._folder, env=self._env, columns=COLUMNS, lines=60)
            if reply:
                terminal.read_until("continue:")
                terminal.type(reply)
            terminal.end()
            self._outputs[tuple(command)] = terminal.seen
        return self._outputs[tuple(command)]


# -- The terminal ------------------------------------------------------------------------------------------------------

_PIECE = re.compile(r"\x1b\[(\??[0-9;]*)([A-Za-z])|\r|\n|[^\x1b\r\n]+")
_REDRAWN = re.compile(r"\r\x1b\[2K")
"""How Rich begins to draw a display again."""


def screen(seen: str, moment: float = 1) -> list[str]:
    """The lines that a terminal shows after the first part of an output.

    Rich redraws a display by moving up, clearing each line and writing it again; so a line is cleared or appended to,
    and never written over in its middle.

    Args:
        seen: The output, with control sequences.
        moment: How many of the displays that are redrawn are read; 1 reads the whole output.
    """
    drawings = [found.start() for found in _REDRAWN.finditer(seen)]
    if moment < 1 and drawings:
        seen = seen[: drawings[int(moment * len(drawings))]]
    lines, row = [""], 0
    for piece in _PIECE.finditer(seen):
        text, (number, kind) = piece[0], (piece[1], piece[2])
        if kind == "A":
            row = max(0, row - int(number or 1))
        elif kind == "K":
            lines[row] = ""
        elif text == "\n":
            row += 1
            if row == len(lines):
                lines.append("")
        elif text != "\r" and kind in (None, "m"):
            lines[row] += text
    while lines and not rich.text.Text.from_ansi(lines[-1]).plain.strip():
        lines.pop()
    return lines


# -- The picture -------------------------------------------------------------------------------------------------------

_FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img">
<title>TITLE</title>
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width;
}}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: system-ui, sans-serif; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
"""Rich's own form without its web font."""


def as_svg(lines: Sequence[str], *, title: str, name: str) -> str:
    """Lines with control sequences of colours as a picture of a terminal."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for line in lines:
        console.print(rich.text.Text.from_ansi(line), overflow="fold")
    console.print()  # what is below the base line of the last line is cut off
    svg = console.export_svg(title=title, code_format=_FORMAT, unique_id=f"shot-{name}")
    return "".join(_tidy(svg.replace("TITLE", html.escape(title), 1)))


def _tidy(svg: str) -> Iterator[str]:
    """Without blanks at the ends of lines, which git reports."""
    for line in svg.splitlines():
        if line.strip():
            yield line.rstrip() + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
