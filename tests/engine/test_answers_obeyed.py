"""What people say reaches copies, removals, counts and the checkpoint, and outlives rules, runs and files."""

from __future__ import annotations

from typing import Any

import pytest

from asyncfilter.engine.core.stopping import Interrupt
from asyncfilter.errors import AnswersError, ImageError
from asyncfilter.events import AnswersTakenOver, Event, ImageExamined
from asyncfilter.job import Job
from asyncfilter.model import Reviewed
from asyncfilter.records.answers import CurrentVerdict, TakenOver
from asyncfilter.records.removal import Versioning
from asyncfilter.testing import MemoryAnswers, MemoryCheckpoint, ScriptedDetector
from asyncfilter.testing.crash import crashed
from asyncfilter.wiring.plan import plan
from asyncfilter.wiring.run import run
from tests.kit.answers import new_answer
from tests.kit.buckets import Bucket
from tests.kit.jobs import make_bare_job

LABELS = {"a.jpg": "Robin", "b.jpg": "Wing", "c.jpg": "Person", "d.jpg": "Person", "e.jpg": "Wing", "f.jpg": "Robin"}


def a_job(**changes: Any) -> Job:
    """Robins are copied, wings looked at, people deleted."""
    document: dict[str, Any] = {
        "rules": [{"keep": {"any": "Robin"}}, {"review": {"any": "Wing"}}],
        "actions": {
            "keep": {"copy": "s3://clean/{label}/{key}"},
            "review": {"copy": "s3://look/{key}"},
            "reject": "delete",
        },
    }
    return make_bare_job(**document | changes)


JOB = a_job()


def a_bucket(**options: Any) -> Bucket:
    """A bucket of ``LABELS``."""
    return Bucket(LABELS, max_share=1.0, **options)


def verdicts(bucket: Bucket) -> dict[str, str]:
    """Final verdicts by key."""
    rows = [row for row in bucket.checkpoint.images if row.seq is not None]
    return {row.key: row.decision.verdict.value for row in rows if row.decision is not None}


def copies(bucket: Bucket) -> set[str]:
    """All copies, by bucket and key."""
    return {f"{name}/{key}" for name in ("clean", "look") for key in bucket.store.keys(name)}


def test_an_answer_before_the_run_decides() -> None:
    """Keep, reject and unsure count in place of the rules; the rules' verdict is kept beside it."""
    bucket = a_bucket()
    for key, word in {"a.jpg": "reject", "b.jpg": "keep", "c.jpg": "unsure", "f.jpg": "keep"}.items():
        bucket.say(key, word)
    summary = bucket.run(JOB)
    assert verdicts(bucket) == LABELS | {
        "a.jpg": "reject",
        "b.jpg": "keep",
        "c.jpg": "review",
        "d.jpg": "reject",
        "e.jpg": "review",
        "f.jpg": "keep",
    }
    assert summary.counts.reviewed == Reviewed(keep=2, reject=1, unsure=1, overruled=1)
    assert (summary.counts.keep, summary.counts.review, summary.counts.reject) == (2, 2, 2)
    assert copies(bucket) == {"clean/Wing/b.jpg", "look/c.jpg", "look/e.jpg", "clean/Robin/f.jpg"}
    ruled = {row.key: row.decision.by_rules.value for row in bucket.checkpoint.images if row.decision is not None}
    assert ruled["a.jpg"] == "keep"
    assert summary.answers is not None
    assert (summary.answers.serial, summary.answers.pending) == (4, 0)
    assert bucket.checkpoint.opened.answers == TakenOver(id="0" * 32, serial=4)


def test_two_who_disagree_leave_it_to_review() -> None:
    """As many for keep as for reject is review, whatever the rules say: nothing is removed."""
    bucket = a_bucket()
    bucket.run(JOB)
    bucket.say("c.jpg", "keep", reviewer="anna")
    bucket.say("c.jpg", "reject", reviewer="ben")
    summary = bucket.refilter(JOB)
    assert verdicts(bucket)["c.jpg"] == "review"
    assert summary.counts.reviewed == Reviewed(unsure=1)
    assert summary.pending_removals == 1
    row = next(row for row in bucket.checkpoint.images if row.key == "c.jpg")
    assert row.answer is not None
    assert row.answer.verdict is CurrentVerdict.UNRESOLVED


def test_the_label_of_a_person_names_the_target() -> None:
    """``{label}`` is the person's first label, else that of the rule; a label alone moves a copy, too."""
    bucket = a_bucket()
    bucket.say("a.jpg", None, labels=("Erithacus", "Robin"))
    bucket.say("b.jpg", "keep", labels=("Wren",))
    bucket.run(JOB)
    assert copies(bucket) == {"clean/Erithacus/a.jpg", "clean/Wren/b.jpg", "look/e.jpg", "clean/Robin/f.jpg"}
    bucket.say("f.jpg", None, labels=("Tit",))
    summary = bucket.refilter(JOB)
    assert "clean/Tit/f.jpg" in copies(bucket)
    assert (summary.counts.stale, summary.counts.copied, summary.counts.reviewed) == (1, 4, Reviewed(keep=1))


def test_what_is_taken_back_counts_no_longer() -> None:
    """After an undo the rules decide again; counts, copies and stale copies follow."""
    bucket = a_bucket()
    bucket.run(JOB)
    said = bucket.say("b.jpg", "keep")
    bucket.refilter(JOB)
    assert verdicts(bucket)["b.jpg"] == "keep"
    bucket.say("b.jpg", None, undoes=said.uid)
    summary = bucket.refilter(JOB)
    assert verdicts(bucket)["b.jpg"] == "review"
    assert (summary.counts.reviewed, summary.counts.stale) == (Reviewed(), 1)
    assert all(row.answer is None for row in bucket.checkpoint.images)


@pytest.mark.parametrize("dry_run", [True, False])
def test_refilter_shows_what_answers_change(dry_run: bool) -> None:
    """A dry run counts as the refilter will, and changes nothing."""
    bucket = a_bucket()
    before = bucket.run(JOB).counts
    bucket.say("b.jpg", "keep")
    bucket.say("c.jpg", "unsure")
    bucket.events.clear()
    summary = bucket.refilter(JOB, dry_run=dry_run, on_event=bucket.events.append)
    assert (summary.counts.keep - before.keep, summary.counts.review, summary.counts.reject) == (1, 2, 1)
    [event] = [event for event in bucket.events if isinstance(event, AnswersTakenOver)]
    assert (event.answers, event.images, event.actions) == (2, 2, 2)
    assert [(one.before, one.after, one.images) for one in event.changes] == [
        ("reject", "review", 1),
        ("review", "keep", 1),
    ]
    assert verdicts(bucket)["b.jpg"] == ("review" if dry_run else "keep")
    assert (bucket.checkpoint.opened.answers is None) == dry_run
    assert summary.answers is not None
    assert summary.answers.pending == (2 if dry_run else 0)


@pytest.mark.parametrize("dry_run", [True, False])
def test_rules_and_answers_that_change_together(dry_run: bool) -> None:
    """Changed rules decide all images with the newest answers."""
    bucket = a_bucket()
    bucket.run(JOB)
    bucket.say("a.jpg", "reject")
    changed = a_job(rules=[{"keep": {"any": ["Robin", "Wing"]}}])
    summary = bucket.refilter(changed, dry_run=dry_run)
    assert (summary.counts.keep, summary.counts.reject) == (3, 3)
    assert summary.counts.reviewed == Reviewed(reject=1, overruled=1)
    again = bucket.refilter(changed)
    assert (again.counts.keep, again.counts.reject) == (3, 3)
    assert again.counts.reviewed == Reviewed(reject=1, overruled=1)
    assert verdicts(bucket)["a.jpg"] == "reject"


def test_answers_outlive_a_fresh_checkpoint_and_changed_rules() -> None:
    """A new checkpoint takes all answers over from the file, and so do other rules."""
    bucket = a_bucket()
    bucket.run(JOB)
    bucket.say("c.jpg", "keep")
    bucket.run(JOB)
    bucket.checkpoint = MemoryCheckpoint()
    bucket.run(a_job(rules=[{"reject": {"any": ["Robin", "Wing", "Person"]}}]))
    assert verdicts(bucket) == dict.fromkeys(LABELS, "reject") | {"c.jpg": "keep"}


def test_a_replaced_object_loses_its_answer_and_the_old_content_has_it_again() -> None:
    """The answer belongs to the content; it counts again when the old content comes back."""
    bucket = a_bucket()
    bucket.say("c.jpg", "keep")
    bucket.run(JOB)
    bucket.store.put("c.jpg", b"another picture")
    summary = bucket.run(JOB)
    assert verdicts(bucket)["c.jpg"] == "reject"
    assert summary.counts.reviewed == Reviewed()
    bucket.store.put("c.jpg", b"c.jpg")
    summary = bucket.run(JOB)
    assert verdicts(bucket)["c.jpg"] == "keep"
    assert summary.counts.reviewed == Reviewed(keep=1, overruled=1)


def test_twins_share_one_answer() -> None:
    """Images with the same content have the same answer, before and after they are examined."""
    bucket = a_bucket()
    bucket.store.put("c2.jpg", b"c.jpg")
    bucket.say("c.jpg", "keep")
    bucket.run(JOB)
    bucket.store.put("c3.jpg", b"c.jpg")
    bucket.run(JOB)
    assert {verdicts(bucket)[key] for key in ("c.jpg", "c2.jpg", "c3.jpg")} == {"keep"}
    bucket.say("c3.jpg", "unsure")
    summary = bucket.refilter(JOB)
    assert {verdicts(bucket)[key] for key in ("c.jpg", "c2.jpg", "c3.jpg")} == {"review"}
    assert summary.counts.reviewed == Reviewed(unsure=3)


def test_a_skipped_duplicate_stays_skipped() -> None:
    """An answer makes no skipped duplicate count."""
    bucket = a_bucket()
    bucket.store.put("c2.jpg", b"c.jpg")
    job = a_job(source={"uri": "s3://raw/", "duplicates": "skip"})
    bucket.run(job)
    bucket.say("c2.jpg", "keep")
    summary = bucket.refilter(job)
    assert summary.counts.skipped == {"duplicate": 1}
    assert summary.counts.reviewed == Reviewed(keep=1, overruled=1)


def test_without_the_file_what_was_taken_over_holds() -> None:
    """Answers that were taken over go on to decide, by changed rules too; a caution says that the file is missing."""
    bucket = a_bucket()
    bucket.say("a.jpg", "reject")
    bucket.run(JOB)
    bucket.answers = None
    summary = bucket.refilter(a_job(rules=[{"keep": {"any": ["Robin", "Wing"]}}]))
    assert verdicts(bucket)["a.jpg"] == "reject"
    assert summary.answers is None
    assert sum("answers file is not there" in caution for caution in summary.cautions) == 1


def test_another_file_is_refused_unless_the_former_one_was_merged_into_it() -> None:
    """A file with another id is refused before anything happens; one that has the former rows is followed."""
    bucket = a_bucket()
    bucket.say("a.jpg", "reject")
    bucket.run(JOB)
    rows = bucket.answers.rows if bucket.answers is not None else []
    bucket.answers = MemoryAnswers(file_id="f" * 32)
    for command in (bucket.run, bucket.refilter, bucket.plan):
        with pytest.raises(AnswersError, match=f"another answers file \\(id {'f' * 32}\\)") as caught:
            command(JOB)
        assert caught.value.exit_code == 3
    bucket.answers = MemoryAnswers(file_id="f" * 32, merged=["0" * 32])
    bucket.answers.add([new_answer("keep", rows[0].subject), new_answer("reject", rows[0].subject)])
    bucket.say("b.jpg", "keep")
    bucket.refilter(JOB)
    assert (verdicts(bucket)["a.jpg"], verdicts(bucket)["b.jpg"]) == ("reject", "keep")
    assert bucket.checkpoint.opened.answers == TakenOver(id="f" * 32, serial=3)


# -- Removal -----------------------------------------------------------------------------------------------------------


def test_apply_spares_what_newer_answers_keep() -> None:
    """Images that became keep or review are not removed; what newer answers alone reject waits for a refilter."""
    bucket = a_bucket()
    bucket.run(JOB)
    bucket.say("c.jpg", "keep")
    bucket.say("a.jpg", "reject")
    plan = bucket.plan(JOB)
    assert (plan.images, plan.new_answers, plan.spared, plan.held_back) == (1, 2, 1, 0)
    summary = bucket.apply(JOB)
    assert (bucket.deleted, summary.new_answers, summary.exit_code) == (["d.jpg"], 2, 0)
    opened = bucket.checkpoint.opened
    assert opened.answers == TakenOver(id="0" * 32, serial=2, acted=0)
    assert (verdicts(bucket)["c.jpg"], verdicts(bucket)["a.jpg"]) == ("keep", "keep")
    assert (opened.watermark.tally.keep, opened.watermark.tally.reject) == (3, 1)
    assert opened.watermark.tally.reviewed == {"keep": 1, "overruled": 1}
    plan = bucket.plan(JOB)
    assert (plan.images, plan.new_answers, plan.spared, plan.held_back) == (0, 2, 0, 0)
    found = bucket.refilter(JOB)
    assert (found.pending_removals, found.counts.reviewed) == (1, Reviewed(keep=1, reject=1, overruled=2))
    assert bucket.checkpoint.opened.answers == TakenOver(id="0" * 32, serial=2)
    assert "clean//c.jpg" in copies(bucket)
    plan = bucket.plan(JOB)
    assert (plan.images, plan.new_answers) == (1, 0)
    assert bucket.apply(JOB).new_answers == 0
    assert bucket.deleted == ["d.jpg", "a.jpg"]


def test_a_kill_at_any_commit_of_apply_counts_no_answer_twice() -> None:
    """Killed anywhere and repeated, counts, verdicts and removals are those of a life without kills."""
    ends = []
    for at in range(40):
        bucket = a_bucket()
        bucket.run(JOB)
        for key, word in {"c.jpg": "keep", "b.jpg": "unsure", "a.jpg": "reject", "f.jpg": "keep"}.items():
            bucket.say(key, word)
        was_killed = crashed(bucket.apply, JOB, at=at) if at else False
        bucket.apply(JOB)
        bucket.refilter(JOB)
        bucket.apply(JOB)
        images = [(row.key, row.decision, row.answer, set(row.effects)) for row in bucket.checkpoint.images]
        ends.append((images, bucket.checkpoint.opened.watermark.tally, set(bucket.deleted)))
        if at and not was_killed:
            break
    assert len(ends) > 5
    assert all(end[1:] == ends[0][1:] for end in ends)
    assert all([one[:2] for one in end[0]] == [one[:2] for one in ends[0][0]] for end in ends)
    assert ends[0][2] == {"a.jpg", "d.jpg"}


def test_an_interrupted_removal_of_an_image_to_keep_is_given_up() -> None:
    """A move that was begun is not finished when a newer answer keeps its image."""
    job = a_job(actions={"reject": {"move": "s3://gone/{key}"}})
    for at in range(1, 40):
        bucket = a_bucket()
        bucket.run(job)
        try:
            bucket.apply(job, at=at)
        except BaseException:  # noqa: BLE001  the crash of the double, in a group
            pass
        else:
            break
        was_there = set(bucket.bodies())
        bucket.say("c.jpg", "keep")
        bucket.apply(job)
        if "c.jpg" in was_there:
            assert "c.jpg" in bucket.bodies()
        assert {*bucket.bodies(), *bucket.bodies("gone")} == set(LABELS)


def test_an_undone_removal_stays_undone_after_new_answers() -> None:
    """New answers, also about the image itself, make no undone removal pending again."""
    bucket = a_bucket(versioning=Versioning.ON)
    bucket.run(JOB)
    bucket.apply(JOB)
    bucket.undo(JOB)
    for key, word in {"a.jpg": "keep", "c.jpg": "reject", "b.jpg": "unsure"}.items():
        bucket.say(key, word)
        for command in (bucket.run, bucket.refilter):
            assert command(JOB).pending_removals == 0
            assert bucket.plan(JOB).images == 0


def test_an_image_that_people_kept_while_it_was_gone_is_copied_when_it_is_back() -> None:
    """After an undo the next run acts on the answers about what was restored."""
    bucket = a_bucket(versioning=Versioning.ON)
    bucket.run(JOB)
    bucket.apply(JOB)
    bucket.say("c.jpg", "keep", labels=("Wren",))
    bucket.say("a.jpg", "keep")
    summary = bucket.refilter(JOB)
    assert (summary.counts.keep, summary.counts.copied) == (3, 4)
    bucket.undo(JOB)
    summary = bucket.run(JOB)
    assert "clean/Wren/c.jpg" in copies(bucket)
    assert (summary.counts.copied, summary.counts.deleted, summary.pending_removals) == (5, 0, 0)
    assert summary.answers is not None
    assert (summary.answers.serial, summary.answers.pending) == (2, 0)


def test_stale_copies_of_images_with_newer_answers_stay() -> None:
    """A copy that a newer answer may want again is not deleted before it is taken over."""
    bucket = a_bucket()
    bucket.run(JOB)
    said = bucket.say("b.jpg", "keep")
    bucket.refilter(JOB)
    bucket.say("b.jpg", None, undoes=said.uid)
    plan = bucket.plan(JOB, stale=True)
    assert (plan.images, plan.new_answers) == (0, 1)
    bucket.refilter(JOB)
    assert bucket.plan(JOB, stale=True).images == 1


@pytest.mark.parametrize(
    ("changes", "interrupts", "is_taken"),
    [
        ({}, False, True),
        ({"stop": {"matches": 2}}, False, True),
        ({"limits": {"max_images": 3}}, False, True),
        ({"actions": {}}, True, False),
        ({"stop": {"errors": {"rate": 1.0, "window": 1}}}, False, False),
    ],
)
def test_what_is_said_during_a_run_is_taken_over_at_its_end(
    changes: dict[str, Any], interrupts: bool, is_taken: bool
) -> None:
    """When the listing has ended or a limit stopped the run; not after an interruption or an error."""
    bucket, interrupt = a_bucket(), Interrupt()
    bucket.answers = MemoryAnswers()
    bucket.detector = ScriptedDetector(
        {key: [(label, 90.0)] for key, label in LABELS.items()},
        fault=lambda key, _: ImageError("broken", code="image_rejected") if key == "c.jpg" else None,
    )
    job = a_job(**changes)

    def on_event(event: Event) -> None:
        if isinstance(event, ImageExamined) and event.key == "a.jpg":
            bucket.say("a.jpg", "reject")
            if interrupts:
                interrupt.request()

    summary = bucket.in_process(lambda given: run(job, overrides=given, interrupt=interrupt, on_event=on_event))
    assert verdicts(bucket)["a.jpg"] == ("reject" if is_taken else "keep")
    assert summary.answers is not None
    assert (summary.answers.serial, summary.answers.pending) == ((1, 0) if is_taken else (0, 1))
    assert summary.counts.reviewed == (Reviewed(reject=1, overruled=1) if is_taken else Reviewed())
    assert summary.this_run.keep == summary.counts.keep
    assert summary.counts.stale == is_taken
    bucket.refilter(job)
    assert verdicts(bucket)["a.jpg"] == "reject"


def test_a_sample_is_about_the_rules() -> None:
    """The estimates of ``plan --sample`` are those of the rules, whatever people said."""
    bucket = a_bucket()
    bucket.run(JOB)
    for key in ("a.jpg", "f.jpg"):
        bucket.say(key, "reject")
    bucket.refilter(JOB)
    found = bucket.in_process(lambda given: plan(JOB, sample=len(LABELS), overrides=given))
    assert found.sample is not None
    assert (found.sample.this_run.keep, found.sample.this_run.reviewed) == (2, Reviewed())
    assert found.plan_inputs.answers is not None
    assert (found.plan_inputs.answers.serial, found.plan_inputs.answers.pending) == (2, 0)
    assert verdicts(bucket)["a.jpg"] == "reject"
