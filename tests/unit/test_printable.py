"""Untrusted text is shown harmlessly: escapes for what does not print, no passwords of URLs, no markup, no formulas."""

from __future__ import annotations

import ast
import csv
import io
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Group
from rich.panel import Panel
from rich.table import Table

import asyncfilter
from asyncfilter.datasets.exports.csv_lines import CsvLines, no_formula
from asyncfilter.datasets.exports.duplicates import DuplicateGroup, write_groups_csv
from asyncfilter.errors import AccessError, JobError, Problem
from asyncfilter.job import load_job
from asyncfilter.notebook import isolated, table
from asyncfilter.printable import printable, printable_json, printable_lines, without_secrets
from asyncfilter.report.logs import open_log
from asyncfilter.report.terminal.text import ExportOnTerminal, PlainConsole, Text

HOSTILE = {
    "title": "a\x1b]0;PWNED\x07.jpg",
    "cursor": "a\x1b[2J\x1b[H.jpg",
    "C1": "a\x9b31m\x85b",
    "backspace": "secret\x08\x08\x08\x08\x08\x08public",
    "return": "a.jpg\rfinished",
    "newline": "a.jpg\nerror: all is lost",
    "delete": "a\x7f\x7fb",
    "null": "a\x00b",
    "override": "a\u202egpj.exe",
    "isolate": "a\u2067b\u2069\u2066c",
    "marks": "a\u200e\u200f\u061cb",
    "zero width": "pa\u200bypal\u200d\u2060\ufeff",
    "separators": "a\u2028b\u2029c\x0bd\x0ce",
    "surrogate": "a\udc80\ud800b",
    "tags": "a\U000e0041\U000e007f",
    "soft hyphen": "a\xadb",
    "annotation": "a\ufff9b\ufffac\ufffb",
}
ACTS = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
    r"|[\U000e0000-\U000e007f]"
)
"""Characters that must never reach a terminal; a newline is checked separately."""
MARKUP = ["[red]a[/red].jpg", "[link=http://evil]a[/link]", ":skull: [/] [bold", "[@click=app.quit]x[/]"]


@pytest.mark.parametrize("key", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_acts_is_shown_as_an_escape(key: str) -> None:
    """Nothing is dropped: the escapes can be read back."""
    shown = printable(key)
    assert not ACTS.search(shown)
    assert "\n" not in shown
    assert shown.encode("ascii").decode("unicode_escape") == key


@pytest.mark.parametrize("key", ["a b+c%20.jpg", "é 日本 👍🏽.jpg", "שלום.jpg", "a\\b", "[red]x"])
def test_what_prints_stays(key: str) -> None:
    """Also letters that are written from right to left, and a backslash."""
    assert printable(key) is key


@given(st.text())
def test_any_text_is_one_harmless_line(text: str) -> None:
    """And one that is shown again stays the same."""
    shown = printable(text)
    assert not ACTS.search(shown)
    assert len(shown.splitlines()) <= 1
    assert printable(shown) == shown


@given(st.text(), st.text())
def test_lines_stay_lines(one: str, two: str) -> None:
    """A text of several lines has as many afterwards."""
    shown = printable_lines(f"{one}\n{two}")
    assert ACTS.sub("", shown.replace("\t", "")) == shown.replace("\t", "")
    assert shown.count("\n") == one.count("\n") + two.count("\n") + 1


@given(st.text())
def test_json_is_exact_and_harmless(text: str) -> None:
    """The value that is read is the value that was written."""
    shown = printable_json(json.dumps({text: text}, ensure_ascii=False))
    assert json.loads(shown) == {text: text}
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c\u2028\u2029]", shown)


# -- Where text leaves the program -------------------------------------------------------------------------------------


def drawn(renderable: Any, width: int = 200) -> str:
    """What a console of a terminal with colours writes, without its own styles."""
    out = io.StringIO()
    PlainConsole(file=out, width=width, force_terminal=True, color_system="truecolor", highlight=False).print(
        renderable
    )
    return re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())


@pytest.mark.parametrize("key", [*HOSTILE.values(), *MARKUP])
def test_a_console_shows_text_in_every_place(key: str) -> None:
    """As a string, as text, appended, assembled, in tables and panels, as their titles."""
    grid = Table(title=Text(key))
    grid.add_column(Text(key))
    grid.add_row(key)
    grid.add_row(Text.assemble("x", (key, "bold")))
    grid.add_row(Text("x").append(key, "red"))
    seen = drawn(Group(key, Text(key), grid, Panel(Text(key, "bold"), title=Text(key))), width=400)
    assert seen.count(printable(key)) == 9
    assert not ACTS.search(seen)


def test_only_one_text_is_drawn() -> None:
    """No module uses rich's own text, which passes control characters on, or a console that reads markup."""
    wrong = []
    for path in sorted(Path(asyncfilter.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = {alias.name for alias in node.names} if isinstance(node, ast.Import | ast.ImportFrom) else set()
            module = node.module if isinstance(node, ast.ImportFrom) else ""
            is_base = path.parts[-2:] == ("terminal", "text.py")
            if not is_base and ((module == "rich.text" and "Text" in names) or "rich.text" in names):
                wrong.append(str(path))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Console":
                wrong.append(str(path))
    assert wrong == []


@pytest.mark.parametrize("colours", [False, True])
@pytest.mark.parametrize("key", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_log_line_is_one_line(key: str, colours: bool) -> None:
    """As the value of a field, in a list and in a mapping; styles of the log itself stay."""
    lines: list[str] = []
    log = open_log(lines.append, level="info", as_json=False, colours=colours)
    log.warning("image_failed", key=key, message=f"s3://b/{key}: no", several=[key], mapping={key: key})
    (line,) = lines
    text = re.sub(r"\x1b\[[0-9;]*m", "", line)
    assert not ACTS.search(text)
    assert text.count("\n") == 1
    assert printable(key) in text


@pytest.mark.parametrize("key", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_json_log_is_exact(key: str) -> None:
    """Its line has escapes of JSON, and its value is the key."""
    lines: list[str] = []
    open_log(lines.append, level="info", as_json=True, colours=False).info("x", key=key)
    assert json.loads(lines[0])["key"] == key
    assert not ACTS.search(lines[0])


@pytest.mark.parametrize("key", HOSTILE.values(), ids=HOSTILE.keys())
def test_an_export_on_a_terminal_shows_escapes(key: str) -> None:
    """JSON stays exact; CSV has one line for each image."""
    out = io.StringIO()
    ExportOnTerminal(out, is_json=True).write(json.dumps(key, ensure_ascii=False) + "\n")
    if key.isprintable() or not re.search(r"[\ud800-\udfff\U000e0000-\U000e007f]", key):
        assert not ACTS.search(out.getvalue())
    assert json.loads(out.getvalue()) == key
    out = io.StringIO()
    ExportOnTerminal(out, is_json=False).write(f"1,{key}\r\n")
    assert not ACTS.search(out.getvalue())


@pytest.mark.parametrize("key", [*HOSTILE.values(), "<script>alert(1)</script>", "\"'><img src=x>"])
def test_html_shows_escapes(key: str) -> None:
    """In tables of notebooks."""
    html = table(key, [(key, key)])
    assert not ACTS.search(html)
    assert "<script" not in html
    assert "<img src=x" not in html


def test_html_isolates_what_runs_from_right_to_left() -> None:
    """A name in Hebrew does not move the figures beside it."""
    assert isolated("שלום 12.jpg") == "<bdi>שלום 12.jpg</bdi>"
    assert isolated("a.jpg") == "a.jpg"


# -- URLs --------------------------------------------------------------------------------------------------------------

URLS = {
    "http://user:hunter2@proxy:8080/x": "http://proxy:8080/x",
    "HTTPS://hunter2@host": "HTTPS://host",
    "socks5h://u:hunter2@[::1]:1080": "socks5h://[::1]:1080",
    "https://u:hun/hunter2@host/": "https://host/",
    "https://u:p@hunter2@host/x": "https://host/x",
    "https://b.s3.amazonaws.com/k?X-Amz-Algorithm=A&X-Amz-Signature=hunter2&x=1": "https://b.s3.amazonaws.com/k?...",
    "https://b/k?x=1&AWSAccessKeyId=A&Signature=hunter2": "https://b/k?...",
}
HARMLESS = ["s3://bucket/a@b.jpg", "http://host:8080/a@b", "see https://host/x?y=1", "a@b", "u:p@h", "s3://b/a:b@c"]


@pytest.mark.parametrize(("url", "shown"), URLS.items())
def test_urls_lose_user_and_signature(url: str, shown: str) -> None:
    """In the middle of a sentence, in quotes, and twice."""
    assert without_secrets(f"cannot connect to '{url}', {url} then") == f"cannot connect to '{shown}', {shown} then"
    error = AccessError(f"no answer from {url}", hint=None)
    assert "hunter2" not in f"{error} {error.message} {error!r}"
    job_error = JobError([Problem(file="f", line=1, column=1, key="k", message=f"found {url}")])
    assert "hunter2" not in f"{job_error} {job_error.problems}"


@pytest.mark.parametrize("text", HARMLESS)
def test_other_text_stays(text: str) -> None:
    """Keys hold any character."""
    assert without_secrets(text) == text


@pytest.mark.parametrize(
    "text", ["a://" * 30_000, "http://" + "@" * 120_000, "?" * 120_000 + "://=", "h://?a" * 20_000]
)
def test_a_long_message_takes_no_time(text: str) -> None:
    """Messages of a server are not trusted either."""
    began_s = time.process_time()
    without_secrets(f"{text}@=x")
    assert time.process_time() - began_s < 5


def test_an_address_with_a_password_is_refused_without_it(tmp_path: Path) -> None:
    """The job file's own error does not repeat it."""
    path = tmp_path / "job.yaml"
    path.write_text("version: 1\nname: t\nsource: https://me:hunter2@raw/\nrules: [{keep: {any: Bird}}]\n")
    with pytest.raises(JobError) as found:
        load_job(path)
    assert "hunter2" not in str(found.value)


# -- Spreadsheets ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["=1+1", "+cmd|x", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1", "\uff20x"])
def test_no_cell_is_a_formula(cell: str) -> None:
    """With the option the cell is text; without it the data are exact."""
    for is_spreadsheet, seen in ((True, f"'{cell}"), (False, cell)):
        out = io.StringIO()
        CsvLines(out, ("a", "b"), is_spreadsheet=is_spreadsheet).write((cell, -1))
        assert list(csv.reader(io.StringIO(out.getvalue(), newline="")))[1] == [seen, "-1"]
        out = io.StringIO()
        write_groups_csv([DuplicateGroup(etag=cell, size_bytes=1, keys=[cell])], out, is_spreadsheet=is_spreadsheet)
        assert list(csv.reader(io.StringIO(out.getvalue(), newline="")))[1] == ["1", seen, "1", seen]


@pytest.mark.parametrize("cell", ["a=1", "'=1", " =1", 5, -5, None, ""])
def test_other_cells_stay(cell: object) -> None:
    """Numbers too."""
    assert no_formula(cell) is cell
