"""The files of the review page: nothing from another host, nothing that its content security policy forbids."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "asyncfilter" / "review" / "page"
LOCK = ROOT / "requirements" / "page" / "package-lock.json"
OURS = sorted(
    path for path in PAGE.rglob("*") if path.suffix in {".js", ".css", ".html", ".svg"} and path.parent.name != "vendor"
)
VENDORED = ("preact", "htm", "@preact/signals", "@preact/signals-core")
MOST_LINES = 300


def locked() -> dict[str, dict[str, str]]:
    """The packages of the lock by name."""
    packages = json.loads(LOCK.read_text())["packages"]
    return {path.removeprefix("node_modules/"): one for path, one in packages.items() if path}


def test_the_bundle_is_of_the_locked_packages() -> None:
    """The bundle names its packages with their versions and licences, and each licence is beside it."""
    header = (PAGE / "vendor" / "preact.js").read_text().splitlines()[0]
    packages = locked()
    for name in VENDORED:
        assert f"{name} {packages[name]['version']} ({packages[name]['license']})" in header
        assert (PAGE / "vendor" / f"LICENSE-{name.replace('@', '').replace('/', '-')}.txt").stat().st_size > 500


def test_the_lock_is_hashed_and_names_no_host() -> None:
    """Each package has its hash; where it comes from is the business of whoever installs it."""
    packages = locked()
    assert set(VENDORED) <= set(packages)
    assert all(one["integrity"].startswith("sha512-") for one in packages.values())
    assert not re.findall(r'"resolved"|https?://(?!.*(?:funding|github|opencollective))', LOCK.read_text())


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.relative_to(PAGE).as_posix())
def test_page_files_stay_inside(path: Path) -> None:
    """No address of another host, no inline script or style, no way round Trusted Types, no control characters."""
    text = path.read_text()
    assert not [one for one in re.findall(r"https?://[^\s\"'`<)]+", text) if "www.w3.org" not in one]
    assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text)
    if path.suffix == ".html":
        assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son[a-z]+=", text)
    assert text.isascii() or not re.search("[\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c]", text)
    assert len(text.splitlines()) <= MOST_LINES


def test_every_import_is_there() -> None:
    """Each module imports files of the page only, and names that these export."""
    for path in OURS:
        if path.suffix != ".js":
            continue
        for names, source in re.findall(r'import (?:\{([^}]*)\} from )?"([^"]+)"', path.read_text()):
            imported = (path.parent / source).resolve()
            assert imported.is_relative_to(PAGE), (path, source)
            text = imported.read_text()
            for name in filter(None, (one.split(" as ")[0].strip() for one in names.split(","))):
                exported = re.search(rf"export [\w* ]*\b{re.escape(name)}\b|as {re.escape(name)}[,}}]", text)
                assert exported, (path.name, source, name)
