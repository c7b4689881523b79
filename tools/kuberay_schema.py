"""Make ``tests/data/kuberay_rayjob.json`` from KubeRay's definition of the resource RayJob.

Usage: ``python tools/kuberay_schema.py ray.io_rayjobs.yaml VERSION``; the file is
``ray-operator/config/crd/bases/ray.io_rayjobs.yaml`` of https://github.com/ray-project/kuberay (Apache-2.0).
Descriptions are left out, and parts that are equal, such as the templates of pods, stand once.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

TARGET = Path(__file__).resolve().parents[1] / "tests" / "data" / "kuberay_rayjob.json"
LEAST_SHARED_CHARS = 200


def strict(node: Any) -> Any:  # noqa: ANN401  any JSON
    """A schema without texts, which refuses properties that it does not name."""
    if isinstance(node, list):
        return [strict(child) for child in node]
    if not isinstance(node, dict):
        return node
    found = {name: strict(child) for name, child in node.items() if name != "description" or isinstance(child, dict)}
    if found.pop("x-kubernetes-int-or-string", False):
        found.setdefault("anyOf", [{"type": "integer"}, {"type": "string"}])
    found = {name: child for name, child in found.items() if not name.startswith("x-kubernetes-")}
    if isinstance(node.get("properties"), dict) and node.get("type") == "object":
        found.setdefault("additionalProperties", False)
    return found


def shared(node: Any, known: dict[str, str], defs: dict[str, Any]) -> Any:  # noqa: ANN401  any JSON
    """The same schema, with a reference for each large part that is there before."""
    if isinstance(node, list):
        return [shared(child, known, defs) for child in node]
    if not isinstance(node, dict):
        return node
    text = json.dumps(node, sort_keys=True)
    if "type" not in node or isinstance(node["type"], dict) or len(text) < LEAST_SHARED_CHARS:
        return {name: shared(child, known, defs) for name, child in node.items()}
    if text not in known:
        known[text] = f"part{len(known)}"
        defs[known[text]] = {name: shared(child, known, defs) for name, child in node.items()}
    return {"$ref": f"#/$defs/{known[text]}"}


def main(source: str, version: str) -> None:
    """Write the schema."""
    definition = yaml.safe_load(Path(source).read_text("utf-8"))
    (schema,) = (one["schema"]["openAPIV3Schema"] for one in definition["spec"]["versions"] if one["name"] == "v1")
    schema["properties"]["metadata"] = {"type": "object", "required": ["name"]}
    defs: dict[str, Any] = {}
    root = shared(strict(schema), {}, defs)
    comment = f"ray.io/v1 RayJob of KubeRay {version}, Apache-2.0; made by tools/kuberay_schema.py"
    TARGET.write_text(json.dumps({"$comment": comment, **root, "$defs": defs}, separators=(",", ":")) + "\n", "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
