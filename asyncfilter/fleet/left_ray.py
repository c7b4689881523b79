"""The note beside a checkpoint that says where a Ray of our own is, and whether a killed run has left one there."""

from __future__ import annotations

from pathlib import Path

import msgspec

from asyncfilter.fleet.beside import read_beside, write_beside

LEFT_RAY = (
    "a run over this checkpoint was killed, and the Ray that it had started on this machine still holds its workers: "
    "what they keep was paid for, and this run does not take it over, so that it may be paid for again; --on ray "
    "without an address, and without RAY_ADDRESS, takes it over within ten minutes of the kill"
)
"""The caution of a run that goes elsewhere."""


class _Note(msgspec.Struct):
    """What is noted beside the checkpoint while our Ray runs."""

    folder: str


def ray_note(checkpoint: Path) -> Path:
    """Where it is noted that a Ray of our own runs."""
    return checkpoint.with_name(f"{checkpoint.name}.ray")


def write_note(note: Path, folder: Path) -> None:
    """Note the folder of a Ray of our own."""
    note.parent.mkdir(parents=True, exist_ok=True)
    write_beside(note, msgspec.json.encode(_Note(str(folder))))


def noted_folder(note: Path) -> Path | None:
    """The folder of a Ray of our own; None without a note that can be read."""
    try:
        return Path(msgspec.json.decode(read_beside(note), type=_Note).folder)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def address_in(folder: Path) -> str | None:
    """Where the Ray of a folder listens; None while it does not."""
    try:
        return (folder / "r" / "ray_current_cluster").read_text().strip() or None
    except OSError:
        return None


def is_left(checkpoint: Path) -> bool:
    """Whether a Ray of our own runs for a checkpoint that no run holds now."""
    folder = noted_folder(ray_note(checkpoint))
    address = None if folder is None else address_in(folder)
    if address is None:
        return False
    from asyncfilter.fleet.ray_connection import answers  # noqa: PLC0415  not needed by most runs

    return answers(address)
