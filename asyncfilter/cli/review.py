"""``asyncfilter review``."""

from __future__ import annotations

import functools
import getpass
import html
import os
import sys
import tempfile
import webbrowser
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer

from asyncfilter.cli import deferred
from asyncfilter.cli.options import ResultOptions, command_group, help_text, takes_options
from asyncfilter.cli.reading import load_for_reading
from asyncfilter.cli.stderr import print_err
from asyncfilter.cli.terminal import write_lines
from asyncfilter.errors import UsageError
from asyncfilter.mounts import is_folder
from asyncfilter.policy.answers.checks import BadAnswerError, checked_label, checked_reviewer
from asyncfilter.report.as_json import json_line

app = command_group()


@app.command(
    "review",
    help=help_text(
        "Open a local page on which people decide the uncertain images of a job, correct labels and draw boxes. Works "
        "while a run goes on, and writes to the answers file alone; `run`, `refilter` and `apply` take it from there. "
        "A folder of pictures needs no job.",
        "asyncfilter review job.yaml",
        "asyncfilter review job.yaml --as anna --as ben      a link for each of them",
        "asyncfilter review ./photos --label-set robin,wren,other",
        "ssh -L 8800:127.0.0.1:8800 server asyncfilter review job.yaml --port 8800 --no-open",
    ),
)
@takes_options
def review(
    target: Annotated[
        Path, typer.Argument(metavar="JOB|FOLDER", help="The job file, or a folder of pictures.", show_default=False)
    ],
    *,
    reviewers: Annotated[
        list[str] | None,
        typer.Option("--as", metavar="NAME", help="Who reviews; may be repeated. Default: the login name.",
                     show_default=False),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65535, help="Port to serve on. Default: the same as before.",
                     show_default=False),
    ] = None,
    host: Annotated[str, typer.Option("--host", metavar="ADDR", help="Address to serve on.")] = "127.0.0.1",
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Allow a --host that other machines can reach; better: ssh -L.")
    ] = False,
    no_open: Annotated[bool, typer.Option("--no-open", help="Do not open a browser.")] = False,
    new_link: Annotated[bool, typer.Option("--new-link", help="Make new links; the former ones end.")] = False,
    label_set: Annotated[
        str | None,
        typer.Option("--label-set", metavar="A,B,C", help="The labels to choose from.", show_default=False),
    ] = None,
    answers: Annotated[
        Path | None,
        typer.Option("--answers", metavar="FILE", help="The answers file. Default: beside the checkpoint, or in "
                     ".asyncfilter of the folder.", show_default=False),
    ] = None,
    options: ResultOptions,
) -> None:  # fmt: skip
    """Serve the page until a signal; the exit code is then 0."""
    chosen = deferred.ReviewOptions(
        reviewers=_reviewers(reviewers),
        answers=answers,
        labels=None if label_set is None else _labels(label_set),
        port=port,
        host=host,
        new_link=new_link,
    )
    if chosen.is_remote and not allow_remote:
        raise UsageError(
            f"--host {host}: other machines could reach it",
            hint="Add --allow-remote; or leave --host out and use ssh -L PORT:127.0.0.1:PORT.",
        )
    serve_review(target, chosen, as_json=options.as_json, no_open=no_open)


def serve_review(
    target: Path, chosen: deferred.ReviewOptions | None = None, *, as_json: bool, no_open: bool = False
) -> None:
    """Serve the review of a job or a folder until a signal; by default to the user alone."""
    chosen = chosen or deferred.ReviewOptions(reviewers=_reviewers(None))
    opens = not no_open and not as_json and sys.stdout.isatty()
    with _browser(opens=opens) as show:

        def on_open(served: deferred.Served) -> None:
            _print(served, as_json=as_json)
            show(next(iter(served.urls.values())))

        server: Callable[[], Awaitable[None]]
        if is_folder(target):
            server = functools.partial(deferred.review_folder, target, chosen, on_open=on_open, warn=print_err)
        else:
            job = load_for_reading(target, may_write_answers=True)
            server = functools.partial(deferred.review_job, job, chosen, on_open=on_open, warn=print_err)
        deferred.run_until_signal(server)


def _print(served: deferred.Served, *, as_json: bool) -> None:
    if not as_json:
        write_lines(f"review {name}: {url}" for name, url in served.urls.items())
        return
    urls = [{"reviewer": name, "url": url} for name, url in served.urls.items()]
    found = {
        "urls": urls,
        "port": served.port,
        "pid": os.getpid(),
        "answers": str(served.answers),
        "images": served.images,
    }
    write_lines([json_line(found).decode().rstrip("\n")])


def _reviewers(names: Sequence[str] | None) -> list[str]:
    """The names of the reviewers, each once."""
    try:
        if names:
            return list(dict.fromkeys(checked_reviewer(name) for name in names))
    except BadAnswerError as error:
        raise UsageError(f"--as: {error.message}") from error
    with suppress(BadAnswerError, OSError, KeyError):
        return [checked_reviewer(getpass.getuser())]
    return ["me"]


def _labels(text: str) -> list[str]:
    try:
        return list(dict.fromkeys(checked_label(label) for label in text.split(",") if label.strip()))
    except BadAnswerError as error:
        raise UsageError(f"--label-set: {error.message}") from error


@contextmanager
def _browser(*, opens: bool) -> Iterator[Callable[[str], object]]:
    """A function that opens a link in the browser, or does nothing.

    The link is not an argument of the browser's process, which every user of this machine can see: it stands in a file
    that only this one can read, and that is removed at the end.
    """
    if not opens:
        yield _nothing
        return
    with tempfile.TemporaryDirectory(prefix="asyncfilter-") as folder:

        def show(url: str) -> None:
            page = Path(folder) / "review.html"
            page.write_text(
                f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url={html.escape(url)}">',
                encoding="utf-8",
            )
            with suppress(webbrowser.Error):
                webbrowser.open(page.as_uri())

        yield show


def _nothing(_url: str) -> None:
    """No browser is opened."""
