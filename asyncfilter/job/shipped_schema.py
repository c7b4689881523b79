"""The JSON Schema of the job file as it ships with the package, for editors and other programs.

It is generated from the models (``asyncfilter.job.documentation``); to read it needs neither of pydantic and PyYAML.
"""

from __future__ import annotations

from pathlib import Path

DIALECT = "https://json-schema.org/draft/2020-12/schema"

SCHEMA_ID = "urn:asyncfilter:job:1"
"""``$id`` of the schema: a name and no address, since it is found in the package; 1 is the version of the format."""

_FILE = Path(__file__).with_name("job.schema.json")


def schema_text() -> str:
    """The whole schema, as JSON."""
    return _FILE.read_text("utf-8")


def schema_line() -> str:
    """The first line of a job file from which editors with the YAML language server take the schema.

    The address is that of the installed file: editors need no network for it, and it is the schema of the version that
    reads the job. An editor that does not find the file, on another machine, ignores the line.
    """
    return f"# yaml-language-server: $schema={_FILE.as_uri()}"
