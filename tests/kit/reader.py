"""A reader of one document, who runs what it shows from top to bottom.

- The folder has README's ``job.yaml`` and the files of ``config/`` from the start. A block whose first line names a
  file (``# job.yaml``) is written there.
- ``asyncfilter sandbox`` runs beside the shell until the document ends, as in another terminal, and what it prints is
  pasted into the shell. A document that starts none has one for its jobs.
- The Python blocks of a document are one program, which is run at the end.
- Every other command must end with exit code 0, or be followed by ``echo $?``, and print what is shown below it. What
  follows a question is typed as its answer.
"""

from __future__ import annotations

import shutil
import sys
from contextlib import ExitStack
from pathlib import Path

from tests.kit.documents import ROOT, Block, Step, blocks, steps
from tests.kit.shell import COLUMNS, Shell, shown_lines
from tests.kit.terminal import Terminal
from tests.kit.workspace import bare_environment

RUN = {"asyncfilter", "cat", "cd", "echo", "export", "head", "ls", "printf", "python"}
"""Programs that are run."""
NOT_RUN = {
    "aws": "the AWS CLI is not part of the tests, and what it does needs an account",
    "docker": "tests/cli/test_deployment.py carries out what the image does",
    "kubectl": "needs a Kubernetes; the tests check the resources against their definitions",
    "make": "installs the requirements, or is what runs these tests",
    "pip": "changes the environment that runs these tests",
    "ray": "needs a cluster or an account; ``make test-cluster`` starts one on this machine",
    "sudo": "changes the system; tests/cli/test_deployment.py checks the files that are installed",
}
"""Programs that are not run, and why; a command with any other program is an error."""
WITHOUT_SANDBOX = {"docs/credentials.md"}
"""Documents on what happens without the keys and settings of a sandbox."""

_SANDBOX = "asyncfilter sandbox"
_SERVING = "Ctrl-C ends it"


def read_document(document: str, home: Path) -> None:
    """Run all console and Python blocks of a document.

    Args:
        document: A path from the root of the project.
        home: A new folder, in which everything is done.

    Raises:
        AssertionError: A command fails, or its output is not the one that is shown.
    """
    program = ""
    with ExitStack() as stack:
        reader = Reader(document, home, stack)
        for block in blocks(document):
            if block.language == "console":
                reader.run(list(steps(block)))
            elif block.language == "python":
                program += block.text
            else:
                reader.write(block)
        if program:
            (reader.folder / "program.py").write_text(program, "utf-8")
            reader.run([Step(document, "python program.py", ())])


class Reader:
    """Follows one document: the folder, the shell and the sandbox.

    Args:
        document: Its name.
        home: A new folder: home directory of the shell, and above its working directory.
        stack: Closes shell and sandbox.

    Attributes:
        folder: The working directory.
    """

    def __init__(self, document: str, home: Path, stack: ExitStack) -> None:
        self._stack = stack
        self.folder = home / "work"
        shutil.copytree(ROOT / "config", self.folder / "config")
        self._home = home
        self._env = bare_environment(home) | {"TERM": "dumb", "COLUMNS": str(COLUMNS)}
        self._env["PATH"] = f"{_programs(home / 'bin')}:{self._env['PATH']}"
        self._shell = stack.enter_context(Shell(self.folder, self._env))
        self._jobs = ["job.yaml"]
        self._is_served = document in WITHOUT_SANDBOX
        for block in blocks("README.md"):
            self.write(block)
        self._jobs = []

    def write(self, block: Block) -> None:
        """Write the file that the block shows, if it names one."""
        if block.file_name is None:
            return
        path = self.folder / Path(block.file_name.replace("~", str(self._home), 1))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, "utf-8")
        if block.language == "yaml":
            self._jobs.append(block.file_name)

    def run(self, steps_: list[Step]) -> None:
        """Run the commands of one block."""
        for step, following in zip(steps_, [*steps_[1:], None], strict=True):
            if not NOT_RUN.keys().isdisjoint(step.programs):
                continue
            unknown = set(step.programs) - RUN
            assert not unknown, f"{step.place}: {step.command}: list {unknown} in RUN, or in NOT_RUN with a reason"
            if step.command.startswith(_SANDBOX):
                self._serve(step)
                continue
            if not self._is_served:
                jobs = " ".join(f"--for {job}" for job in self._jobs or ["job.yaml"])
                self._serve(Step(step.place, f"{_SANDBOX} {jobs} --pictures 60 --yes", ()))
            code, lines = self._shell.run(step.command, step.answers)
            printed = "\n".join(lines)
            if following is None or following.command != "echo $?":
                assert code == 0, f"{step.place}: {step.command}: exit code {code}\n{printed}"
            assert step.agrees(lines), f"{step.place}: {step.command}: the document shows other output than\n{printed}"

    def _serve(self, step: Step) -> None:
        """Start a sandbox and paste what it prints into the shell."""
        self._is_served = True
        terminal = Terminal(["bash", "-c", f"exec {step.command}"], folder=self.folder, env=self._env, columns=COLUMNS)
        self._stack.callback(_stop, terminal)
        terminal.read_until(_SERVING)
        lines = shown_lines(terminal.seen)
        assert step.agrees(lines), (
            f"{step.place}: {step.command}: the document shows other output than\n{terminal.seen}"
        )
        for line in lines:
            if line.startswith(("unset ", "export ")):
                self._shell.run(line)


def _stop(terminal: Terminal) -> None:
    terminal.type("\x03")
    terminal.end()


def _programs(folder: Path) -> Path:
    """A folder with the Python of the tests, and the command ``asyncfilter`` of the code under test."""
    folder.mkdir()
    for name, arguments in (("asyncfilter", "-m asyncfilter"), ("python", "")):
        path = folder / name
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        path.chmod(0o755)
    return folder
