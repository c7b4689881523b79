"""The programs in the documents run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from PIL import Image

from asyncfilter.testing import Stage
from tests.kit.jobs import make_bare_job

ROOT = Path(__file__).resolve().parents[2]


def test_own_ports_example_runs_and_resumes(tmp_path: Path) -> None:
    """The example keeps bright pictures, records broken ones, and does nothing twice."""
    folder, target = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name, grey in (("dark.png", 10), ("light.png", 250), ("grey.png", 128)):
        Image.new("L", (90, 90), grey).save(folder / name)
    (folder / "broken.jpg").write_bytes(b"not a picture")
    command = [sys.executable, str(ROOT / "docs/examples/own_ports.py"), str(folder), str(target)]
    for _ in range(2):
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert printed == "completed: 2 of 4 pictures are bright, {'invalid_image_format': 1} failed\n"
    assert sorted(path.name for path in target.glob("*.*g")) == ["grey.png", "light.png"]


def test_the_testing_snippet_holds() -> None:
    """The example with ``Stage`` in docs/python.md works."""
    text = (ROOT / "docs/python.md").read_text()
    snippet = re.findall(r"```python\n(from asyncfilter\.testing.*?)```", text, re.DOTALL)[0]
    job = make_bare_job(actions={"keep": {"copy": "s3://clean/"}})
    exec(snippet, {"job": job, "Stage": Stage})
