"""The model versions of the answers of one checkpoint, by lane: where they differ the run says so, or ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from asyncfilter.clock import Clock
from asyncfilter.engine.core.cautions import Cautions
from asyncfilter.engine.core.stopping import StopSignal
from asyncfilter.errors import AsyncFilterError
from asyncfilter.events import Emit, ModelVersionsDiffer
from asyncfilter.model import StopReason
from asyncfilter.policy.lane_counts import OTHER
from asyncfilter.policy.provenance import provenance_of
from asyncfilter.ports.checkpoint import Positions
from asyncfilter.records.progress import LaneTotals, Totals

_LOOKED_AT = 20
"""Answers without a lane that are looked at, the first of them and as many of the last."""

_HINT = "Set detector.lanes_must_agree to false to go on with both, or begin anew with --fresh and other lanes."


class ModelVersions:
    """Compares the model version of each lane's answers with those of the checkpoint.

    Invariant: with ``must_agree``, no answer is judged whose version is not that of the first answer.

    Args:
        totals: The sums of the run, with the versions of every lane that the checkpoint has known.
        positions: Has the answers of runs without lanes.
        last_seq: Position of the last of them.
        must_agree: End the run at the first answer that differs.
        stop_signal: Ends the run.
        cautions: Has the one sentence about differing versions.
        emit: Called with the one event about them.
        clock: Time of the event.
    """

    def __init__(
        self,
        totals: Totals,
        *,
        positions: Positions,
        last_seq: int,
        must_agree: bool,
        stop_signal: StopSignal,
        cautions: Cautions,
        emit: Emit,
        clock: Clock,
    ) -> None:
        self._totals = totals
        self._positions = positions
        self._last_seq = last_seq
        self._without_lane: list[str] = []
        self._must_agree = must_agree
        self._stop_signal = stop_signal
        self._cautions = cautions
        self._emit = emit
        self._clock = clock
        self._agreed = ""
        self._said = ""

    async def begin(self) -> None:
        """Compare the versions that the checkpoint holds; where they must agree and do not, the run ends.

        Raises:
            CheckpointError: The checkpoint cannot be read.
        """
        self._without_lane = await self._former()
        self._agreed = next(self._versions(), "")
        if any(version != self._agreed for version in self._versions()):
            self._differ()

    async def _former(self) -> list[str]:
        """The versions of answers that no lane gave, as far as some of them show: the first and the last ones."""
        if self._totals.calls <= sum(lane.calls for lane in self._totals.lanes.values()):
            return []
        rows = [
            *await self._positions.positioned(0, _LOOKED_AT),
            *await self._positions.positioned(max(0, self._last_seq - _LOOKED_AT), _LOOKED_AT),
        ]
        found = [row.detection for row in rows if row.detection is not None and row.detection.model_version]
        return list(dict.fromkeys(one.model_version for one in found if provenance_of(one).lane is None))

    def _versions(self) -> Iterator[str]:
        yield from self._without_lane
        for lane in self._totals.lanes.values():
            yield from lane.model_versions

    def note(self, sums: LaneTotals, version: str) -> bool:
        """Note the version of an answer; the sentence in the summary has all that were noted.

        Args:
            sums: Of the lane that gave the answer.
            version: As the service gave it; empty where it gave none.

        Returns:
            Whether the answer must not be judged.
        """
        if version not in sums.model_versions and version:
            sums.model_versions = (*sums.model_versions, version)
            if self._said:
                self._restate()
        if version == self._agreed or not version:
            return False
        if not self._agreed:
            self._agreed = version
            return False
        if not self._said:
            self._differ()
        return self._must_agree

    def _differ(self) -> None:
        versions = self._by_lane()
        self._emit(ModelVersionsDiffer(at_unix_s=self._clock.unix(), versions=versions))
        self._said = _sentence(versions)
        self._cautions.say(self._said)
        if self._must_agree:
            self._stop_signal.request(StopReason.ERRORS, AsyncFilterError(_message(versions), hint=_HINT))

    def _restate(self) -> None:
        """Put a sentence with all versions in place of the one that was said, which names those known then."""
        self._cautions.take_back(self._said)
        self._said = _sentence(self._by_lane())
        self._cautions.note([self._said])

    def _by_lane(self) -> dict[str, list[str]]:
        versions = {name: list(lane.model_versions) for name, lane in self._totals.lanes.items() if lane.model_versions}
        return versions if not self._without_lane else {**versions, OTHER: self._without_lane}


def _message(versions: Mapping[str, Sequence[str]]) -> str:
    described = "; ".join(f"{name}: {', '.join(found)}" for name, found in versions.items())
    return f"the answers are of different model versions ({described})"


def _sentence(versions: Mapping[str, Sequence[str]]) -> str:
    return f"{_message(versions)}: the same image may be labelled differently"
