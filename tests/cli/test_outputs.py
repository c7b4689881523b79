"""Where output goes: full disks, closed streams, special files, narrow terminals, odd paths."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import stat
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from asyncfilter.sandbox import BucketSpec, SamplesSpec, SandboxOptions, SandboxProcess
from tests.kit.jobs import write_job
from tests.kit.workspace import COMMAND, Workspace, wait_until

JOB: dict[str, Any] = {
    "source": "s3://raw/raw/",
    "rules": [{"keep": {"any": ["Robin"]}}],
    "actions": {"keep": {"copy": "s3://clean/"}},
    "limits": {"budget_usd": 1},
}
PICTURES = 5


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    """Five pictures."""
    with SandboxProcess(SandboxOptions(samples=(SamplesSpec("raw", PICTURES),), buckets=(BucketSpec("clean"),))) as run:
        yield run


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, sandbox: SandboxProcess) -> Workspace:
    """A folder after one run of ``job.yaml``."""
    workspace = Workspace(tmp_path_factory.mktemp("outputs"), sandbox, **JOB)
    workspace.summary("run", "job.yaml")
    return workspace


def shell(workspace: Workspace, line: str) -> subprocess.CompletedProcess[str]:
    """Run a line of the shell in which ``asyncfilter`` is the program."""
    function = f'asyncfilter() {{ {" ".join(COMMAND)} "$@"; }}; '
    return subprocess.run(
        ["/bin/bash", "-c", function + line],
        cwd=workspace.folder,
        env=workspace.env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


# -- stdout and stderr -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        "run job.yaml --json",
        "run job.yaml --events -",
        "status job.yaml",
        "export job.yaml",
        "export job.yaml -o /dev/stdout",
        "apply job.yaml --dry-run",
        "--help",
        "--version",
    ],
)
def test_a_full_stdout_ends_with_74(workspace: Workspace, command: str) -> None:
    """One line on stderr says why; there is no traceback, and no word of the interpreter's own end."""
    done = shell(workspace, f"asyncfilter {command} >/dev/full")
    assert done.returncode == 74, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert "No space left on device" in errors[0]
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize(
    "command", ["export job.yaml", "status job.yaml", "--help", "run job.yaml --json", "plan job.yaml"]
)
def test_a_reader_that_leaves_is_no_failure(workspace: Workspace, command: str) -> None:
    """``| head`` ends with the command's own code, and without an error."""
    done = shell(workspace, f"asyncfilter {command} | head -c 0; exit ${{PIPESTATUS[0]}}")
    assert (done.returncode, "error" in done.stderr) == (0, False), done.stderr


@pytest.mark.parametrize("stderr", ["2>/dev/full", "2>&-", "2> >(true)"])
def test_trouble_with_stderr_costs_no_result(workspace: Workspace, stderr: str) -> None:
    """The JSON is complete and the exit code the run's, also where messages and logs are many."""
    done = shell(workspace, f"asyncfilter run job.yaml --json --verbose {stderr}")
    assert done.returncode == 0
    assert json.loads(done.stdout)["examined"] == PICTURES
    done = shell(workspace, f"asyncfilter run none.yaml --json {stderr}")
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize("closed", ["<&-", "<&- >&-", "<&- >&- 2>&-", "0<&- 2>&-", "<&- >/dev/full 2>&-"])
def test_closed_streams_are_no_files(workspace: Workspace, closed: str) -> None:
    """A file that is opened later never gets the number of a closed stream."""
    done = shell(workspace, f"asyncfilter run job.yaml --json {closed}")
    assert done.returncode == (74 if "full" in closed else 0), done.stderr
    status = workspace.json("status", "job.yaml")
    assert status["examined"] == PICTURES
    assert not (workspace.folder / ".asyncfilter" / "robins.db").read_bytes()[:16].strip(b"SQLite format 3\0")


def test_no_stdin_is_no_terminal(workspace: Workspace) -> None:
    """A question gets the answer no, in one line."""
    done = shell(workspace, "asyncfilter run job.yaml --fresh <&-")
    assert done.returncode == 2
    assert "no terminal to ask on" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_stdout_that_does_not_block_is_waited_for(workspace: Workspace) -> None:
    """A parent may have made the pipe non-blocking: nothing is lost while it is full."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    size_bytes = fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    process = subprocess.Popen([*COMMAND, "export", "job.yaml"], cwd=workspace.folder, env=workspace.env, stdout=write)
    os.close(write)
    wait_until(lambda: int.from_bytes(fcntl.ioctl(read, termios.FIONREAD, bytes(4)), sys.byteorder) == size_bytes)
    with os.fdopen(read, "rb") as pipe:
        assert len(pipe.read().splitlines()) == PICTURES
    assert process.wait(60) == 0


# -- --output and --events ---------------------------------------------------------------------------------------------


def test_a_pipe_is_written_into_and_stays(workspace: Workspace) -> None:
    """Also when its reader comes later; nothing is asked."""
    pipe = workspace.folder / "pipe"
    os.mkfifo(pipe)
    for command in (["export", "job.yaml", "--output", "pipe"], ["run", "job.yaml", "--events", "pipe"]):
        process = workspace.start(*command)
        found = pipe.read_bytes().splitlines()
        assert process.wait(60) == 0
        process.communicate()
        assert all(json.loads(line) for line in found)
        assert len(found) >= 3
        assert stat.S_ISFIFO(pipe.lstat().st_mode)


def test_a_socket_is_written_into_and_stays(workspace: Workspace, tmp_path: Path) -> None:
    """It gets the whole result."""
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        got: list[bytes] = []

        def receive() -> None:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as file:
                got.extend(file.readlines())

        thread = threading.Thread(target=receive)
        thread.start()
        done = workspace("export", "job.yaml", "--output", str(path))
        thread.join(60)
    assert done.returncode == 0, done.stderr
    assert len(got) == PICTURES
    assert stat.S_ISSOCK(path.lstat().st_mode)


@pytest.mark.parametrize("target", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_a_descriptor_is_written_into(workspace: Workspace, target: str) -> None:
    """Whatever it leads to, after what was written to it before."""
    done = shell(workspace, f"(echo first; asyncfilter export job.yaml -o {target}; echo last) > all; cat all")
    lines = done.stdout.splitlines()
    assert (lines[0], lines[-1], len(lines)) == ("first", "last", PICTURES + 2)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a device")
def test_a_device_is_written_into_and_stays(workspace: Workspace) -> None:
    """``/dev/null`` is not replaced by a file."""
    device = workspace.folder / "device"
    try:
        os.mknod(device, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("devices cannot be made here")
    assert workspace("export", "job.yaml", "-o", "device").returncode == 0
    assert stat.S_ISCHR(device.lstat().st_mode)


@pytest.mark.parametrize(
    "target",
    ["/dev/fd/99", f"/dev/fd/{'9' * 30}", "/proc/self/fd/2147483648", "/dev/fd/0", "n" * 300, "d/" * 3000 + "x"],
)
def test_an_impossible_target_is_a_mistake(workspace: Workspace, target: str) -> None:
    """Exit 2 in one line, before anything is done."""
    for command in ("export job.yaml -o", "run job.yaml --events"):
        done = shell(workspace, f"asyncfilter {command} {target} < job.yaml")
        assert done.returncode == 2, done.stderr
        assert len(done.stderr.splitlines()) == 2, done.stderr


def test_no_terminal_has_no_reader_to_wait_for(workspace: Workspace) -> None:
    """``/dev/tty`` without a terminal fails as a pipe without a reader does, but is not a pipe."""
    if not os.access("/dev/tty", os.F_OK):
        pytest.skip("no /dev/tty here")
    done = shell(workspace, "setsid -w timeout 60 " + " ".join(COMMAND) + " export job.yaml -o /dev/tty")
    assert done.returncode == 2
    assert "no program reads it" not in done.stderr


def test_a_job_from_a_pipe_keeps_its_checkpoint_here(workspace: Workspace) -> None:
    """The checkpoint is in the working directory, not in /dev, which is lost when the machine stops."""
    for job in ("/dev/stdin < job.yaml", "<(cat job.yaml)", "/proc/self/fd/0 < job.yaml"):
        done = shell(workspace, f"asyncfilter status --json {job}")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["examined"] == PICTURES


def test_a_pipe_is_no_reference(workspace: Workspace, tmp_path: Path) -> None:
    """``labels`` of a pipe would wait for ever in a thread."""
    os.mkfifo(tmp_path / "pipe.jpg")
    done = workspace("labels", str(tmp_path / "pipe.jpg"))
    assert done.returncode == 2
    assert "not a regular file" in done.stderr


@pytest.mark.parametrize(("target", "code"), [("> /dev/full", 74), ("| head -c 0", 0)])
def test_a_sandbox_serves_without_stdout(workspace: Workspace, target: str, code: int) -> None:
    """Its environment is on stdout alone, its address on stderr too; what was lost is told at its end."""
    command = "timeout --preserve-status 6 " + " ".join(COMMAND)
    done = shell(workspace, f"{command} sandbox {target}; exit ${{PIPESTATUS[0]}}")
    assert done.returncode == code, done.stderr
    assert "serving on" in done.stderr
    assert "cannot be served" not in done.stderr


def test_links_are_followed_and_files_keep_owner_and_permissions(workspace: Workspace, tmp_path: Path) -> None:
    """The file behind the link is replaced whole; a link that leads nowhere makes its file."""
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to("real")
    assert workspace("export", "job.yaml", "-o", str(link), "--yes").returncode == 0
    assert link.is_symlink()
    assert len(real.read_text().splitlines()) == PICTURES
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    (tmp_path / "new").symlink_to("made")
    assert workspace("export", "job.yaml", "-o", str(tmp_path / "new")).returncode == 0
    assert len((tmp_path / "made").read_text().splitlines()) == PICTURES
    assert {one.name for one in tmp_path.iterdir()} == {"real", "link", "new", "made"}


def test_a_file_that_cannot_be_written_whole_stays(workspace: Workspace, tmp_path: Path) -> None:
    """A limit on its size stands for the full disk: exit 74, the old content, and no file beside it."""
    target = tmp_path / "old.jsonl"
    target.write_text("old")
    done = shell(workspace, f"ulimit -f 1; asyncfilter export job.yaml --yes -o {target}")
    assert done.returncode == 74, done.stderr
    assert "Traceback" not in done.stderr
    assert target.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["old.jsonl"]


@pytest.mark.parametrize("target", ["/dev/full", "none/x", "."])
def test_an_output_that_cannot_be_used(workspace: Workspace, target: str) -> None:
    """Lost events do not end a run, and are no success; what cannot be opened is a mistake of the command line."""
    code = 74 if target == "/dev/full" else 2
    for command in (["run", "job.yaml", "--json", "--events"], ["export", "job.yaml", "--output"]):
        done = workspace(*command, target)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        assert target in done.stderr
    if code == 74:
        assert json.loads(workspace("run", "job.yaml", "--json", "--events", target).stdout)["exit_code"] == 0


def test_events_are_private(workspace: Workspace, tmp_path: Path) -> None:
    """A new file of events is the owner's alone; an export is made as the umask says."""
    shell(
        workspace,
        f"umask 022; asyncfilter run job.yaml --events {tmp_path}/e; asyncfilter export job.yaml -o {tmp_path}/x",
    )
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("e", "x")] == [0o600, 0o644]


# -- Width -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", ["0", "-5", "²", "99999999999"])
def test_a_width_that_is_none_is_80(workspace: Workspace, columns: str) -> None:
    """The output is that of a terminal of 80 columns."""
    wanted = workspace("status", "job.yaml", env=workspace.env | {"COLUMNS": "80"}).stdout
    assert len(wanted) > 200
    found = workspace("status", "job.yaml", env=workspace.env | {"COLUMNS": columns}).stdout
    assert found == wanted


@pytest.mark.parametrize("columns", [0, 1, 20, 40])
def test_narrow_terminals_are_readable(workspace: Workspace, columns: int) -> None:
    """No line is wider than the terminal, the words are there, and nothing fails."""
    for command in (["status", "job.yaml"], ["run", "job.yaml"]):
        terminal = workspace.terminal(*command, columns=columns, TERM="xterm")
        assert terminal.end() == 0, terminal.seen
        if columns >= 20:
            assert max(cell_len(line) for line in terminal.lines) <= columns
        text = "".join(terminal.seen.split())
        assert "Traceback" not in text
        assert len(text) > 20


# -- Paths -------------------------------------------------------------------------------------------------------------


def test_a_job_in_a_folder_that_is_not_utf_8(workspace: Workspace, tmp_path: Path) -> None:
    """Every command works, and JSON has escapes in place of the bytes."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    write_job(folder / "job.yaml", **JOB)
    for command in (
        ["run", "--json"],
        ["run", "--events", str(folder / "events")],
        ["status"],
        ["status", "--json"],
        ["export"],
        ["refilter", "--json"],
        ["apply", "--dry-run"],
    ):
        done = workspace(command[0], str(folder / "job.yaml"), *command[1:])
        assert done.returncode == 0, (command, done.stderr)
    assert "caf\\udce9" in workspace.json("status", str(folder / "job.yaml"))["checkpoint"]
    events = [json.loads(line) for line in (folder / "events").read_bytes().splitlines()]
    assert "caf\\udce9" in events[0]["checkpoint"]


@pytest.mark.parametrize(("source", "actions"), [("./photos", {}), ("/srv/photos", {"keep": {"copy": "./out/{key}"}})])
def test_a_folder_that_is_not_utf_8_is_refused(
    workspace: Workspace, tmp_path: Path, source: str, actions: dict[str, Any]
) -> None:
    """What could not be stored is refused in the job, with its position."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    write_job(folder / "job.yaml", **JOB | {"source": source, "actions": actions})
    done = workspace("run", str(folder / "job.yaml"))
    assert done.returncode == 2
    assert "UTF-8, found the job file in" in done.stderr


@pytest.mark.parametrize(
    "command", [["run"], ["run", "--fresh"], ["status"], ["export"], ["plan"], ["refilter"], ["apply", "--dry-run"]]
)
@pytest.mark.parametrize("kind", ["file", "loop", "long name", "long path", "pipe"])
def test_an_impossible_checkpoint_is_exit_3(
    workspace: Workspace, tmp_path: Path, kind: str, command: list[str]
) -> None:
    """In one line with a hint, from every command; nothing is paid, and nothing is set aside."""
    checkpoint = {
        "file": ".asyncfilter/robins.db",
        "loop": "loop.db",
        "long name": "n" * 300,
        "long path": "/".join(["d" * 100] * 6) + "/x.db",
        "pipe": "pipe.db",
    }[kind]
    write_job(tmp_path / "job.yaml", **JOB | {"checkpoint": checkpoint})
    (tmp_path / ".asyncfilter").write_text("")
    (tmp_path / "loop.db").symlink_to("loop.db")
    os.mkfifo(tmp_path / "pipe.db")
    before = workspace.billed()
    code, _, err = workspace.here(command[0], str(tmp_path / "job.yaml"), *command[1:])
    if kind == "long path" and command == ["plan"]:
        assert code == 0  # there is no checkpoint there, and a plan makes none
        return
    assert code == 3, err
    assert "error: " in err
    assert "Traceback" not in err
    assert workspace.billed() == before
    assert stat.S_ISFIFO((tmp_path / "pipe.db").lstat().st_mode)


@pytest.mark.parametrize("address", ["S3://b/x", "https://host/x.db", "s3:/b/x", "arn:aws:s3:::b/x"])
def test_a_checkpoint_elsewhere_is_refused_with_its_position(
    workspace: Workspace, tmp_path: Path, address: str
) -> None:
    """A checkpoint is a file of this machine, or below an address that begins with s3://."""
    write_job(tmp_path / "job.yaml", **JOB | {"checkpoint": address})
    code, _, err = workspace.here("run", str(tmp_path / "job.yaml"))
    assert code == 2
    expected = "expected the path of a file on this machine, or s3://bucket/prefix/"
    assert f": checkpoint: {expected}, found {address}\n" in err
    assert ".yaml:" in err


@pytest.mark.parametrize("address", ["./state", "state", "s3:/b/x", "S3://b/x", "https://host/x"])
def test_a_copy_of_a_checkpoint_is_in_s3(workspace: Workspace, tmp_path: Path, address: str) -> None:
    """What is no address in S3 is refused with the one form that is allowed, and not with those of a source."""
    write_job(tmp_path / "job.yaml", **JOB | {"checkpoint_copy": address})
    code, _, err = workspace.here("run", str(tmp_path / "job.yaml"))
    assert code == 2
    assert f": checkpoint_copy: expected s3://bucket/prefix/, found {address}\n" in err


def test_another_system_is_told_in_one_line(tmp_path: Path) -> None:
    """Windows has no fcntl: the program says what it needs, and so does the library."""
    fake = "import os, sys; os.name = 'nt'; "
    for call, word in (
        ("sys.argv = ['asyncfilter', '--help']; import asyncfilter.__main__", "asyncfilter: error: Linux or macOS"),
        ("import asyncfilter\ntry: asyncfilter.run\nexcept ImportError as e: sys.exit(str(e))", "needs Linux or macOS"),
    ):
        done = subprocess.run([sys.executable, "-c", fake + call], capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert word in done.stderr
        assert len(done.stderr.splitlines()) == 1
