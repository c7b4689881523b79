"""YAML with positions: the values of a job file, and the line and column of each.

Scalars follow YAML 1.2's core schema, so ``No`` and ``on`` are strings, ``010`` is ten, ``1e3`` a number and a date
a string; only ``true`` and ``false`` are booleans. Anchors, aliases and ``<<`` work. Duplicate keys, custom tags and
files too large or too deep for a job are rejected. Every problem is a ``Problem``; no object or exception of PyYAML
leaves this module.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import yaml

from asyncfilter.errors import JobError, Problem

Path = tuple[str | int, ...]
"""Keys and list indices from the root of a document."""

MAX_BYTES = 1 << 20
MAX_NODES = 20_000
MAX_DEPTH = 40
_MAX_FLOW_DEPTH = 4 * MAX_DEPTH

T = TypeVar("T")

_TAG = "tag:yaml.org,2002:"
_NUMBER = list("-+.0123456789")


class Place(NamedTuple):
    """The position of a value or key; line and column count from 1."""

    file: str
    line: int
    column: int


@dataclass(slots=True)
class Document:
    """The content of a file.

    Attributes:
        value: Mappings, lists and scalars; mapping keys are always strings.
        places: The start of each value, by path.
        keys: The start of each key of a mapping, by the path of its value.
        written: Scalars as they are written in the file, quotes included.
        files: The file, and the settings that override it, in order.
        problems: The problems found so far, one per path.
    """

    value: object = None
    places: dict[Path, Place] = field(default_factory=dict)
    keys: dict[Path, Place] = field(default_factory=dict)
    written: dict[Path, str] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    problems: dict[Path, Problem] = field(default_factory=dict)

    def place(self, path: Path) -> Place:
        """The position of ``path``, or of the nearest enclosing value in the document."""
        while path not in self.places and path:
            path = path[:-1]
        return self.places.get(path, Place("job", 1, 1))

    def add(self, path: Path, message: str, *, at_key: bool = False) -> None:
        """Add a problem with the value at ``path``, or with its key; only the first problem of a path is kept."""
        place = self.keys[path] if at_key and path in self.keys else self.place(path)
        self.problems.setdefault(path, Problem(**place._asdict(), key=dotted(path), message=message))

    def graft(self, path: Path, other: Document) -> None:
        """Replace the positions and problems at ``path`` with those of ``other``."""
        _replace(self.places, path, other.places)
        _replace(self.keys, path, {**other.keys, (): other.place(())})
        _replace(self.written, path, other.written)
        _replace(self.problems, path, other.problems)
        self.files += other.files


def _replace(known: dict[Path, T], path: Path, other: dict[Path, T]) -> None:
    for stale in [below for below in known if below[: len(path)] == path]:
        del known[stale]
    known.update({(*path, *below): what for below, what in other.items()})


def dotted(path: Path) -> str:
    """A path as ``rules[0].keep.any``, for messages."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def refuse(place: Place, message: str) -> JobError:
    """The error for a problem that ends the parsing."""
    return JobError([Problem(**place._asdict(), key="", message=message)])


def decode(content: bytes, file: str) -> str:
    """The text of a file; a UTF-8 byte order mark is dropped.

    Raises:
        JobError: Too large, or not UTF-8.
    """
    if len(content) > MAX_BYTES:
        raise refuse(Place(file, 1, 1), f"expected a job file of at most {MAX_BYTES} bytes, found {len(content)}")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise refuse(Place(file, 1, 1), "expected UTF-8 text, found UTF-16; save the file as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        column = len(before.rpartition(b"\n")[2].decode(errors="replace")) + 1
        found = f"the byte 0x{content[error.start]:02x}"
        raise refuse(
            Place(file, before.count(b"\n") + 1, column), f"expected UTF-8 text, found {found}; save the file as UTF-8"
        ) from error


def read(text: str, file: str, expand: Callable[[str], str] = str) -> Document:
    """Parse one YAML document.

    Args:
        text: The whole file.
        file: Its name in problems.
        expand: Applied to every string value; a ``ValueError`` becomes a problem at that place. A plain scalar is read
            as if its expansion were written in its place; a quoted one stays a string.

    Raises:
        JobError: The text is not YAML, is empty, or is too large or too deep for a job.
    """
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            raise refuse(Place(file, 1, 1), "the file is empty; expected a mapping that begins with version: 1")
        return _Builder(file, loader, expand).build(node)
    except RecursionError as error:
        raise refuse(Place(file, 1, 1), f"expected at most {MAX_DEPTH} levels of nesting, found more") from error
    except yaml.reader.ReaderError as error:
        raise refuse(_reader_place(text, error, file), _unprintable(text, error)) from error
    except yaml.MarkedYAMLError as error:
        raise refuse(_marked_place(error, file), _syntax(error)) from error
    except (ValueError, OverflowError) as error:
        # PyYAML converts \U escapes and %YAML versions unchecked.
        raise refuse(Place(file, 1, 1), f"not valid YAML: {error}") from error
    finally:
        if loader is not None:
            loader.dispose()


class _Loader(yaml.SafeLoader):
    """PyYAML's parser with the scalars of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  PyYAML declares it so

    def fetch_flow_collection_start(self, TokenClass: type[yaml.Token]) -> None:  # noqa: N803  PyYAML's name
        """Refuse deep lists and mappings in brackets here: the scanner's time is quadratic in their depth."""
        if self.flow_level >= _MAX_FLOW_DEPTH:
            raise RecursionError
        super().fetch_flow_collection_start(TokenClass)

    def resolved(self, text: str, *, is_plain: bool) -> str:
        """The tag of a scalar."""
        return str(self.resolve(yaml.ScalarNode, text, (is_plain, True)))  # type: ignore[no-untyped-call]  # PyYAML's


_Loader.add_implicit_resolver(f"{_TAG}null", re.compile(r"(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver(f"{_TAG}bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF"))
_Loader.add_implicit_resolver(f"{_TAG}int", re.compile(r"[-+]?[0-9]+\Z", re.ASCII), _NUMBER)
_Loader.add_implicit_resolver(
    f"{_TAG}float", re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z", re.ASCII), _NUMBER
)
_Loader.add_implicit_resolver(f"{_TAG}float", re.compile(r"(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"), _NUMBER)
_Loader.add_implicit_resolver(f"{_TAG}merge", re.compile(r"<<\Z"), ["<"])

_SCALARS: dict[str, Callable[[str], object]] = {
    f"{_TAG}null": lambda _: None,
    f"{_TAG}bool": lambda text: {"true": True, "false": False}[text.lower()],
    f"{_TAG}int": int,
    f"{_TAG}float": lambda text: float(re.sub(r"\.(inf|nan)\Z", r"\1", text, flags=re.IGNORECASE)),
    f"{_TAG}str": str,
}


class _Builder:
    """Converts nodes to values, one path at a time: an alias is built again at each use."""

    def __init__(self, file: str, loader: _Loader, expand: Callable[[str], str]) -> None:
        self._document = Document(files=[file])
        self._file = file
        self._loader = loader
        self._expand = expand
        self._nodes = 0

    def build(self, node: yaml.Node) -> Document:
        self._document.value = self._value(node, ())
        return self._document

    def _place(self, node: yaml.Node) -> Place:
        return Place(self._file, node.start_mark.line + 1, node.start_mark.column + 1)

    def _value(self, node: yaml.Node, path: Path) -> object:
        self._nodes += 1
        if self._nodes > MAX_NODES or len(path) > MAX_DEPTH:
            limit = f"expected at most {MAX_DEPTH} levels and {MAX_NODES} values, aliases expanded, found more"
            raise refuse(self._place(node), limit)
        self._document.places[path] = self._place(node)
        match node:
            case yaml.MappingNode(tag="tag:yaml.org,2002:map"):
                return self._mapping(node, path)
            case yaml.SequenceNode(tag="tag:yaml.org,2002:seq"):
                return [self._value(item, (*path, index)) for index, item in enumerate(node.value)]
            case yaml.ScalarNode():
                return self._scalar(node, path)
            case _:
                self._document.add(path, f"expected plain YAML without tags, found {_short_tag(node)}")
                return None

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, object]:
        built: dict[str, object] = {}
        for key_node, value_node in self._pairs(node, path):
            key = str(key_node.value)
            where = (*path, key)
            if key not in built:
                self._document.keys[where] = self._place(key_node)
                built[key] = self._value(value_node, where)
        return built

    def _pairs(self, node: yaml.MappingNode, path: Path) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        """Keys and values: those of the mapping itself first, then those merged by ``<<``."""
        own: dict[str, int] = {}
        merged: list[yaml.Node] = []
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._add_to_key(key_node, path, "expected a word as key, found a list or mapping")
            elif key_node.tag == f"{_TAG}merge":
                merged += value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
            elif key_node.value in own:
                first = f"duplicate key {key_node.value!r}; its first occurrence is on line {own[key_node.value]}"
                self._add_to_key(key_node, (*path, key_node.value), f"{first}, expected each key once")
            else:
                own[key_node.value] = key_node.start_mark.line + 1
                yield key_node, value_node
        for other in merged:
            self._nodes += 1
            if isinstance(other, yaml.MappingNode) and self._nodes <= MAX_NODES:
                yield from self._pairs(other, path)
            else:
                self._add_to_key(other, path, "expected a mapping after <<, found something else")

    def _add_to_key(self, node: yaml.Node, path: Path, message: str) -> None:
        """Add a problem with a key, separate from the problems of its value."""
        place = self._place(node)
        self._document.problems[(*path, *place)] = Problem(**place._asdict(), key=dotted(path), message=message)

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> object:
        text, tag = str(node.value), str(node.tag)
        quote = {"'": "'", '"': '"'}.get(node.style or "", "")
        self._document.written[path] = f"{quote}{text}{quote}"
        if tag == f"{_TAG}merge":
            tag = f"{_TAG}str"
        try:
            if tag == f"{_TAG}str":
                text = self._expand(text)
                text.encode()
                tag = self._loader.resolved(text, is_plain=node.style is None)
            return _SCALARS[tag](text)
        except UnicodeEncodeError:
            self._document.add(path, f"expected Unicode text, found half of a surrogate pair in {text!r}")
        except KeyError:
            self._document.add(path, f"expected plain YAML without tags, found {_short_tag(node)} {text!r}")
        except ValueError as error:
            if tag != f"{_TAG}str":
                return text  # not a number in Python: the schema rejects it like any other string
            self._document.add(path, str(error))
        return None


def _short_tag(node: yaml.Node) -> str:
    return str(node.tag).replace(_TAG, "!!")


def _marked_place(error: yaml.MarkedYAMLError, file: str) -> Place:
    mark = error.problem_mark or error.context_mark
    return Place(file, mark.line + 1, mark.column + 1) if mark else Place(file, 1, 1)


def _reader_place(text: str, error: yaml.reader.ReaderError, file: str) -> Place:
    before = text[: int(error.position)]
    return Place(file, before.count("\n") + 1, len(before.rpartition("\n")[2]) + 1)


def _unprintable(text: str, error: yaml.reader.ReaderError) -> str:
    return f"expected printable characters, found {text[int(error.position)]!r}; write it as an escape in double quotes"


def _syntax(error: yaml.MarkedYAMLError) -> str:
    """PyYAML's message, with the remedy for mistakes that are common in job files."""
    problem, context = error.problem or "", error.context or ""
    if "\\t" in problem:
        return "found a tab, expected spaces: YAML does not indent with tabs"
    message = f"not valid YAML: {problem}" + (f" ({context})" if context else "")
    if "alias" in context or "alias" in problem:
        return f'{message}; put globs in quotes, as in "*.jpg"'
    if "flow" in context:
        return f'{message}; put values that hold braces or commas in quotes, as in "s3://bucket/{{key}}"'
    if "mapping values" in problem:
        return f"{message}; put values that hold a colon and a space in quotes"
    return message
