"""The default job of the tests: images of ``s3://raw/`` that show a robin are kept, the others rejected.

Sections are the top-level keys of the job file. A section that is given replaces the default as a whole; None leaves
it out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from asyncfilter.job import Job, parse_job

NOWHERE = Path("/nowhere")
"""The folder of jobs that read and write no file."""
PRICE_MICROS = 1000
COPIES = {"keep": {"copy": "s3://clean/{key}"}}
FLAT_PRICE = {"tiers": [{"up_to": None, "usd": PRICE_MICROS / 1_000_000}]}


def job_document(**sections: Any) -> dict[str, Any]:
    """The mapping of a job file with its mandatory sections: robins of ``s3://raw/`` are kept, no action is taken."""
    document = {
        "version": 1,
        "name": "robins",
        "source": "s3://raw/",
        "rules": [{"keep": {"any": "Robin"}}],
        "otherwise": "reject",
    }
    return {name: section for name, section in (document | sections).items() if section is not None}


def make_bare_job(*, base_dir: str | Path = NOWHERE, **sections: Any) -> Job:
    """The job of ``job_document``: no action, default limits, public prices."""
    return parse_job(job_document(**sections), base_dir=base_dir)


def make_job(*, base_dir: str | Path = NOWHERE, **sections: Any) -> Job:
    """A job that copies robins to ``s3://clean/{key}``, at up to 2000 calls a second and $0.001 each."""
    defaults = {"actions": COPIES, "limits": {"tps": 2000}, "pricing": FLAT_PRICE}
    return make_bare_job(base_dir=base_dir, **defaults | sections)


def write_job(path: Path, **sections: Any) -> Path:
    """Write the job file of ``job_document``; its path."""
    path.write_text(yaml.safe_dump(job_document(**sections), allow_unicode=True, sort_keys=False), "utf-8")
    return path
