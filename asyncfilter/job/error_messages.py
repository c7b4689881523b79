"""Error messages: pydantic's findings become ``expected X, found Y`` at a path of the document.

The allowed values are read from the JSON Schema, so that messages, reference and schema cannot disagree.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from asyncfilter.job.addresses import nearest
from asyncfilter.job.schema import SEEN, TAGS, json_schema
from asyncfilter.job.yaml_positions import Document, Path

Schema = dict[str, Any]

_NUMBER = re.compile(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?\Z", re.IGNORECASE)
_LONGEST = 80


def describe(document: Document, findings: Sequence[Mapping[str, Any]]) -> None:
    """Add pydantic's ``findings`` (``ValidationError.errors()``) to the document's problems."""
    schema = Phrases(json_schema())
    meant: set[Path] = set()
    # Which keys a section needs depends on its kind: where that is wrong, it is the one problem to report.
    paths = [locate(finding["loc"], document.value) for finding in findings if finding["type"] == "literal_error"]
    undecided = {path[:-1] for path in paths if path[-1:] == ("kind",)}
    for finding in findings:
        if finding["type"] == "extra_forbidden":
            path = locate(finding["loc"], document.value)
            allowed = schema.keys_of(path[:-1], _at(document.value, path[:-1]))
            meant.update((*path[:-1], key) for key in difflib.get_close_matches(str(path[-1]), allowed, n=1))
            guess = schema.place_of(str(path[-1]), path[:-1], document.value) or nearest(str(path[-1]), allowed)
            message = f"unknown key {path[-1]!r}, nearest is {guess!r}; "
            if beside := schema.beside(str(path[-1]), path[:-1]):
                message = f"expected {beside} beside {path[-1]}, which other kinds do not have; "
            document.add(path, f"{message}allowed here: {', '.join(allowed)}", at_key=True)
    for finding in findings:
        path = locate(finding["loc"], document.value)
        if finding["type"] == "missing":
            path = (*path, finding["loc"][-1])
            if path not in meant and path[:-1] not in undecided:
                wanted = schema.expected(path, document.value) + schema.reason(path[:-1], document.value)
                document.add(path, f"this key is missing; expected {wanted}")
        elif finding["type"] == "value_error":
            document.add(path, str(finding["ctx"]["error"]).replace(SEEN, seen(document, path)))
        elif finding["type"] != "extra_forbidden":
            remedy = _remedy(document, path, str(finding["type"]))
            wanted = schema.expected(path, document.value)
            document.add(path, f"expected {wanted}, found {seen(document, path)}{remedy}")


def locate(loc: Sequence[str | int], value: object) -> Path:
    """The path in the document for pydantic's ``loc``.

    Pydantic has a list where the file may have a single item, and adds the alternative of a union that it tried.
    """
    path: Path = ()
    for step in loc:
        match value:
            case dict() if step in value:
                path, value = (*path, step), value[step]
            case list() if isinstance(step, int) and step < len(value):
                path, value = (*path, step), value[step]
            case _ if step != 0 and step not in TAGS:
                break
    return path


def seen(document: Document, path: Path) -> str:
    """The value at ``path`` as written in the file, variables by name, truncated to a readable length."""
    value = _at(document.value, path)
    match value:
        case dict() if value:
            text = f"a mapping with {', '.join(value)}"
        case list() if value:
            text = f"a list of {len(value)}"
        case None if not document.written.get(path):
            text = "nothing"
        case _:
            text = document.written.get(path) or _json(value)
    text = text.replace("\n", "\\n")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


class Phrases:
    """Phrases for what a JSON Schema allows."""

    def __init__(self, schema: Schema) -> None:
        self._root = schema

    def expected(self, path: Path, value: object) -> str:
        """The phrase for what is allowed at ``path`` of the document ``value``."""
        return " or ".join(dict.fromkeys(self.phrase(self._usual(node)) for node in self._nodes(path, value)))

    def reason(self, path: Path, value: object) -> str:
        """A clause with the keys that select the form of the mapping at ``path``; empty where it has only one."""
        forms = [form for node in self._nodes(path, value) for form in self.forms(node)]
        begun = _begun(forms, _at(value, path))
        fixed = [f"{key} is {const}" for form in begun for key, const in _constants(form)]
        return f", as {' and '.join(fixed)}" if len(begun) == 1 < len(forms) and fixed else ""

    def keys_of(self, path: Path, value: object) -> list[str]:
        """The keys of a mapping at ``path``; where forms differ, of those whose required keys ``value`` has."""
        nodes = self._nodes(path)
        forms = _begun([form for node in nodes for form in self.forms(node) if "properties" in form], value)
        begun = [form for form in forms if isinstance(value, dict) and value.keys() >= set(form.get("required", ()))]
        return list(dict.fromkeys(key for form in begun or forms for key in form["properties"]))

    def place_of(self, key: str, path: Path, value: object) -> str | None:
        """The place of a key that stands one section too high or in another one, such as ``limits.budget_usd``.

        None when a key that is allowed at ``path`` is like it, and when no section has it.
        """
        if difflib.get_close_matches(key, self.keys_of(path, _at(value, path)), n=1):
            return None
        for base in (path, ()):
            present = _at(value, base)
            sections = sorted(self.keys_of(base, present), key=lambda name: name not in present)
            found = next((name for name in sections if key in self.keys_of((*base, name), None)), None)
            if found is not None:
                return f"{found}.{key}"
        return None

    def beside(self, key: str, path: Path) -> str | None:
        """The constant key that selects the form of the mapping at ``path`` which has ``key``, such as ``kind: onnx``.

        None when no form with such a constant has it.
        """
        forms = [form for node in self._nodes(path) for form in self.forms(node) if key in form.get("properties", ())]
        return next((f"{name}: {const}" for form in forms for name, const in _constants(form)), None)

    def phrase(self, node: Schema) -> str:
        """The phrase for what one node of the schema allows."""
        forms = list(self.forms(node))
        if len(forms) > 1:
            single = {self.phrase(form) for form in forms if form.get("type") != "array"}
            return " or ".join(dict.fromkeys(self._choice(form, single) for form in forms))
        form = forms[0]
        if "properties" in form:
            return self.mapping(form)
        if "enum" in form or "const" in form:
            return " or ".join(str(value) for value in form.get("enum", [form.get("const")]))
        if "title" in form:
            return str(form["title"])
        return self._by_type(form)

    def mapping(self, form: Schema) -> str:
        """The phrase for a mapping with fixed keys."""
        return f"a mapping with {', '.join(form['properties'])}"

    def _usual(self, node: Schema) -> Schema:
        """Of a mapping with several forms the one that is meant where no key selects another; else ``node``."""
        for form in self.forms(node):
            fixed = list(_constants(form))
            if fixed and all(form["properties"][key].get("default") == const for key, const in fixed):
                return form
        return node

    def _choice(self, form: Schema, single: set[str]) -> str:
        """The phrase for one alternative; shortened for a list of items that are also allowed alone."""
        if form.get("type") == "array" and self.phrase(form["items"]) in single:
            return "a list of such, not empty" if form.get("minItems") else "a list of such"
        return self.phrase(form)

    def _by_type(self, form: Schema) -> str:
        match form.get("type"):
            case "array":
                least = ["not empty"] if form.get("minItems") else []
                most = [f"at most {form['maxItems']}"] if "maxItems" in form else []
                told = f" ({', '.join(bounds)})" if (bounds := [*least, *most]) else ""
                return f"a list{told} of {self.phrase(form['items'])}"
            case "integer":
                return f"a whole number{_bounds(form)}"
            case "number":
                return f"a number{_bounds(form)}"
            case "string":
                return "text"
            case other:
                return str(other)

    def _nodes(self, path: Path, value: object = None) -> list[Schema]:
        """The schema's nodes for ``path``: several where possible alternatives of ``value`` share a key."""
        nodes = [self._root]
        for step in path:
            forms = _begun([form for node in nodes for form in self.forms(node)], value)
            nodes = [child for form in forms for child in _children(form, step)]
            value = _child(value, step)
        return nodes

    def forms(self, node: Schema) -> Iterator[Schema]:
        """The alternatives of a node, with references resolved."""
        if "$ref" in node:
            yield from self.forms(self._root["$defs"][node["$ref"].rpartition("/")[2]])
        elif choices := node.get("anyOf") or node.get("oneOf"):
            for choice in choices:
                yield from self.forms(choice)
        else:
            yield node


def _children(form: Schema, step: str | int) -> Iterator[Schema]:
    if isinstance(step, int):
        children = [form.get("items")]
    else:
        children = [form.get("properties", {}).get(step, form.get("additionalProperties"))]
    yield from (child for child in children if isinstance(child, dict))


def _begun(forms: list[Schema], value: object) -> list[Schema]:
    """The forms whose constant keys agree with ``value``; all of them where none does."""
    if not isinstance(value, dict):
        return forms
    agreeing = [
        form
        for form in forms
        if form.get("type", "object") == "object"
        and all(
            value.get(key, form["properties"][key].get("default")) == constant for key, constant in _constants(form)
        )
    ]
    return agreeing or forms


def _constants(form: Schema) -> list[tuple[str, object]]:
    """The keys of a mapping that can have one value only: they distinguish its form from others."""
    return [(key, node["const"]) for key, node in form.get("properties", {}).items() if "const" in node]


def _child(value: object, step: str | int) -> object:
    """The value at ``step`` of ``value``; None where there is none."""
    match value:
        case dict():
            return value.get(step)
        case list() if isinstance(step, int) and step < len(value):
            return value[step]
        case _:
            return None


def _bounds(form: Schema) -> str:
    low, high = form.get("minimum"), form.get("maximum")
    if low is not None and high is not None:
        return f" from {low} to {high}"
    above, below = form.get("exclusiveMinimum"), form.get("exclusiveMaximum")
    bounds = {"above": above, "from": low, "below": below, "at most": high}
    limits = " and ".join(f"{word} {bound}" for word, bound in bounds.items() if bound is not None)
    return f" {limits}" if limits else ""


def _at(value: Any, path: Path) -> Any:  # noqa: ANN401  any content of the file
    for step in path:
        value = value[step]
    return value


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=lambda other: f"{type(other).__name__} {other}")


def _remedy(document: Document, path: Path, kind: str) -> str:
    """One clause for the two mistakes of quoting; ``kind`` is pydantic's name of the finding."""
    value, written = _at(document.value, path), document.written.get(path, "")
    if isinstance(value, str) and written[:1] in {"'", '"'} and _NUMBER.match(value) and kind != "enum":
        return "; write numbers without quotes"
    if kind == "string_type" and isinstance(value, bool | int | float):
        return "; write text in quotes"
    return ""
