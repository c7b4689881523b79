"""The logs of watchers are removed when they are old and their leases have ended, and nothing else is."""

from __future__ import annotations

import os
from pathlib import Path

from asyncfilter.custom_labels.lease_table import Leases, Wish
from asyncfilter.custom_labels.ledger import open_ledger
from asyncfilter.custom_labels.processes import ThisHost
from asyncfilter.wiring.watcher import log_path, remove_old_logs
from tests.kit.models import ARN

NOW_S = 2_000_000_000.0


def test_old_logs_of_ended_leases_are_removed(tmp_path: Path) -> None:
    """An open lease keeps its log, however long its watcher has written nothing; links are not followed."""
    with open_ledger(tmp_path) as ledger:
        leases = Leases(ledger, ThisHost())
        held = leases.take(Wish(arn=ARN, for_s=3600))
        logs = {name: log_path(tmp_path, name) for name in (held.id, "old", "new")}
        others = [tmp_path / "watch-notes.txt", tmp_path / "mine.log"]
        for path in (*logs.values(), *others):
            path.write_text("a line\n")
            os.utime(path, (NOW_S, NOW_S - 10 if path != logs["new"] else NOW_S + 10))
        (tmp_path / "watch-link.log").symlink_to(others[0])
        remove_old_logs(tmp_path, leases, before_unix_s=NOW_S)
    assert logs[held.id].exists()
    assert logs["new"].exists()
    assert not logs["old"].exists()
    assert all(path.exists() for path in others)
