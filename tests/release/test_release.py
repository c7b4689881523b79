"""What a release contains installs into a fresh environment and runs there; ``make release`` runs these tests.

``RELEASE_FOLDER`` is the folder with wheel, sdist and SBOM; without it they are built. Each environment is made for one
test. The index that pip is set up for must be reachable.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

import asyncfilter

ROOT = Path(__file__).resolve().parents[2]
PINS = ROOT / "requirements" / "run.txt"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
"""The versions of Python that are supported."""

pytestmark = pytest.mark.release


def call(*command: str | Path, folder: Path = ROOT, **env: str) -> str:
    """Run a command that must succeed; its output."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@cache
def interpreter(version: str) -> str | None:
    """The path of a Python of that version which runs; None where there is none."""
    for found in (shutil.which(f"python{version}"), sys.executable):
        command = [found or "", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        if found and subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() == version:
            return found
    return None


@pytest.fixture(params=PYTHONS)
def python(request: pytest.FixtureRequest) -> str:
    """Each supported Python that is on ``PATH``."""
    version: str = request.param
    return interpreter(version) or pytest.skip(f"there is no python{version} on PATH")


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with wheel and sdist."""
    if folder := os.environ.get("RELEASE_FOLDER"):
        return (ROOT / folder).resolve()
    built = tmp_path_factory.mktemp("dist")
    call(sys.executable, "-m", "hatchling", "build", "--directory", built)
    return built


def only(folder: Path, pattern: str) -> Path:
    """The one file of that pattern."""
    (found,) = folder.glob(pattern)
    return found


class Environment:
    """A fresh virtual environment without pip; the pip of these tests installs into it."""

    def __init__(self, folder: Path, python: str) -> None:
        self.folder = folder
        self.python = folder / "env" / "bin" / "python"
        call(python, "-m", "venv", "--without-pip", folder / "env")

    def install(self, *arguments: str | Path) -> None:
        """Install without compiling, so that what Python says about a source is said while the program runs."""
        pip = (sys.executable, "-m", "pip", "--python", self.python, "--disable-pip-version-check")
        call(*pip, "install", "--quiet", "--no-compile", *arguments)
        call(*pip, "check")

    def run(self, *arguments: str) -> str:
        """Run the installed command in a folder of its own, where every warning is an error, in all its processes."""
        env = {"HOME": str(self.folder), "PYTHONWARNINGS": "error", "PYTHONPATH": ""}
        return call(self.folder / "env" / "bin" / "asyncfilter", *arguments, folder=self.folder, **env)

    def show(self) -> None:
        """Show the version and a whole run."""
        assert self.run("--version") == f"asyncfilter {asyncfilter.__version__}\n"
        assert "finished: the listing was examined to its end" in self.run("demo", "--pictures", "24")
        assert (self.folder / ".asyncfilter-demo" / "train.manifest").stat().st_size


def test_the_wheel_holds_the_package_alone(dist: Path) -> None:
    """Modules and data of the package, its licence, and metadata with this version; no test, no bytecode."""
    with zipfile.ZipFile(only(dist, "*.whl")) as wheel:
        names = wheel.namelist()
        metadata = wheel.read(f"asyncfilter-{asyncfilter.__version__}.dist-info/METADATA").decode()
    tracked = set(call("git", "ls-files", "asyncfilter").split())
    assert {name for name in names if not name.startswith("asyncfilter-")} == tracked
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert f"\nVersion: {asyncfilter.__version__}\n" in metadata


def test_the_sdist_has_all_that_make_needs(dist: Path) -> None:
    """The targets of the Makefile work from it; it has no file that is not in the repository."""
    with tarfile.open(only(dist, "*.tar.gz")) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    tracked = set(call("git", "ls-files").split("\n")) - {""}
    assert names - tracked == {"PKG-INFO"}
    assert {"Makefile", "README.md", "requirements/run.txt", "requirements/dev.txt", "config/filter.yaml"} <= names
    assert {name for name in tracked if name.startswith(("asyncfilter/", "tests/"))} <= names


def test_the_wheel_runs_on_every_python(dist: Path, python: str, tmp_path: Path) -> None:
    """With the pinned requirements, in an environment with nothing else, and without a warning of any package."""
    environment = Environment(tmp_path, python)
    environment.install("--require-hashes", "-r", PINS)
    environment.install("--no-deps", only(dist, "*.whl"))
    environment.show()


def test_the_sdist_installs_and_runs(dist: Path, tmp_path: Path) -> None:
    """As the wheel does, built by whoever installs it."""
    environment = Environment(tmp_path, sys.executable)
    environment.install("--require-hashes", "-r", PINS)
    environment.install("--no-deps", only(dist, "*.tar.gz"))
    environment.show()


@pytest.mark.skipif("NEWEST" not in os.environ, reason="depends on what was published today: make newest")
def test_the_newest_dependencies_serve_as_well(dist: Path, python: str, tmp_path: Path) -> None:
    """What ``pip install`` takes without the pins: the newest of every range in ``pyproject.toml``."""
    environment = Environment(tmp_path, python)
    environment.install(only(dist, "*.whl"))
    environment.show()


def test_make_demo_installs_what_running_needs(tmp_path: Path) -> None:
    """In a fresh clone: the pinned requirements and no tool, without pip, and a command that works in any folder."""
    clone = tmp_path / "clone"
    call("git", "clone", "--quiet", ROOT, clone)
    shown = call("make", "demo", f"PYTHON={sys.executable}", folder=clone, PYTHONPATH="")
    assert "finished: the listing was examined to its end" in shown
    assert "  .venv-run/bin/asyncfilter status .asyncfilter-demo/job.yaml" in shown
    packages = only(clone, ".venv-run/lib/python3*/site-packages")
    assert {path.name.partition("-")[0].lower() for path in packages.glob("*.dist-info")} == {
        name.replace("-", "_") for name, _ in pinned(PINS.read_text().splitlines())
    }
    command = clone / ".venv-run" / "bin" / "asyncfilter"
    assert call(command, "--version", folder=tmp_path, PYTHONPATH="") == f"asyncfilter {asyncfilter.__version__}\n"


def test_the_sbom_lists_what_is_installed(dist: Path) -> None:
    """Name, version and hashes of every pinned requirement, and this package as what needs them."""
    if not (found := dist / "asyncfilter.cdx.json").exists():
        pytest.skip("there is no SBOM: make release")
    sbom = json.loads(found.read_text())
    assert sbom["bomFormat"] == "CycloneDX"
    of = sbom["metadata"]["component"]
    assert (of["name"], of["version"]) == ("asyncfilter", asyncfilter.__version__)
    listed = {(canonical(one["name"]), one["version"]): hashes_of(one) for one in sbom["components"]}
    assert listed == pinned(PINS.read_text().splitlines())


def canonical(name: str) -> str:
    """The name of a distribution, as requirements have it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def hashes_of(component: dict[str, list[dict[str, list[dict[str, str]]]]]) -> set[str]:
    """The SHA-256 sums of a component of an SBOM."""
    return {one["content"] for place in component.get("externalReferences", ()) for one in place.get("hashes", ())}


def pinned(lines: Sequence[str]) -> dict[tuple[str, str], set[str]]:
    """The hashes of each pinned requirement, by name and version."""
    found: dict[tuple[str, str], set[str]] = {}
    last: set[str] = set()
    for line in lines:
        if pin := re.match(r"([a-z0-9.-]+)==([^ \\;]+)", line):
            last = found.setdefault((pin[1], pin[2]), set())
        elif sum_ := re.search(r"--hash=sha256:([0-9a-f]{64})", line):
            last.add(sum_[1])
    return found
