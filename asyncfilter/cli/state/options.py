"""Arguments that the commands about states share."""

from __future__ import annotations

from typing import Annotated

import typer

WhereArgument = Annotated[
    str,
    typer.Argument(
        metavar="WHERE", help="A job file, or the address s3://BUCKET/PREFIX/NAME.state.", show_default=False
    ),
]
