"""Carries out the steps of a Dockerfile in folders, where no Docker is: one folder is the root of each stage.

Absolute paths that the file itself makes (``WORKDIR``, ``/opt``, ``/work``) are below the stage's folder; ``python`` is
this interpreter; programs that would change the machine (``useradd``, ``apt-get``) only leave their arguments in
``changes``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import NamedTuple

_CHANGING = ("useradd", "usermod", "groupadd", "chown", "apt-get")
_TIMEOUT_S = 1800


class Instruction(NamedTuple):
    """One instruction, its continued lines joined."""

    name: str
    value: str


def instructions(text: str) -> Iterator[Instruction]:
    """The instructions of a Dockerfile, without comments."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n", "", "\n".join(lines)).splitlines():
        name, _, value = line.strip().partition(" ")
        yield Instruction(name.upper(), " ".join(value.split()))


@dataclass
class Stage:
    """What a stage has come to.

    Attributes:
        root: Folder of its files.
        env: Variables that ``ENV`` set.
        folder: The last ``WORKDIR``.
        user: The last ``USER``; empty for root.
        volumes: Paths of ``VOLUME``.
        entrypoint: ``ENTRYPOINT``.
        command: ``CMD``.
        stop_signal: ``STOPSIGNAL``.
        changes: Command lines that would have changed the machine.
    """

    root: Path
    env: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = ""
    volumes: list[str] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    stop_signal: str = ""
    changes: list[str] = field(default_factory=list)

    def inside(self, path: str) -> Path:
        """The place of a path of the container on this machine."""
        return self.root / os.path.normpath(PurePosixPath(self.folder) / path).lstrip("/")

    def run(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """What ``docker run IMAGE ARGUMENTS`` runs."""
        return subprocess.run(
            command := [*self.entrypoint, *(arguments or self.command)],
            cwd=self.inside("."),
            env=self._environment() | dict(env or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
            executable=shutil.which(command[0], path=self._environment()["PATH"]),
        )

    def _environment(self) -> dict[str, str]:
        return {name: self._mapped(value) for name, value in self.env.items()}

    def _mapped(self, text: str) -> str:
        """A text in which the paths that the file makes are those below ``root``."""
        return re.sub(r"(?<![\w./-])/(opt|source|work|jobs|var/lib/apt)\b", rf"{self.root}/\1", text)


class Build:
    """The stages of a Dockerfile, each carried out in a folder of its own.

    Args:
        path: The Dockerfile.
        context: The build's context.
        folder: An empty folder for the stages.
        bases: Images that the file may begin with, by name; a stage that does goes on in the folder of that one.
        installs: Whether pip installs; otherwise its arguments are left in ``changes``, too.
    """

    def __init__(
        self,
        path: Path,
        context: Path,
        folder: Path,
        *,
        bases: Mapping[str, Stage] | None = None,
        installs: bool = True,
    ) -> None:
        self.stages: list[Stage] = []
        self._names: dict[str, Stage] = {}
        self._bases = bases or {}
        self._arguments: dict[str, str] = {}
        self._context = context
        self._ignored = _ignored(context / ".dockerignore")
        self._folder = folder
        self._programs = _programs(folder / "programs", installs=installs)
        for name, value in instructions(path.read_text("utf-8")):
            getattr(self, f"_{name.lower()}")(value)

    def _arg(self, value: str) -> None:
        name, equals, default = value.partition("=")
        assert equals, f"ARG {value} has no default"
        self._arguments[name] = default

    def _from(self, value: str) -> None:
        name = re.sub(r"\$\{(\w+)\}", lambda found: self._arguments[found[1]], value.split(maxsplit=1)[0])
        if base := self._bases.get(name):
            stage = replace(base, env=dict(base.env), volumes=list(base.volumes), changes=[])
        else:
            stage = Stage(self._folder / f"stage{len(self.stages)}")
            stage.root.mkdir()
        self.stages.append(stage)
        if found := re.fullmatch(r"\S+ AS (\S+)", value, re.IGNORECASE):
            self._names[found[1]] = stage

    def _copy(self, value: str) -> None:
        stage = self.stages[-1]
        words = value.split()
        origin = self._names[words.pop(0).removeprefix("--from=")] if words[0].startswith("--from=") else None
        *sources, target = words
        place = stage.inside(target)
        for source in sources:
            if origin is None:
                _copy_from_context(self._context / source, place, self._is_ignored, keeps_name=target.endswith("/"))
            else:
                shutil.copytree(origin.inside(source), place, symlinks=True)
                _move_paths(place, str(origin.root), str(stage.root))

    def _run(self, value: str) -> None:
        stage = self.stages[-1]
        inherited = {
            name: os.environ[name] for name in ("HOME", "PIP_CACHE_DIR", "PIP_INDEX_URL") if name in os.environ
        }
        path = f"{self._programs}:{os.environ['PATH']}"
        env = inherited | {name: text for name, text in stage.env.items() if name not in {"PIP_NO_CACHE_DIR", "PATH"}}
        done = subprocess.run(
            ["/bin/sh", "-ec", stage._mapped(value.replace("/usr/local/bin/python", "python"))],
            cwd=stage.inside("."),
            env=env | {"PATH": path, "CHANGES": str(self._programs / "changes")},
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, f"RUN {value}: {done.stdout}{done.stderr}"
        changes = self._programs / "changes"
        stage.changes += changes.read_text().splitlines() if changes.exists() else []
        changes.unlink(missing_ok=True)

    def _env(self, value: str) -> None:
        self.stages[-1].env |= dict(pair.split("=", 1) for pair in value.split())

    def _workdir(self, value: str) -> None:
        self.stages[-1].folder = value
        self.stages[-1].inside(".").mkdir(parents=True, exist_ok=True)

    def _user(self, value: str) -> None:
        self.stages[-1].user = value

    def _volume(self, value: str) -> None:
        self.stages[-1].volumes.append(value)

    def _stopsignal(self, value: str) -> None:
        self.stages[-1].stop_signal = value

    def _entrypoint(self, value: str) -> None:
        self.stages[-1].entrypoint = json.loads(value)

    def _cmd(self, value: str) -> None:
        self.stages[-1].command = json.loads(value)

    def _is_ignored(self, path: Path) -> bool:
        """Whether ``.dockerignore`` leaves a file of the context out: its last line that fits decides."""
        relative = path.relative_to(self._context).as_posix()
        ignored = False
        for pattern in self._ignored:
            plain = pattern.removeprefix("!")
            names = [relative, *(parent.as_posix() for parent in Path(relative).parents)]
            if any(fnmatch(name, plain) or fnmatch(name, plain.removeprefix("**/")) for name in names) or any(
                fnmatch(part, plain.removeprefix("**/")) for part in Path(relative).parts if plain.startswith("**/")
            ):
                ignored = not pattern.startswith("!")
        return ignored


def _ignored(path: Path) -> Sequence[str]:
    return [] if not path.exists() else [line for line in path.read_text().split("\n") if line and line[0] != "#"]


def _programs(folder: Path, *, installs: bool) -> Path:
    """A folder for the beginning of ``PATH``."""
    folder.mkdir()
    scripts = {name: f'echo "{name} $*" >> "$CHANGES"' for name in _CHANGING}
    python = f'exec "{sys.executable}" "$@"'
    if not installs:
        python = f'case "$*" in *" install "*) echo "python $*" >> "$CHANGES" ;; *) {python} ;; esac'
    for name, script in (scripts | {"python": python}).items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return folder


def _copy_from_context(source: Path, place: Path, is_ignored: object, *, keeps_name: bool) -> None:
    assert callable(is_ignored)
    found = [source] if "*" not in source.name else sorted(source.parent.glob(source.name))
    for one in found:
        assert one.exists(), f"COPY {one}: it does not exist"
        target = place / one.name if keeps_name and one.is_file() else place
        for file in sorted(one.rglob("*")) if one.is_dir() else [one]:
            if file.is_file():
                assert one.is_dir() or not is_ignored(file), f"COPY {file}: .dockerignore leaves it out"
                if not is_ignored(file):
                    copy = target / file.relative_to(one) if one.is_dir() else target
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(file, copy)


def _move_paths(folder: Path, old: str, new: str) -> None:
    """Replace a root in the scripts and settings of an environment, which name it; in a container both are ``/``."""
    for path in [*folder.glob("bin/*"), folder / "pyvenv.cfg"]:
        if path.is_file() and not path.is_symlink():
            try:
                text = path.read_text("utf-8")
            except UnicodeDecodeError:
                continue
            path.write_text(text.replace(old, new), "utf-8")
