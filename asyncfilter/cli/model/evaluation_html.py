"""``model evaluate --html``: the page, with the pictures of the mistakes where they can be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from asyncfilter.cli import deferred
from asyncfilter.cli.model import verbs
from asyncfilter.cli.result_file import open_result
from asyncfilter.cli.signals import PROCESS, show_cursor
from asyncfilter.cli.stderr import print_err
from asyncfilter.cli.terminal import is_live, stderr_console
from asyncfilter.custom_labels.evaluation.comparison import Comparison
from asyncfilter.custom_labels.evaluation.evaluation import Evaluation
from asyncfilter.datasets.manifests.source_ref import parse_source_ref
from asyncfilter.errors import UsageError
from asyncfilter.job.addresses import parse_s3_uri
from asyncfilter.job.spec import Aws
from asyncfilter.model import FOLDER, S3, S3Location
from asyncfilter.mounts import is_folder
from asyncfilter.report.evaluation import images_with_mistakes
from asyncfilter.report.formatting import count, size
from asyncfilter.report.html.evaluation_cards import Thumbnail
from asyncfilter.report.html.evaluation_mistakes import MOST_PICTURES, thumbnail_size
from asyncfilter.report.html.evaluation_page import evaluation_page

if TYPE_CHECKING:
    from asyncfilter.wiring.thumbnails import Thumbnails


def write_page(
    path: Path, found: Evaluation, comparison: Comparison | None, *, source: str | None, reads_s3: bool, aws: Aws
) -> None:
    """Write the page.

    Args:
        path: Where it goes.
        found: The evaluation.
        comparison: With an older version; None without one.
        source: ``--pictures``; None without it.
        reads_s3: Whether pictures are read at their addresses where no source is given.
        aws: The AWS settings.

    Raises:
        UsageError: The source is none.
        AccessError: No picture can be read.
    """
    wrong = [image.source_ref for image in images_with_mistakes(found)]
    pictures: Mapping[str, Thumbnail] = {}
    why = ""
    if source is not None or reads_s3:
        pictures, why = _pictures(wrong, None if source is None else _place(source), aws)
    elif wrong:
        why = "Without --pictures the page has no pictures."
    body = evaluation_page(found, comparison, pictures, why_no_pictures=why).encode()
    with open_result("--html", path) as out:
        out.write(body)
    print_err(f"{path}: {size(len(body))}, {count(len(pictures))} pictures")


def _pictures(wrong: Sequence[str], source: S3Location | None, aws: Aws) -> tuple[Mapping[str, Thumbnail], str]:
    """Thumbnails by the address of the image, and a sentence about those that are missing."""
    usable = [ref for ref in wrong if parse_source_ref(ref) is not None]
    refs = usable[:MOST_PICTURES]
    result = _fetched(refs, source, aws)
    missing = Counter(result.missing)
    missing["have no address in S3"] = len(wrong) - len(usable)
    missing[f"are beyond the {count(MOST_PICTURES)} of a page"] = len(usable) - len(refs)
    reasons = [f"{count(number)} {reason}" for reason, number in sorted(missing.items()) if number]
    return result.found, f"Pictures that are not shown: {', '.join(reasons)}." if reasons else ""


def _fetched(refs: Sequence[str], source: S3Location | None, aws: Aws) -> Thumbnails:
    size_px, most_bytes = thumbnail_size(len(refs))
    fetch = partial(verbs.fetch_thumbnails, refs, source=source, size_px=size_px, most_bytes=most_bytes, aws=aws)
    console = stderr_console()
    if not is_live(console):
        return deferred.run_async(fetch)
    with PROCESS.at_end(show_cursor), console.status("reading pictures") as status:
        return deferred.run_async(
            partial(fetch, on_fetched=lambda number: status.update(f"reading pictures: {count(number)}"))
        )


def _place(source: str) -> S3Location:
    """A folder, or a prefix that ends in a slash.

    Raises:
        UsageError: It is neither.
    """
    if not source.startswith(S3):
        folder = Path(source)
        if not is_folder(folder):
            raise UsageError(
                f"--pictures {source}: there is no such folder", hint="Name a folder, or s3://BUCKET/PREFIX."
            )
        return S3Location(FOLDER + str(folder.absolute()).rstrip("/"), "")
    try:
        bucket, prefix = parse_s3_uri(source)
    except ValueError as error:
        raise UsageError(f"--pictures: {error}", hint="Name a folder, or s3://BUCKET/PREFIX.") from error
    return S3Location(bucket, prefix if not prefix or prefix.endswith("/") else f"{prefix}/")
