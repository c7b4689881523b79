"""botocore's parsers of responses, for answers that may come from anybody.

Two of their steps take time that grows with the square of the response: texts that are no time are handed to
``dateutil``, and the namespace of an XML name is looked for with an expression that begins anew at each brace. A
response of 4 MB would hold the event loop, and with it Ctrl-C, for hours.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final

from aiobotocore.parsers import AioResponseParserFactory
from botocore.utils import parse_timestamp

MAX_TIME_CHARS: Final = 100
"""Longest text that is read as a time; the longest one that AWS sends has 35 characters."""

_NAMESPACE: Final = re.compile(r"\A\{[^}]*\}")


class ResponseParsers(AioResponseParserFactory):  # type: ignore[misc]  # aiobotocore has no types
    """Makes botocore's parsers; each one reads any response in time proportional to its length."""

    def __init__(self) -> None:
        super().__init__()
        self.set_parser_defaults(timestamp_parser=parse_time)

    def create_parser(self, protocol_name: str) -> Any:  # noqa: ANN401  a parser of botocore, which has no types
        """See ``ResponseParserFactory``."""
        parser = super().create_parser(protocol_name)
        if hasattr(parser, "_namespace_re"):  # of parsers of XML alone; it has no public name
            parser._namespace_re = _NAMESPACE  # noqa: SLF001
        return parser


def parse_time(value: object) -> datetime:
    """A time in any form that botocore reads: a number, or a text.

    Raises:
        ValueError: It is none.
    """
    if isinstance(value, str) and len(value) > MAX_TIME_CHARS:
        raise ValueError(f"a time of {len(value):,} characters")
    found: datetime = parse_timestamp(value)
    return found
