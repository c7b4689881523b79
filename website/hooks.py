"""Hooks of the MkDocs build: pages from files outside of ``docs/``, links to them, the API, and the notebook.

Documents link to each other and to files of the repository by relative paths, so that they are readable on the
repository's own pages. The site has a page for each such file that a document refers to; a link to a file without a
page is a warning, and an error in a strict build.
"""

from __future__ import annotations

import html
import json
import logging
import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_LOG = logging.getLogger("mkdocs.hooks.asyncfilter")

_ROOT = Path(__file__).resolve().parents[1]
_DOCS = "docs"

_COPIES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/results/results.md": "benchmarks/results.md",
    "benchmarks/results/cpu.svg": "benchmarks/cpu.svg",
    "benchmarks/results/rates.svg": "benchmarks/rates.svg",
    "benchmarks/results/memory.svg": "benchmarks/memory.svg",
}
"""Files of the repository that have a page or a copy on the site, by their paths there."""

_ALIASES = {
    "README.md": "index.md",
    "config": "examples/jobs.md",
    "docs/examples/notebook.ipynb": "examples/notebook.md",
}
"""Files and folders of the repository for which another page of the site stands."""

_LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)\s#]+)")
_FENCE = re.compile(r"^(\s*)(`{3,}).*?^\1\2\s*$", re.MULTILINE | re.DOTALL)


# -- Pages -------------------------------------------------------------------------------------------------------------


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages of the commands into the navigation, in the order of their index."""
    index = "commands/README.md"
    rows = re.findall(r"^\| \[`([^`]+)`\]\((\S+)\)", (_ROOT / _DOCS / index).read_text("utf-8"), re.MULTILINE)
    pages = [{name: f"commands/{file}"} for name, file in rows]
    for section in _sections(config.nav):
        if index in section:
            section += [page for page in pages if page not in section]
    return config


def _sections(nav: Any) -> Iterator[list[Any]]:
    if isinstance(nav, list):
        yield nav
        for entry in nav:
            if isinstance(entry, dict):
                for child in entry.values():
                    yield from _sections(child)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and pictures whose sources are not in ``docs/``."""
    for source, target in _COPIES.items():
        files.append(File.generated(config, target, abs_src_path=str(_ROOT / source)))
    files.append(File.generated(config, "examples/jobs.md", content=_jobs()))
    files.append(File.generated(config, "examples/notebook.md", content=_notebook()))
    for module in MODULES:
        files.append(File.generated(config, f"api/{module or 'asyncfilter'}.md", content=_api(module)))
    return files


def on_page_markdown(markdown: str, /, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Replace links that leave ``docs/`` by links to the pages of the site."""
    del config
    if page.is_homepage:
        page.meta.setdefault("hide", ["navigation"])  # here, as front matter is shown on the repository's own page
    source = _repository_path(page.file.src_uri)
    shown = page.file.src_uri

    def moved(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), found[1]))
        place = _place(target)
        if place is None or files.get_file_from_path(place) is None:
            _LOG.warning("%s: no page of the site stands for %s", source, target)
            return found[1]
        return posixpath.relpath(place, posixpath.dirname(shown) or ".")

    return _outside_of_code(markdown, lambda text: _LINK.sub(moved, text))


def _repository_path(uri: str) -> str:
    """The path in the repository of a page of the site."""
    for source, target in _COPIES.items():
        if target == uri:
            return source
    return posixpath.join(_DOCS, uri)


def _place(path: str) -> str | None:
    """The page of the site for a file of the repository."""
    if path in _ALIASES:
        return _ALIASES[path]
    if path in _COPIES:
        return _COPIES[path]
    return path.removeprefix(f"{_DOCS}/") if path.startswith(f"{_DOCS}/") else None


def _outside_of_code(markdown: str, change: Callable[[str], str]) -> str:
    parts, at = [], 0
    for fence in _FENCE.finditer(markdown):
        parts += [change(markdown[at : fence.start()]), fence[0]]
        at = fence.end()
    return "".join([*parts, change(markdown[at:])])


# -- Nothing from elsewhere --------------------------------------------------------------------------------------------

_FOREIGN = re.compile(r"<(?:script|img|link|iframe|source|video|audio)\b[^>]*\b(?:src|href)=[\"']?(https?:)?//[^\s>]*")
_FOREIGN_STYLE = re.compile(r"(?:url\([\"']?|@import\s+[\"'])(?:https?:)?//[^\s)]*")


def on_post_build(*, config: MkDocsConfig) -> None:
    """Warn of what a page would fetch from another host: scripts, pictures, styles, fonts."""
    for path in sorted(Path(config.site_dir).rglob("*")):
        pattern = {".html": _FOREIGN, ".css": _FOREIGN_STYLE, ".svg": _FOREIGN_STYLE}.get(path.suffix)
        if pattern is not None and (found := pattern.search(path.read_text("utf-8"))):
            _LOG.warning("%s fetches from another host: %s", path.relative_to(config.site_dir), found[0])


# -- Generated pages ---------------------------------------------------------------------------------------------------


def _jobs() -> str:
    """The job files of ``config/``."""
    parts = [
        f"## {path.name}\n\n```yaml\n{path.read_text('utf-8').rstrip()}\n```"
        for path in sorted((_ROOT / "config").glob("*.yaml"))
    ]
    return "\n\n".join(["# Job files\n\nCommented job files to begin with, from `config/`.", *parts]) + "\n"


MODULES = ("", "clock", "errors", "events", "job", "model", "ports", "testing")
"""The public modules, below the package."""


def _api(module: str) -> str:
    """The public names of a module, from docstrings."""
    path = f"asyncfilter.{module}".rstrip(".")
    introduction = "" if module else "[From Python](../python.md) is the introduction.\n\n"
    return f"# {path}\n\n{introduction}::: {path}\n    options:\n      show_root_heading: false\n"


# -- The notebook ------------------------------------------------------------------------------------------------------


def _notebook() -> str:
    """The example notebook with its outputs."""
    notebook = json.loads((_ROOT / _DOCS / "examples" / "notebook.ipynb").read_text("utf-8"))
    return "\n\n".join(text for cell in notebook["cells"] for text in _cell(cell)) + "\n"


def _cell(cell: dict[str, Any]) -> Iterator[str]:
    source = "".join(cell["source"]).rstrip()
    if cell["cell_type"] == "markdown":
        yield source
        return
    yield f"```python\n{source}\n```"
    for output in cell["outputs"]:
        if output["output_type"] == "stream":
            yield f'```text title="Output"\n{"".join(output["text"]).rstrip()}\n```'
        elif found := output["data"].get("text/html"):
            yield f'<div class="notebook-output">{"".join(found)}</div>'
        else:
            yield f'<pre class="notebook-output">{html.escape("".join(output["data"]["text/plain"]))}</pre>'
