"""``python requirements/sbom.py INSTALLED OUTPUT``: the SBOM of a release, in CycloneDX.

INSTALLED lists, by ``cyclonedx-py environment``, a fresh environment of ``requirements/run.txt`` and asyncfilter: what
has which version and licence, and needs what. What the SBOM describes becomes asyncfilter in its version, and every
other component gets the hashes that ``requirements/run.txt`` allows. Runs with the tools of ``requirements/audit.txt``.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

NAME = "asyncfilter"
PINS = Path(__file__).with_name("run.txt")


def main(installed: str, output: str) -> None:
    """Write the SBOM."""
    sbom: dict[str, Any] = json.loads(Path(installed).read_text())
    described = [one for one in sbom["components"] if one["name"] == NAME]
    sbom["metadata"]["component"] = {**described[0], "type": "application"}
    sbom["components"] = [one for one in sbom["components"] if one["name"] != NAME]
    hashes = pinned_hashes()
    for component in sbom["components"]:
        sums = hashes.pop((canonical(component["name"]), component["version"]))
        component.setdefault("externalReferences", []).append(distribution(sums))
    if hashes:
        sys.exit(f"pinned, and not installed: {sorted(hashes)}")
    text = json.dumps(sbom, indent=2)
    if wrong := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        sys.exit(f"not a CycloneDX document: {wrong}")
    Path(output).write_text(text + "\n")


def pinned_hashes() -> dict[tuple[str, str], list[str]]:
    """The SHA-256 sums of the files of each requirement, by name and version."""
    pins = re.findall(r"^([^\s=]+)==(\S+)((?: \\\n +--hash=sha256:[0-9a-f]{64})+)", PINS.read_text(), re.MULTILINE)
    return {(name, version): re.findall(r"[0-9a-f]{64}", sums) for name, version, sums in pins}


def canonical(name: str) -> str:
    """The name of a distribution, as ``run.txt`` writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def distribution(sums: list[str]) -> dict[str, Any]:
    """The files of a distribution, as CycloneDX refers to them; the address is that of the list with their hashes."""
    return {
        "type": "distribution",
        "url": "requirements/run.txt",
        "comment": "the files that may be installed",
        "hashes": [{"alg": "SHA-256", "content": one} for one in sums],
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
