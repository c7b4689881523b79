"""The outcome of an image, compared with a naive implementation of the guarantees, over any rows, rules and jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncfilter import Job
from asyncfilter.job.spec import Action, Condition, Rule
from asyncfilter.model import ActionKind, Decision, Detection, Failure, IfExists, Label, Verdict
from asyncfilter.policy.effects import IMMEDIATE
from asyncfilter.policy.outcome import Outcome, Outcomes
from asyncfilter.policy.rules import compile_rules
from asyncfilter.records.answers import CurrentAnswer, CurrentVerdict
from asyncfilter.records.images import DoneEffect, StoredImage
from asyncfilter.records.removal import REMOVING
from asyncfilter.records.tally import Tally
from tests.kit.jobs import make_bare_job

# -- Any job and any row -----------------------------------------------------------------------------------------------

NAMES = ["Robin", "Wing", "Person"]
KEYS = ["a.jpg", "in/b.jpg", "in/" + "c" * 800 + ".jpg"]
"""The last key is too long for targets with a long prefix."""
TARGETS = ["s3://clean/{key}", "s3://bin/{label}/{key}", "s3://long/" + "x" * 300 + "/{key}"]
TAGS = [{"seen": "yes"}, {"b": "2 3", "a": "1"}]


BASE = make_bare_job()

targets = st.sampled_from(TARGETS)
actions = (
    st.just(Action())
    | st.builds(Action, kind=st.just(ActionKind.COPY), target=targets, if_exists=st.sampled_from(IfExists))
    | st.builds(Action, kind=st.just(ActionKind.MOVE), target=targets)
    | st.just(Action(kind=ActionKind.DELETE))
    | st.builds(Action, kind=st.just(ActionKind.TAG), tags=st.sampled_from(TAGS))
)
rules = st.builds(
    lambda verdict, name: Rule(verdict=verdict, conditions=(Condition(any=(name,)),)),
    verdict=st.sampled_from(Verdict),
    name=st.sampled_from(NAMES),
)
jobs = st.builds(
    lambda rules, otherwise, actions, duplicate, skip: replace(
        BASE,
        rules=tuple(rules),
        otherwise=otherwise,
        actions=actions,
        duplicate=duplicate,
        source=replace(BASE.source, skip_duplicates=skip),
    ),
    rules=st.lists(rules, max_size=3),
    otherwise=st.sampled_from(Verdict),
    actions=st.fixed_dictionaries(dict.fromkeys(Verdict, actions)),
    duplicate=st.none() | actions,
    skip=st.booleans(),
)
decisions = st.builds(
    Decision, st.sampled_from(Verdict), rule=st.none() | st.just(0), label=st.none() | st.sampled_from(NAMES)
)
failures = st.builds(
    Failure,
    st.sampled_from(["archived", "unavailable", "invalid_image_format", "target_collision", "target_too_long"]),
    st.just("why"),
)
detections = st.lists(st.sampled_from(NAMES), unique=True).map(
    lambda names: Detection(labels=tuple(Label(name=name, confidence_pct=90.0) for name in names))
)
target_uris = st.sampled_from(
    [f"s3://clean/{KEYS[0]}", f"s3://clean/{KEYS[1]}", f"s3://bin/Robin/{KEYS[0]}", "s3://old/x"]
)
confirmed = (
    st.builds(DoneEffect, st.just(ActionKind.COPY), target_uris)
    | st.builds(DoneEffect, st.just(ActionKind.TAG), st.sampled_from(["seen=yes", "a=1&b=2+3"]))
    | st.builds(DoneEffect, st.just(ActionKind.MOVE), target_uris)
    | st.just(DoneEffect(ActionKind.DELETE, ""))
)
rows = st.builds(
    StoredImage,
    id=st.just(7),
    seq=st.none() | st.just(3),
    key=st.sampled_from(KEYS),
    etag=st.just("e"),
    size_bytes=st.just(9),
    decision=st.none() | decisions,
    failure=st.none() | failures,
    detection=st.none() | detections,
    same_as=st.none() | st.just(1),
    effects=st.just(()) | st.lists(confirmed, max_size=3, unique=True).map(tuple),
)
answers = st.builds(
    CurrentAnswer,
    serial=st.just(5),
    verdict=st.none() | st.sampled_from(CurrentVerdict),
    labels=st.sampled_from([None, (), ("Wren", "Robin")]),
    reviewer=st.just("anna"),
    at_unix_s=st.just(1.0),
)
humans = st.none() | answers
kinds = st.sampled_from([IMMEDIATE, REMOVING])


# -- Naive -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Expected:
    """The outcome of one image, in plain values."""

    verdict: Verdict | None
    failure: str | None
    action: ActionKind | None
    target: str | None
    is_done: bool
    is_pending: bool
    counted: ActionKind | None
    stale: list[str]


def naive_verdict(job: Job, row: StoredImage, human: CurrentAnswer | None) -> tuple[Verdict | None, str | None]:
    """The verdict and its label: each a person's, else the first matching rule's, else ``otherwise``'s."""
    if row.detection is None:
        return None, None
    seen = [label.name for label in row.detection.labels]
    hits = [rule for rule in job.rules if rule.conditions[0].any[0] in seen]
    verdict, label = (hits[0].verdict, hits[0].conditions[0].any[0]) if hits else (job.otherwise, None)
    if human is not None and human.verdict is not None:
        verdict = {"keep": Verdict.KEEP, "reject": Verdict.REJECT}.get(human.verdict.value, Verdict.REVIEW)
    return verdict, human.labels[0] if human is not None and human.labels else label


def naive_action(
    job: Job, row: StoredImage, verdict: Verdict | None, label: str | None
) -> tuple[Action | None, str | None]:
    """The action for the image, and its target, if any."""
    is_duplicate = row.same_as is not None
    if verdict is None or (job.source.skip_duplicates and is_duplicate):
        return None, None
    action = job.duplicate if is_duplicate and job.duplicate is not None else job.actions[verdict]
    target = action.target and action.target.replace("{key}", row.key).replace("{label}", label or "")
    return action, target


def is_there(row: StoredImage) -> bool:
    """Whether the image is in the source."""
    return not any(effect.kind in {ActionKind.MOVE, ActionKind.DELETE} for effect in row.effects)


def naive_effect(action: Action, target: str | None) -> DoneEffect:
    """The action as the checkpoint stores it."""
    tags = "&".join(f"{name}={value.replace(' ', '+')}" for name, value in sorted(action.tags.items()))
    return DoneEffect(action.kind, tags if action.kind is ActionKind.TAG else target or "")


def one_by_one(
    job: Job, row: StoredImage, human: CurrentAnswer | None, wanted_kinds: frozenset[ActionKind]
) -> Expected:
    """The guarantees implemented naively, without shared or cached values."""
    verdict, label = naive_verdict(job, row, human)
    action, target = naive_action(job, row, verdict, label)
    wanted = action if action is not None and action.kind in wanted_kinds else None
    does = wanted if is_there(row) else None
    is_too_long = does is not None and target is not None and len(target.split("/", 3)[3]) > 1024
    is_done = does is not None and not is_too_long and naive_effect(does, target) in row.effects
    made = target if does is not None and does.kind in {ActionKind.COPY, ActionKind.MOVE} and not is_too_long else None
    failure = naive_failure(row, verdict, action, does=does, is_too_long=is_too_long, is_done=is_done)
    gone = [effect.kind for effect in row.effects if effect.kind in {ActionKind.MOVE, ActionKind.DELETE}]
    counted = [*gone, *([does.kind] if does is not None and is_done and failure is None else [])]
    return Expected(
        verdict=verdict,
        failure=failure,
        action=does.kind if does is not None and not is_too_long else None,
        target=made,
        is_done=is_done,
        is_pending=does is not None and failure is None and not is_done,
        counted=counted[0] if counted else None,
        stale=[
            was.target
            for was in row.effects
            if was.kind is ActionKind.COPY and (wanted is None or was.target != target or is_too_long)
        ],
    )


def naive_failure(
    row: StoredImage,
    verdict: Verdict | None,
    action: Action | None,
    *,
    does: Action | None,
    is_too_long: bool,
    is_done: bool,
) -> str | None:
    """The valid failure: of the target, of the examination, or of an action that is not done yet."""
    if is_too_long:
        return "target_too_long"
    if row.failure is None or verdict is None:
        return row.failure.code if row.failure is not None else None
    if row.failure.code.startswith("target_") or not is_there(row):
        return None
    waits_for_apply = action is not None and action.kind in {ActionKind.MOVE, ActionKind.DELETE}
    return row.failure.code if (does is not None and not is_done) or (does is None and waits_for_apply) else None


def plain(outcome: Outcome) -> Expected:
    """The same of an outcome."""
    effect = outcome.effect
    return Expected(
        verdict=outcome.decision.verdict if outcome.decision is not None else None,
        failure=outcome.failure.code if outcome.failure is not None else None,
        action=effect.kind if effect is not None else None,
        target=effect.target.uri if effect is not None and effect.target is not None else None,
        is_done=outcome.is_done,
        is_pending=outcome.pending is not None,
        counted=outcome.counted,
        stale=[was.target for was in outcome.stale],
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[Job, StoredImage]:
    """A job and a row; in every second row the job's action is done already."""
    job, row = draw(jobs), draw(rows)
    action, target = naive_action(job, row, *naive_verdict(job, row, None))
    if draw(st.booleans()) and action is not None and is_there(row):
        effects = dict.fromkeys([*row.effects, naive_effect(action, target)])
        row = msgspec.structs.replace(row, effects=tuple(effects))
    return job, row


# -- Guarantees --------------------------------------------------------------------------------------------------------

RARE = settings(max_examples=800, deadline=None)
"""For guarantees that break only in a combination of rare cases."""


def said(row: StoredImage, human: CurrentAnswer | None) -> StoredImage:
    """The row with an answer."""
    return msgspec.structs.replace(row, answer=human)


@RARE
@given(case=cases(), human=humans, wanted_kinds=kinds)
def test_the_outcome_is_that_of_the_naive_reading(
    case: tuple[Job, StoredImage], human: CurrentAnswer | None, wanted_kinds: frozenset[ActionKind]
) -> None:
    """Verdict, failure, action, target, effects done and stale copies equal those of the naive implementation."""
    job, row = case
    outcome = Outcomes(job, compile_rules(job), kinds=wanted_kinds).of(said(row, human))
    assert plain(outcome) == one_by_one(job, row, human, wanted_kinds)
    assert outcome.is_skipped == (job.source.skip_duplicates and row.same_as is not None)
    assert (outcome.removal is None) == is_there(row)


@given(job=jobs, row=rows, human=answers)
def test_a_person_takes_precedence_over_the_rules(job: Job, row: StoredImage, human: CurrentAnswer) -> None:
    """A person's verdict decides where there are labels, beside that of the rules; an equal one changes no outcome."""
    outcomes = Outcomes(job, compile_rules(job))
    outcome, ruled = outcomes.of(said(row, human)), outcomes.of(row)
    if row.detection is None:
        assert outcome == ruled
        return
    assert outcome.decision is not None
    assert ruled.decision is not None
    assert outcome.decision.verdict is (human.decides or ruled.decision.verdict)
    assert outcome.decision.by_rules is ruled.decision.verdict
    assert outcome.decision.rule == ruled.decision.rule
    assert (outcome.decision.ruled is None) == (human.verdict is None)
    if outcome.decision.verdict is ruled.decision.verdict and not human.labels:
        assert msgspec.structs.replace(outcome, decision=ruled.decision) == ruled


@given(job=jobs, row=rows, human=humans)
def test_the_same_question_has_the_same_answer(job: Job, row: StoredImage, human: CurrentAnswer | None) -> None:
    """The result does not depend on earlier calls or on the instance, and the row is not changed."""
    outcomes, before = Outcomes(job, compile_rules(job)), msgspec.to_builtins(row)
    first = outcomes.of(said(row, human))
    outcomes.of(msgspec.structs.replace(row, key="other.jpg", effects=()))
    again = Outcomes(job, compile_rules(job))
    assert outcomes.of(said(row, human)) == first == again.of(said(row, human))
    assert msgspec.to_builtins(row) == before


@RARE
@given(case=cases(), human=humans, wanted_kinds=kinds)
def test_what_is_stored_is_what_was_decided(
    case: tuple[Job, StoredImage], human: CurrentAnswer | None, wanted_kinds: frozenset[ActionKind]
) -> None:
    """A row stored with its outcome, at its position, has that outcome again."""
    job, row = case
    outcomes = Outcomes(job, compile_rules(job), kinds=wanted_kinds)
    found = outcomes.of(said(row, human))
    stored = msgspec.structs.replace(row, seq=3, decision=found.decision, failure=found.failure, detection=None)
    again = outcomes.as_stored(stored)
    assert plain(again) == plain(found)


def test_a_wanted_copy_of_an_image_that_left_the_source_is_not_stale() -> None:
    """Kept and copied, then rejected and deleted, then kept again: the copy is all that is left, and it is wanted."""
    job = replace(BASE, actions={**BASE.actions, Verdict.KEEP: Action(kind=ActionKind.COPY, target=TARGETS[0])})
    copy, other = DoneEffect(ActionKind.COPY, "s3://clean/a.jpg"), DoneEffect(ActionKind.COPY, "s3://old/x")
    row = StoredImage(
        id=7,
        seq=3,
        key="a.jpg",
        etag="e",
        size_bytes=9,
        decision=Decision(Verdict.KEEP),
        effects=(copy, other, DoneEffect(ActionKind.DELETE, "")),
    )
    outcome = Outcomes(job).as_stored(row)
    assert (outcome.stale, outcome.effect, outcome.is_done) == ((other,), None, False)
    assert outcome.counted is ActionKind.DELETE
    rejected = Outcomes(job).as_stored(msgspec.structs.replace(row, decision=Decision(Verdict.REJECT)))
    assert rejected.stale == (copy, other)


@given(job=jobs, row=rows)
def test_a_row_without_a_position_wants_nothing(job: Job, row: StoredImage) -> None:
    """All copies of a row without a position are stale, and no action is pending."""
    outcome = Outcomes(job).as_stored(msgspec.structs.replace(row, seq=None))
    assert outcome.pending is None
    assert outcome.stale == tuple(was for was in row.effects if was.kind is ActionKind.COPY)


def total(tally: Tally) -> Mapping[str, Any]:
    """The counts that a summary has."""
    return {
        name: getattr(tally, name)
        for name in ("keep", "review", "reject", "failed", "skipped", "effects", "stale", "reviewed")
    }


@RARE
@given(case=cases(), before=humans, after=humans)
def test_a_newer_answer_counts_as_if_it_had_been_the_first(
    case: tuple[Job, StoredImage], before: CurrentAnswer | None, after: CurrentAnswer | None
) -> None:
    """An image counted by an older answer, and then by a newer one, counts as by the newer one alone."""
    job, row = case
    outcomes, tally, expected = Outcomes(job, compile_rules(job)), Tally(), Tally()
    former, newer = outcomes.of(said(row, before)), outcomes.of(said(row, after))
    former.count(tally)
    seen = (tally.judged, tally.matches, tally.misses_in_a_row)
    newer.count_instead_of(former, tally)
    newer.count(expected)
    assert total(tally) == total(expected)
    assert (tally.judged, tally.matches, tally.misses_in_a_row) == seen
    assert seen == (expected.judged, expected.matches, expected.misses_in_a_row)


@RARE
@given(case=cases(), human=humans, is_stored=st.booleans())
def test_an_outcome_counts_once(case: tuple[Job, StoredImage], human: CurrentAnswer | None, is_stored: bool) -> None:
    """An image counts as a verdict, a failure or skipped, and subtracting its counts restores the tally."""
    job, row = case
    outcomes, tally = Outcomes(job, compile_rules(job)), Tally()
    outcome = outcomes.of(said(row, human))
    if is_stored:
        outcome = outcomes.as_stored(msgspec.structs.replace(row, seq=3, decision=outcome.decision))
    outcome.count(tally)
    is_counted = outcome.decision is not None or outcome.failure is not None
    assert tally.examined == (is_counted and not outcome.is_skipped)
    assert sum(tally.skipped.values()) == outcome.is_skipped
    assert min(tally.keep, tally.review, tally.reject) >= 0
    assert sum(tally.effects.values()) == (outcome.counted is not None)
    if outcome.failure is not None and outcome.removal is None:
        assert outcome.counted is None
    if outcome.is_skipped or (outcome.counted is not None and outcome.failure is not None):
        return
    decision, failure = outcome.decision, outcome.failure
    tally.revoke(
        decision.verdict if decision is not None else None,
        failure.code if failure is not None else None,
        outcome.counted,
        len(outcome.stale),
        ruled=decision.ruled if decision is not None else None,
    )
    assert total(tally) == total(Tally())


def test_rules_are_needed_to_decide_and_not_to_read() -> None:
    """Without rules stored decisions can be read, and nothing is decided."""
    row = StoredImage(id=1, seq=1, key="a.jpg", etag="e", size_bytes=1, decision=Decision(Verdict.KEEP))
    assert Outcomes(BASE).as_stored(row).decision == row.decision
    with pytest.raises(ValueError, match="without rules"):
        Outcomes(BASE).of(row)
