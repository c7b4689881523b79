"""``config check`` and ``schema``: neither needs a network, credentials or a terminal."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # comes with moto, without stubs
import pytest
import yaml

from asyncfilter.cli.app import command_line
from asyncfilter.job.shipped_schema import SCHEMA_ID
from tests.kit.jobs import job_document, write_job

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "config").glob("*.yaml"))


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection can be made, and there are no settings of AWS."""

    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)


def checked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, JSON and stderr of ``config check``."""
    code = command_line(["config", "check", *arguments, "--json"])
    out, err = capsys.readouterr()
    return code, json.loads(out), err


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_the_examples_are_valid(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every example of ``config/``; the text names the job and the next command."""
    code, found, err = checked(capsys, str(path))
    assert (code, found["valid"], found["problems"], err) == (0, True, [], "")
    assert found["file"] == str(path)
    assert found["name"] == yaml.safe_load(path.read_text())["name"]
    assert command_line(["config", "check", str(path)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "has no problems" in out
    assert "next asyncfilter plan" in out


def test_all_problems_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2; each problem has file, line, column, key and message, in the JSON as on stderr."""
    path = write_job(tmp_path / "job.yaml", name="Robins", limits={"tps": "fast", "budgt_usd": 5})
    code, found, err = checked(capsys, str(path))
    assert (code, found["valid"]) == (2, False)
    assert [problem["key"] for problem in found["problems"]] == ["name", "limits.tps", "limits.budgt_usd"]
    assert {"file", "line", "column", "key", "message"} == set(found["problems"][0])
    assert "the job has 3 problems" in err
    assert f"{path}:2:7: name: expected" in err


def test_settings_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``--set`` is checked with the file."""
    path = write_job(tmp_path / "job.yaml")
    assert checked(capsys, str(path), "--set", "limits.tps=50")[0] == 0
    code, found, _ = checked(capsys, str(path), "--set", "limits.tps=fast")
    assert (code, found["problems"][0]["key"]) == (2, "limits.tps")


def test_cautions_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is allowed but seldom intended does not change the exit code."""
    path = write_job(tmp_path / "job.yaml", stop={"hit_rate": {"below": 0.02}})
    code, found, _ = checked(capsys, str(path))
    assert (code, len(found["cautions"])) == (0, 1)
    assert "source.order" in found["cautions"][0]
    command_line(["config", "check", str(path)])
    assert "no random sample of the rest" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("name", ["absent.yaml", "."])
def test_a_file_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """Exit 2, with the reason."""
    code, found, err = checked(capsys, str(tmp_path / name))
    assert (code, found["valid"], len(found["problems"])) == (2, False, 1)
    assert "expected a job file that can be read" in err


def test_the_schema_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    """It has ``$schema`` and ``$id``, is a valid schema, and accepts and refuses job files; --json changes nothing."""
    assert command_line(["schema"]) == 0
    out = capsys.readouterr().out
    schema = json.loads(out)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == SCHEMA_ID
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(job_document(), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(job_document(versoin=1), schema)
    assert out == (ROOT / "asyncfilter" / "job" / "job.schema.json").read_text("utf-8")
    assert command_line(["schema", "--json", "--yes"]) == 0
    assert capsys.readouterr().out == out
