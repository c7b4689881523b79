"""The draw of an audit: from the images of a checkpoint, one by one, to what is frozen and asked.

The population of a rule are the images that no rule before it takes. The part ``taken`` has those with a score of at
least the floor, ``rest`` the others that no rule keeps. In each part the images of the lowest ranks, by a seeded hash
of the key, are a simple random sample without replacement, whatever is asked first.

Memory is that of the positions and of one count for each threshold, whatever the number of images.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence

from asyncfilter.job.spec import Job
from asyncfilter.model import Decision, Verdict
from asyncfilter.policy.calibration import candidates
from asyncfilter.policy.rules import Ruleset, SeenLabels, compile_rules
from asyncfilter.policy.sampling import Ranking
from asyncfilter.policy.scores import Score, score_of
from asyncfilter.records.draws import DrawnImage, DrawnPart, MeasuredRule, NewDraw, Targets
from asyncfilter.records.images import StoredImage

_RANKED = "audit\n"
"""Before a key, so that its rank is another than in ``order: random``."""


def is_counted(image: StoredImage, *, skips_duplicates: bool) -> bool:
    """Whether an image is in populations: it has a place and labels, and is there."""
    is_there = image.seq is not None and image.detection is not None and image.removal is None
    return is_there and not (skips_duplicates and image.same_as is not None)


class _Ranked:
    """One part of a population: how many images it has, and those of the lowest ranks."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._heap: list[tuple[int, str, DrawnImage]] = []
        self.images = 0

    def add(self, rank: int, image: StoredImage, bucket: str, score: float | None) -> None:
        """Add one image; its key must be new."""
        self.images += 1
        is_full = len(self._heap) >= self._size
        if is_full and -rank <= self._heap[0][0]:
            return
        drawn = DrawnImage(bucket=bucket, key=image.key, etag=image.etag, size_bytes=image.size_bytes, score=score)
        (heapq.heapreplace if is_full else heapq.heappush)(self._heap, (-rank, image.key, drawn))

    def part(self) -> DrawnPart:
        """What is frozen."""
        by_rank = sorted(self._heap, key=lambda entry: (-entry[0], entry[1]))
        return DrawnPart(images=self.images, positions=tuple(drawn for _, _, drawn in by_rank))


class PopulationCount:
    """The population of one rule, counted image by image.

    Args:
        measured: The rule.
        score: Of its images; None where it has none.
        ranking: Of the draw.
        positions: How many images of each part are kept.
    """

    def __init__(self, measured: MeasuredRule, score: Score | None, ranking: Ranking, positions: int) -> None:
        self.measured = measured
        self.images = 0
        self.taken, self.rest = _Ranked(positions), _Ranked(positions)
        self._score, self._ranking = score, ranking
        if score is None:
            self._thresholds: tuple[float, ...] = (measured.present,)
        else:
            self._thresholds = candidates(floor=measured.floor, present=measured.present)
        self._scores: Counter[int] = Counter()

    def add(self, image: StoredImage, bucket: str, seen: SeenLabels, decision: Decision) -> None:
        """Count an image that has labels.

        Args:
            image: The image; its key must be new.
            bucket: Its bucket.
            seen: What the rules read of it.
            decision: Of the rules.
        """
        rule = decision.rule
        if rule is not None and rule < self.measured.rule:
            return
        self.images += 1
        score = None if self._score is None else self._score(seen)
        is_taken = rule == self.measured.rule if score is None else score >= self.measured.floor
        if is_taken:
            part = self.taken
            self._scores[len(self._thresholds) if score is None else bisect_right(self._thresholds, score)] += 1
        elif decision.verdict is not Verdict.KEEP:
            part = self.rest
        else:
            return
        part.add(self._ranking.rank(_RANKED + image.key), image, bucket, score)

    def counts(self) -> tuple[tuple[float, int], ...]:
        """For each threshold, rising: images of the part ``taken`` with that score or more."""
        found: list[tuple[float, int]] = []
        images = 0
        for index in reversed(range(len(self._thresholds))):
            images += self._scores[index + 1]
            found.append((self._thresholds[index], images))
        return tuple(reversed(found))


class PopulationCounts:
    """The populations of several rules, counted in one pass over the images.

    Args:
        known: The job, with names in place of references and thresholds in place of ``confidence: assumed``.
        rules: The rules, each with the seed of its draw.
        positions: How many images of each part are kept.
    """

    def __init__(self, known: Job, rules: Iterable[tuple[MeasuredRule, int]], positions: int) -> None:
        self._ruleset: Ruleset = compile_rules(known)
        self._bucket, self._skips_duplicates = known.source.bucket, known.source.skip_duplicates
        self.last_seq = 0
        self.populations = tuple(
            PopulationCount(
                measured,
                score_of(known.rules[measured.rule]) if measured.has_score else None,
                Ranking(seed),
                positions,
            )
            for measured, seed in rules
        )

    def add(self, image: StoredImage) -> None:
        """Count one image of the checkpoint."""
        if image.seq is not None and image.detection is not None:
            self.last_seq = max(self.last_seq, image.seq)
        if image.detection is None or not is_counted(image, skips_duplicates=self._skips_duplicates):
            return
        decision, seen = self._ruleset.decide(image.detection), self._ruleset.collect(image.detection)
        for population in self.populations:
            population.add(image, self._bucket, seen, decision)


def new_draws(
    counted: PopulationCounts, seeds: Sequence[int], *, job: Job, targets: Targets, at_unix_s: float
) -> tuple[NewDraw, ...]:
    """The draws of all rules whose population has an image."""
    return tuple(
        NewDraw(
            job=job.name,
            source=job.source.described,
            measured=found.measured,
            targets=targets,
            seed=seed,
            created_at_unix_s=at_unix_s,
            images=found.images,
            last_seq=counted.last_seq,
            counts=found.counts(),
            taken=found.taken.part(),
            rest=found.rest.part(),
        )
        for found, seed in zip(counted.populations, seeds, strict=True)
        if found.images
    )
