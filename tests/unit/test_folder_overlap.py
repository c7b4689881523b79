"""A target that is inside the source by another path is refused before the first call."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncfilter.errors import UsageError
from asyncfilter.folders import check_targets, overlap
from asyncfilter.mounts import Mount
from tests.kit.mounts import bind_mount


def check(source: Path, target: str) -> None:
    """Check one target."""
    check_targets(source, [("actions.keep", f"file://{target}")])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with ``photos/robin``, ``out`` and ``view``."""
    for name in ("photos/robin", "out", "view"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize("target", ["out/{key}", "view/{label}/{basename}", "photos2/{key}", "new/deep/x-{key}"])
def test_targets_beside_the_source_pass(root: Path, target: str) -> None:
    """Existing or not, with any placeholders."""
    check(root / "photos", f"{root}/{target}")


@pytest.mark.parametrize("target", ["link/{key}", "link/copies/{key}", "link/robin/x-{key}", "deep/{key}"])
def test_a_link_into_the_source_is_refused(root: Path, target: str) -> None:
    """To the source, or to a folder in it."""
    (root / "link").symlink_to("photos")
    (root / "deep").symlink_to(root / "photos" / "robin")
    with pytest.raises(UsageError, match=r"actions\.keep: .* is inside the source"):
        check(root / "photos", f"{root}/{target}")


def test_a_source_that_is_a_link_is_followed(root: Path) -> None:
    """The target is in the folder that the source leads to."""
    (root / "source").symlink_to("photos")
    with pytest.raises(UsageError):
        check(root / "source", f"{root}/photos/copies/{{key}}")


def test_links_in_a_circle_are_no_reason_to_fail(root: Path) -> None:
    """The copy itself reports them."""
    (root / "loop").symlink_to("loop")
    check(root / "photos", f"{root}/loop/{{key}}")


@pytest.mark.parametrize(
    ("mounted", "at", "target"),
    [
        ("photos", "view", "view/{key}"),
        ("photos", "view", "view/copies/{key}"),
        ("photos/robin", "view", "view/copies/{key}"),
        ("photos", "out", "{label}/{key}"),
        ("out", "photos/robin", "out/{key}"),
        ("out", "photos/robin", "out/deep/{key}"),
    ],
)
def test_a_mount_of_the_source_is_refused(root: Path, mounted: str, at: str, target: str) -> None:
    """The source mounted at the target, a folder of it, and the target mounted in the source."""
    (root / "jobs").mkdir()
    check(root / "photos", f"{root}/out/{{key}}")
    with bind_mount(root / mounted, root / at), pytest.raises(UsageError, match="second mount"):
        check(root / "photos", f"{root}/{target}")


def test_a_mount_of_something_else_passes(root: Path) -> None:
    """A folder beside the source, mounted at the target or in the source."""
    with bind_mount(root / "out", root / "view"):
        check(root / "photos", f"{root}/view/{{key}}")
    (root / "else").mkdir()
    with bind_mount(root / "else", root / "photos" / "robin"):
        check(root / "photos", f"{root}/out/{{key}}")


@pytest.mark.parametrize(
    ("mounts", "target", "is_inside"),
    [
        ([Mount("8:1", "/", "/"), Mount("8:2", "/", "/data"), Mount("8:2", "/raw", "/copy")], "/copy/x/{key}", True),
        ([Mount("8:1", "/", "/"), Mount("8:2", "/", "/data"), Mount("8:2", "/out", "/copy")], "/copy/x/{key}", False),
        ([Mount("8:1", "/", "/"), Mount("8:2", "/", "/data"), Mount("8:3", "/raw", "/copy")], "/copy/x/{key}", False),
        ([Mount("8:1", "/", "/"), Mount("8:1", "/out", "/data/raw/in")], "/out/{key}", True),
        ([Mount("8:1", "/", "/"), Mount("8:1", "/data/raw", "/out/robin")], "/out/{label}/{key}", True),
        ([Mount("8:1", "/", "/"), Mount("8:1", "/data/raw", "/out/robin")], "/out/jay/{key}", False),
        ([], "/copy/x/{key}", False),
    ],
)
def test_the_table_of_mounts_decides(
    monkeypatch: pytest.MonkeyPatch, mounts: list[Mount], target: str, *, is_inside: bool
) -> None:
    """Places are compared by device and path in it; without a table, by path and inode alone."""
    monkeypatch.setattr(overlap, "read_mounts", lambda: mounts)
    if is_inside:
        with pytest.raises(UsageError):
            check(Path("/data/raw"), target)
    else:
        check(Path("/data/raw"), target)
