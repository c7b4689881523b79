"""``kind: onnx`` on the command line: exit codes, other commands, and what is not imported without it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.kit.jobs import write_job
from tests.kit.onnx_models import COLOURS, colour_model, write_model
from tests.kit.workspace import bare_environment

pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")

SURE = [[one / 10 for one in row] for row in COLOURS]
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a model, a job and five pictures, two of them red."""
    write_model(tmp_path, colour_model(SURE))
    for number, colour in enumerate(("red", "green", "blue", "red", "gray")):
        path = tmp_path / "in" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (20, 20), colour).save(path)
    make_job(tmp_path)
    return tmp_path


def make_job(folder: Path, **detector: Any) -> None:
    """Write ``job.yaml``."""
    write_job(
        folder / "job.yaml",
        source={"uri": "./in/"},
        detector={"kind": "onnx", "model": "m.onnx", "labels": "l.txt", **detector},
        rules=[{"keep": {"any": "Ruby", "confidence": 80}}],
        actions={"keep": {"copy": "./kept/{key}"}},
    )


def asyncfilter(folder: Path, *arguments: str, path: Path | None = None) -> tuple[int, str, str]:
    """Run a command without credentials and network; modules in ``path`` come before all others."""
    env = bare_environment(folder) | {"AWS_EC2_METADATA_DISABLED": "true", "PYTHONWARNINGS": "error"}
    if path is not None:
        env["PYTHONPATH"] = f"{path}:{env.get('PYTHONPATH', '')}"
    command = [sys.executable, "-m", "asyncfilter", *arguments]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, done.stdout, done.stderr


def test_a_job_from_plan_to_export(folder: Path) -> None:
    """Plan, run, refilter and export agree; nothing is paid, and doctor finds nothing to ask about."""
    code, out, err = asyncfilter(folder, "plan", "job.yaml", "--json")
    assert code == 0, err
    planned = json.loads(out)
    assert (planned["cost_usd"], planned["calls"], planned["cautions"]) == (0, 5, [])
    code, out, err = asyncfilter(folder, "run", "job.yaml", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert (found["examined"], found["keep"], found["copied"]) == (5, 2, 2)
    assert (found["billed_calls"], found["spent_usd"], found["tps_limit"]) == (0, 0, None)
    code, out, err = asyncfilter(folder, "export", "job.yaml")
    assert code == 0, err
    rows = {row["key"]: row for row in map(json.loads, out.splitlines())}
    assert rows["0.png"]["model_version"].startswith("onnx:")
    assert len(rows["0.png"]["model_version"]) == len("onnx:") + 12
    assert rows["0.png"]["labels"][0]["name"] == "Ruby"
    code, out, err = asyncfilter(folder, "refilter", "job.yaml", "--json", "--set", "rules[0].keep.any=Sky Blue")
    assert code == 0, err
    assert json.loads(out)["keep"] == 1
    code, out, err = asyncfilter(folder, "doctor", "job.yaml", "--json")
    assert code == 0, err
    names = [one["name"] for one in json.loads(out)["checks"]]
    assert {"job", "model"} <= set(names)
    assert not {"credentials", "quota", "rekognition"} & set(names)


def test_exit_codes(folder: Path) -> None:
    """2 where the model cannot be used, 3 where it is another one."""
    assert asyncfilter(folder, "run", "job.yaml")[0] == 0
    write_model(folder, colour_model(COLOURS))
    code, _, err = asyncfilter(folder, "run", "job.yaml")
    assert code == 3
    assert "detector.model" in err
    (folder / "l.txt").write_text("a\nb\n")
    code, _, err = asyncfilter(folder, "run", "job.yaml", "--fresh")
    assert code == 2
    assert "has 2 labels" in err
    assert "gives 4 scores" in err


@pytest.mark.parametrize("command", ["run", "plan"])
def test_without_the_extra_the_command_that_installs_it_is_told(command: str, folder: Path, tmp_path: Path) -> None:
    """Exit code 2, before anything is examined."""
    shadow = tmp_path / "shadow"
    shadow.mkdir()
    (shadow / "onnxruntime.py").write_text("raise ImportError('no', name='onnxruntime')\n")
    code, _, err = asyncfilter(folder, command, "job.yaml", path=shadow)
    assert code == 2
    assert "pip install 'asyncfilter[onnx]'" in err


def test_nothing_of_it_is_imported_without_it(tmp_path: Path) -> None:
    """Neither by the program's help, nor by what runs a job for Rekognition."""
    program = (
        "import sys, asyncfilter, asyncfilter.cli.app, asyncfilter.wiring.run, asyncfilter.wiring.plan;"
        "from asyncfilter.job import load_job; load_job('job.yaml');"
        "print([name for name in sys.modules if name.partition('.')[0] in ('onnxruntime', 'numpy')"
        " or name.startswith('asyncfilter.onnx')])"
    )
    write_job(tmp_path / "job.yaml")
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=bare_environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
