"""All findings of one file: counted, and the first of them kept."""

from __future__ import annotations

from collections.abc import Callable

from asyncfilter.datasets.manifests.codes import Consequence, Finding, Severity


class FindingLog:
    """Counts findings and keeps the first of them.

    Args:
        most: How many are kept.
        on_finding: Called with every one.

    Attributes:
        counts: Findings of each code, in order of first appearance.
        first: The first finding of each code.
        severities: Findings of each severity.
        fatal: Codes of findings for which the file is of no use.
    """

    def __init__(self, *, most: int, on_finding: Callable[[Finding], object] | None = None) -> None:
        self.counts: dict[str, int] = {}
        self.first: dict[str, Finding] = {}
        self.severities = dict.fromkeys(Severity, 0)
        self.fatal: set[str] = set()
        self.total = 0
        self._most = most
        self._on_finding = on_finding
        self._of_lines: list[Finding] = []
        self._of_file: list[Finding] = []

    def add(self, found: Finding) -> None:
        """Count a finding; those about the file come last."""
        self.total += 1
        self.first.setdefault(found.code, found)
        self.counts[found.code] = self.counts.get(found.code, 0) + 1
        self.severities[found.severity] += 1
        if found.effect is Consequence.FATAL:
            self.fatal.add(found.code)
        kept = self._of_file if found.line is None else self._of_lines
        if len(kept) < self._most:
            kept.append(found)
        if self._on_finding is not None:
            self._on_finding(found)

    @property
    def kept(self) -> list[Finding]:
        """The first findings about lines, then those about the file; the latter have precedence."""
        room = max(0, self._most - len(self._of_file))
        return self._of_lines[:room] + self._of_file
