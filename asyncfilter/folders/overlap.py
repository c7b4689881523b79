"""Whether a target is inside the source by another path: a symbolic link, or a second mount of the folder.

The job file shows only what the paths say. A copy that lands in the source would be listed and examined as well.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from asyncfilter.errors import UsageError
from asyncfilter.job.addresses import Template, parse_template
from asyncfilter.model import FOLDER, S3Location, StoreKind, folder_of
from asyncfilter.mounts import Mount, is_below, read_mounts, real_places


def check_targets(source: Path, targets: Iterable[tuple[str, str]]) -> None:
    """Check that no target is inside the source; to be called before the first call.

    Args:
        source: The folder that the images are in.
        targets: Keys of the job file with their targets, as templates.

    Raises:
        UsageError: A target is, or could be.
    """
    mounts = read_mounts()
    for key, target in targets:
        template = parse_template(target)
        if template.store is StoreKind.FOLDER and _could_land_inside(source, template, mounts):
            raise UsageError(
                f"{key}: {template} is inside the source {source}, by a symbolic link or a second mount",
                hint="Choose a target outside the source.",
            )


def _could_land_inside(source: Path, template: Template, mounts: list[Mount]) -> bool:
    root, folder = os.path.realpath(source), os.path.realpath(folder_of(template.bucket))
    if _is_same_folder(root, folder):
        return True
    sources = [root, *real_places(root, mounts)]
    # The places of a device begin with its numbers, so that none of them equals a path.
    return any(
        Template(FOLDER + place, template.parts).could_land_below(S3Location(FOLDER + one, ""))
        for place in (folder, *real_places(folder, [mount for mount in mounts if not is_below(mount.point, folder)]))
        for one in sources
    ) or any(
        is_below(place, one) or is_below(one, place)
        for place in _places_within(folder, template, mounts)
        for one in sources
    )


def _places_within(folder: str, template: Template, mounts: list[Mount]) -> Iterator[str]:
    """Where the folders really are that are mounted below a target's folder, and that the target may reach."""
    literal = f"{folder}/{template.literal_prefix()}"
    for mount in mounts:
        if is_below(mount.point, folder) and (f"{mount.point}/".startswith(literal) or literal.startswith(mount.point)):
            yield from real_places(mount.point, [mount])


def _is_same_folder(root: str, folder: str) -> bool:
    """Whether ``folder`` is the source or inside it, by the inodes of the folders above it."""
    try:
        source = os.stat(root)  # noqa: PTH116  beside samestat
    except OSError:
        return False  # reported when the source is opened
    for path in (Path(folder), *Path(folder).parents):
        try:
            if os.path.samestat(source, path.stat()):
                return True
        except OSError:
            continue  # does not exist yet
    return False
