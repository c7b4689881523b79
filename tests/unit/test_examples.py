"""The documents' programs run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from PIL import Image

import asyncfilter
from asyncfilter.testing import Stage

ROOT = Path(__file__).resolve().parents[2]


def test_own_ports_example_runs_and_resumes(tmp_path: Path) -> None:
    """The example keeps what is bright, records what is broken, and does nothing twice."""
    folder, target = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name, grey in (("dark.png", 10), ("light.png", 250), ("grey.png", 128)):
        Image.new("L", (90, 90), grey).save(folder / name)
    (folder / "broken.jpg").write_bytes(b"not a picture")
    command = [sys.executable, str(ROOT / "docs/examples/own_ports.py"), str(folder), str(target)]
    for _ in range(2):
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert said == "completed: 2 of 4 pictures are bright, {'invalid_image_format': 1} failed\n"
    assert sorted(path.name for path in target.glob("*.*g")) == ["grey.png", "light.png"]


def test_the_testing_snippet_holds() -> None:
    """What docs/python.md says of ``Stage`` is so."""
    text = (ROOT / "docs/python.md").read_text()
    snippet = re.findall(r"```python\n(from asyncfilter\.testing.*?)```", text, re.DOTALL)[0]
    job = asyncfilter.parse_job(
        {
            "version": 1,
            "name": "docs",
            "source": "s3://raw/",
            "rules": [{"keep": {"any": "Robin"}}],
            "actions": {"keep": {"copy": "s3://clean/"}},
        },
        base_dir=ROOT,
    )
    exec(snippet, {"job": job, "Stage": Stage})
