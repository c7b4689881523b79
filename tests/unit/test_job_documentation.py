"""The documents generated from the job file's models, and the schema that is part of the package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # comes with moto, without stubs
import pytest
import yaml

from asyncfilter.job import documentation
from asyncfilter.job.schema import json_schema
from tests.kit.jobs import job_document

ROOT = Path(__file__).resolve().parents[2]


def test_the_generated_documents_are_current() -> None:
    """``docs/job-file.md`` and ``job.schema.json`` agree with the models."""
    for path, text in documentation.documents().items():
        assert path.read_text("utf-8") == text, f"{path.name} is stale; run python -m asyncfilter.job.documentation"
    assert documentation.main(["--check"]) == 0


def test_a_stale_document_is_noticed_and_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``--check`` exits with 1 and writes nothing; without it the documents are written."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "asyncfilter" / "job").mkdir(parents=True)
    monkeypatch.setattr(documentation, "ROOT", tmp_path)
    assert documentation.main(["--check"]) == 1
    assert "docs/job-file.md is stale" in capsys.readouterr().err
    assert list((tmp_path / "docs").iterdir()) == []
    assert documentation.main([]) == 0
    assert documentation.main(["--check"]) == 0
    assert documentation.main(["--chek"]) == 2


def test_every_key_is_described() -> None:
    """Every key has a description, or that of the mapping it refers to."""
    text = documentation.markdown()
    models = [json_schema(), *json_schema()["$defs"].values()]
    for key in {key for model in models for key in model.get("properties", ())}:
        assert f"| `{key}` | " in text
    assert "|  |\n" not in text


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda path: path.name)
def test_the_examples_pass_the_json_schema(path: Path) -> None:
    """The schema accepts and refuses the same job files as asyncfilter."""
    jsonschema.validate(yaml.safe_load(path.read_text("utf-8")), schema())


@pytest.mark.parametrize(
    "change",
    [
        {"versoin": 1},
        {"version": 2},
        {"rules": []},
        {"rules": [{"keep": {"any": []}}]},
        {"limits": {"tps": "fast"}},
        {"limits": {"budget_usd": "25"}},
        {"actions": {"keep": {"copy": 5}}},
        {"name": "Robins"},
    ],
    ids=str,
)
def test_the_json_schema_refuses_what_asyncfilter_refuses(change: dict[str, Any]) -> None:
    """The schema is strict: unknown keys, empty lists and quoted numbers do not pass."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(job_document(**change), schema())


def schema() -> dict[str, Any]:
    """The schema in the package."""
    shipped: dict[str, Any] = json.loads((ROOT / "asyncfilter" / "job" / "job.schema.json").read_text("utf-8"))
    return shipped
