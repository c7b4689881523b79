"""The job file: its content, the job it gives, and the errors of a wrong one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from asyncfilter.errors import JobError
from asyncfilter.job import Action, Condition, Count, Job, Order, PriceTier, load_job, parse_job
from asyncfilter.job.addresses import parse_source
from asyncfilter.job.fingerprint import decided_by, identity
from asyncfilter.job.spec import Area, ClientKind, DetectorKind, DetectorSpec, Limits, Pricing, SourceSpec, Stop
from asyncfilter.model import ActionKind, IfExists, Verdict

ROOT = Path(__file__).resolve().parents[2]

HEAD = "version: 1\nname: robins\nsource: s3://raw/birds/\nrules: [{keep: {any: Bird}}]\n"
"""A complete job in four lines: the lines of a case begin at line 5."""

MODEL = "arn:aws:rekognition:eu-west-1:123456789012:project/birds/version/birds.2026/1700000000000"


def load(text: str, tmp_path: Path, *, overrides: object = (), environ: dict[str, str] | None = None) -> Job:
    """The job of a file with this text; only the given environment variables are set."""
    path = tmp_path / "job.yaml"
    path.write_text(text, "utf-8")
    return load_job(path, overrides=overrides, environ=environ or {})  # type: ignore[arg-type]  # both forms pass here


def problem_messages(text: str, tmp_path: Path, **settings: object) -> list[str]:
    """The messages for a wrong file, without the folder."""
    with pytest.raises(JobError) as caught:
        load(text, tmp_path, **settings)  # type: ignore[arg-type]  # forwarded
    return [str(problem).removeprefix(f"{tmp_path}/") for problem in caught.value.problems]


def swap(old: str, new: str) -> str:
    """The complete job with one part replaced."""
    assert old in HEAD
    return HEAD.replace(old, new)


def rule(text: str) -> str:
    """The complete job with another rule, which begins at line 5, column 5."""
    return swap("[{keep: {any: Bird}}]", f"\n  - {text}")


# text of the file, position in the message, and words of the message: the value seen, the values allowed
WRONG = {
    "no version": (swap("version: 1\n", ""), "1:1: version", ["missing", "expected 1"]),
    "version from the future": (swap("version: 1", "version: 2"), "1:10: version", ["expected 1", "found 2"]),
    "version as text": (swap("version: 1", 'version: "1"'), "1:10: version", ["expected 1", 'found "1"']),
    "version as boolean": (swap("version: 1", "version: true"), "1:10: version", ["expected 1", "found true"]),
    "no name": (swap("name: robins\n", ""), "1:1: name", ["missing", "a-z, 0-9 and hyphen"]),
    "name with capitals": (swap("robins", "Robins!"), "2:7: name", ["a-z, 0-9 and hyphen", "found Robins!"]),
    "name as number": (swap("robins", "7"), "2:7: name", ["a-z, 0-9", "found 7", "write text in quotes"]),
    "misspelt key, and so a key missing": (
        swap("name: ", "nmae: "),
        "2:1: nmae",
        ["unknown key 'nmae'", "nearest is 'name'", "version, name, source"],
    ),
    "a key that belongs into a section": (
        HEAD + "budget_usd: 25",
        "5:1: budget_usd",
        ["unknown key 'budget_usd', nearest is 'limits.budget_usd'", "version, name, source"],
    ),
    "a key of another section": (HEAD + "stop: {max_images: 9}", "5:8: stop.max_images", ["nearest is 'limits.max_i"]),
    "a key beside its verdict": (
        "version: 1\nname: x\nsource: s3://raw/\nrules:\n  - review: {any: Robin}\n    confidence: 85\n",
        "6:5: rules[0].confidence",
        ["unknown key 'confidence', nearest is 'review.confidence'", "keep, review, reject"],
    ),
    "unknown key far from any": (HEAD + "xyzzy: 1", "5:1: xyzzy", ["unknown key", "nearest is", "limits"]),
    "unknown nested key": (
        HEAD + "limits:\n  tps: 5\n  time_out: 3",
        "7:3: limits.time_out",
        ["nearest is 'timeout_s'", "max_attempts"],
    ),
    "duplicate key": (HEAD + "stop: {matches: 1}\nstop: {}", "6:1: stop", ["duplicate key 'stop'", "line 5"]),
    "no source": (swap("source: s3://raw/birds/\n", ""), "1:1: source", ["missing", "s3://bucket/prefix"]),
    "source not in S3": (swap("s3://raw/birds/", "raw/birds"), "3:9: source", ["s3://bucket/prefix", "'raw/birds'"]),
    "bucket in capitals": (swap("s3://raw", "s3://Raw"), "3:9: source", ["3 to 63 of a-z", "'Raw'"]),
    "bucket like an address": (swap("s3://raw", "s3://10.0.0.1"), "3:9: source", ["bucket name", "'10.0.0.1'"]),
    "directory bucket": (swap("s3://raw", "s3://raw--use1-az4--x-s3"), "3:9: source", ["directory bucket"]),
    "access point's alias": (
        HEAD + "actions: {keep: {move: 's3://bin-1a2b3c4d5e6f-s3alias/{key}'}}",
        "5:24: actions.keep.move",
        ["an access point", "may be the source"],
    ),
    "access point": (
        swap("s3://raw/birds/", "arn:aws:s3:eu-west-1:123456789012:accesspoint/x"),
        "3:9: source",
        ["s3://bucket/prefix", "access points are not supported"],
    ),
    "ARN of a bucket": (
        swap("s3://raw/birds/", "'arn:aws:s3:::raw/birds/'"),
        "3:9: source",
        ["write s3://raw/birds/"],
    ),
    "ARN of a bucket in another partition": (
        HEAD + "actions: {keep: {copy: 'arn:aws-us-gov:s3:::clean/{key}'}}",
        "5:24: actions.keep.copy",
        ["write s3://clean/{key}"],
    ),
    "access point after s3://": (
        swap("s3://raw/birds/", "'s3://arn:aws:s3:us-east-1:123456789012:accesspoint/x/birds/'"),
        "3:9: source",
        ["access points are not supported"],
    ),
    "Object Lambda": (
        swap("s3://raw/birds/", "'arn:aws:s3-object-lambda:us-east-1:123456789012:accesspoint/x'"),
        "3:9: source",
        ["Object Lambda"],
    ),
    "ARN of something else": (
        swap("s3://raw/birds/", "'arn:aws:iam::123456789012:role/x'"),
        "3:9: source",
        ["names no bucket"],
    ),
    "no globs": (
        swap("s3://raw/birds/", "{uri: s3://raw/birds/, include: []}"),
        "3:41: source.include",
        ["not empty", "found []"],
    ),
    "order unknown": (
        swap("s3://raw/birds/", "{uri: s3://raw/birds/, order: shuffled}"),
        "3:39: source.order",
        ["expected listing or random", "found shuffled"],
    ),
    "detector unknown": (
        HEAD + "detector: {kind: rekogniton}",
        "5:18: detector.kind",
        ["rekognition or rekognition-custom-labels", "found rekogniton"],
    ),
    "custom labels without a model": (
        HEAD + "detector:\n  kind: rekognition-custom-labels",
        "6:3: detector.model",
        ["missing", "ARN"],
    ),
    "a model without custom labels": (
        HEAD + f"detector:\n  model: {MODEL}",
        "6:10: detector.model",
        ["expected kind: rekognition-custom-labels", "found kind: rekognition"],
    ),
    "a model that is no ARN": (
        HEAD + "detector: {kind: rekognition-custom-labels, model: birds}",
        "5:52: detector.model",
        ["arn:aws:rekognition:", "found birds"],
    ),
    "a model of another region": (
        HEAD + f"detector:\n  kind: rekognition-custom-labels\n  model: {MODEL}\n  region: us-east-1",
        "8:11: detector.region",
        ["expected the model's region eu-west-1", "found us-east-1"],
    ),
    "kind misspelt beside a model": (
        HEAD + f"detector: {{kind: rekognition-custom-label, model: '{MODEL}'}}",
        "5:18: detector.kind",
        ["rekognition or rekognition-custom-labels", "found rekognition-custom-label"],
    ),
    "properties of a model": (
        HEAD + f"detector:\n  kind: rekognition-custom-labels\n  model: {MODEL}\n  features: [IMAGE_PROPERTIES]",
        "8:13: detector.features",
        ["expected GENERAL_LABELS alone", "as kind is rekognition-custom-labels", "found IMAGE_PROPERTIES"],
    ),
    "feature unknown to a model": (
        HEAD + f"detector:\n  kind: rekognition-custom-labels\n  model: {MODEL}\n  features: [FACES]",
        "8:14: detector.features[0]",
        ["expected GENERAL_LABELS, found FACES"],
    ),
    "start without a model": (
        HEAD + "detector:\n  start: {for: 2h}",
        "6:10: detector.start",
        ["expected kind: rekognition-custom-labels beside start", "found kind: rekognition"],
    ),
    "start without a time": (
        HEAD + f"detector:\n  kind: rekognition-custom-labels\n  model: {MODEL}\n  start: {{units: 2}}",
        "8:10: detector.start.for",
        ["expected"],
    ),
    "start for no duration": (
        HEAD + f"detector:\n  kind: rekognition-custom-labels\n  model: {MODEL}\n  start: {{for: soon}}",
        "8:16: detector.start.for",
        ["expected a duration such as 90s, 45m, 2h, 1d or 1h30m, found soon"],
    ),
    "start scaling down": (
        HEAD
        + f"detector:\n  kind: rekognition-custom-labels\n  model: {MODEL}\n"
        + "  start: {for: 1h, units: 3, max_units: 2}",
        "8:41: detector.start.max_units",
        ["expected at least units (3), found 2"],
    ),
    "kind that is a list": (
        HEAD + "detector: {kind: []}",
        "5:18: detector.kind",
        ["expected rekognition or rekognition-custom-labels or onnx, found"],
    ),
    "no detector": (
        HEAD + "detector: 5",
        "5:11: detector",
        [
            (
                "expected a mapping with kind, model, start, region, min_confidence, max_labels, lanes, "
                "lanes_must_agree, features, found 5"
            )
        ],
    ),
    "features without labels": (
        HEAD + "detector: {features: [IMAGE_PROPERTIES]}",
        "5:22: detector.features",
        ["GENERAL_LABELS", "found a list of 1"],
    ),
    "feature unknown": (
        HEAD + "detector: {features: [GENERAL_LABELS, FACES]}",
        "5:39: detector.features[1]",
        ["GENERAL_LABELS or IMAGE_PROPERTIES", "found FACES"],
    ),
    "a hit rate in percent": (
        HEAD + "stop: {hit_rate: {below: 2}}",
        "5:26: stop.hit_rate.below",
        ["a number above 0 and below 1", "found 2"],
    ),
    "a hit rate without a bound": (
        HEAD + "stop:\n  hit_rate: {confidence: 0.9}",
        "6:13: stop.hit_rate.below",
        ["missing", "above 0 and below 1"],
    ),
    "a confidence in percent": (
        HEAD + "stop: {hit_rate: {below: 0.02, confidence: 95}}",
        "5:44: stop.hit_rate.confidence",
        ["a number from 0.5 and below 1", "found 95"],
    ),
    "a window too long": (
        HEAD + "stop: {errors: {rate: 0.2, window: 2000}}",
        "5:36: stop.errors.window",
        ["from 1 to 1000", "found 2000"],
    ),
    "an error share of nothing": (
        HEAD + "stop: {errors: {rate: 0}}",
        "5:23: stop.errors.rate",
        ["above 0 and at most 1", "found 0"],
    ),
    "no rules": (swap("rules: [{keep: {any: Bird}}]\n", ""), "1:1: rules", ["missing", "a list (not empty)"]),
    "empty rules": (swap("[{keep: {any: Bird}}]", "[]"), "4:8: rules", ["not empty", "found []"]),
    "rules as a mapping": (swap("[{keep: {any: Bird}}]", "{keep: {any: Bird}}"), "4:8: rules", ["a list", "keep"]),
    "verdict unknown": (
        rule("keeep: {any: Bird}"),
        "5:5: rules[0].keeep",
        ["nearest is 'keep'", "keep, review, reject"],
    ),
    "two verdicts in a rule": (
        rule("keep: {any: A}\n    reject: {any: B}"),
        "5:5: rules[0]",
        ["one verdict", "found keep and reject"],
    ),
    "rule without a condition": (rule("keep:"), "5:10: rules[0].keep", ["a mapping with any, all", "found nothing"]),
    "a reference that is a prefix": (
        rule("keep: {like: s3://pics/}"),
        "5:18: rules[0].keep.like",
        ["one object, s3://bucket/key", "found s3://pics/"],
    ),
    "no references": (rule("keep: {like: []}"), "5:18: rules[0].keep.like", ["not empty", "found []"]),
    "ignore alone": (
        rule("keep: {ignore: Tree, confidence: 85}"),
        "5:11: rules[0].keep",
        ["like or not", "found ignore and confidence alone"],
    ),
    "ignore without like": (
        rule("keep: {any: Bird, ignore: Tree}"),
        "5:31: rules[0].keep.ignore",
        ["expected like beside ignore"],
    ),
    "empty list of names": (rule("keep: {any: []}"), "5:17: rules[0].keep.any", ["a name", "not empty", "found []"]),
    "name forgotten": (rule("keep: {any: , none: [A]}"), "5:16: rules[0].keep.any", ["a name", "found nothing"]),
    "label as number": (
        rule("keep: {any: [Bird, 5]}"),
        "5:24: rules[0].keep.any[1]",
        ["a name", "found 5", "write text in quotes"],
    ),
    "confidence alone": (rule("keep: {confidence: 85}"), "5:11: rules[0].keep", ["any, all, none", "confidence alone"]),
    "confidence beyond 100": (
        rule("keep: {any: A, confidence: 850}"),
        "5:32: rules[0].keep.confidence",
        ["from 0 to 100", "found 850"],
    ),
    "confidence as text": (
        rule('keep: {any: A, confidence: "85"}'),
        "5:32: rules[0].keep.confidence",
        ["from 0 to 100", 'found "85"', "without quotes"],
    ),
    "count without bounds": (
        rule("keep: {count: {label: A}}"),
        "5:19: rules[0].keep.count",
        ["expected min or max", "found neither"],
    ),
    "min above max": (
        rule("keep: {count: {label: A, min: 3, max: 1}}"),
        "5:35: rules[0].keep.count.min",
        ["min at most max", "min 3 and max 1"],
    ),
    "area beyond the image": (
        rule("keep: {area: {label: A, min: 30}}"),
        "5:34: rules[0].keep.area.min",
        ["from 0 to 1", "found 30"],
    ),
    "misspelt condition inside not": (
        rule("keep: {not: [{anny: A}]}"),
        "5:19: rules[0].keep.not[0].anny",
        ["nearest is 'any'", "category"],
    ),
    "otherwise unknown": (HEAD + "otherwise: drop", "5:12: otherwise", ["keep or review or reject", "found drop"]),
    "action unknown": (
        HEAD + "actions: {keep: {cpy: s3://x/}}",
        "5:18: actions.keep.cpy",
        ["nearest is 'copy'", "copy, if_exists"],
    ),
    "action as a bare target": (
        HEAD + "actions: {keep: s3://clean/}",
        "5:17: actions.keep",
        ["none or delete or a mapping with copy", "found s3://clean/"],
    ),
    "verdict of an action unknown": (HEAD + "actions: {kept: none}", "5:11: actions.kept", ["nearest is 'keep'"]),
    "placeholder unknown": (
        HEAD + "actions: {keep: {copy: 's3://clean/{basname}'}}",
        "5:24: actions.keep.copy",
        ["unknown placeholder {basname}", "nearest is {basename}", "{key} {relative}"],
    ),
    "brace alone": (HEAD + "actions: {keep: {copy: 's3://clean/{key'}}", "5:24: actions.keep.copy", ["{{", "pairs"]),
    "placeholder for a bucket": (
        HEAD + "actions: {keep: {copy: 's3://{name}/x'}}",
        "5:24: actions.keep.copy",
        ["bucket written out", "{name}"],
    ),
    "if_exists unknown": (
        HEAD + "actions: {keep: {copy: s3://clean/, if_exists: keep}}",
        "5:48: actions.keep.if_exists",
        ["overwrite or skip or fail", "found keep"],
    ),
    "move that would skip": (
        HEAD + "actions: {keep: {move: s3://clean/, if_exists: skip}}",
        "5:48: actions.keep.if_exists",
        ["fail or overwrite", "found skip"],
    ),
    "move inside the source": (
        HEAD + "actions: {keep: {move: 's3://raw/birds/out/{key}'}}",
        "5:24: actions.keep.move",
        ["outside the source s3://raw/birds/", "s3://raw/birds/out/{key}"],
    ),
    "destination inside the source": (
        HEAD + "actions: {keep: {copy: 's3://raw/birds/out/{key}'}}",
        "5:24: actions.keep.copy",
        ["outside the source s3://raw/birds/", "s3://raw/birds/out/{key}"],
    ),
    "destination that a key could lead inside": (
        HEAD + "actions: {keep: {copy: s3://raw/}}",
        "5:24: actions.keep.copy",
        ["outside the source", "s3://raw/{key}"],
    ),
    "destination that the job's name leads inside": (
        swap("robins", "birds") + "actions: {keep: {copy: 's3://raw/{name}/{basename}'}}",
        "5:24: actions.keep.copy",
        ["outside the source"],
    ),
    "label behind a rule that has none": (
        rule("keep: {none: [A]}") + "actions: {keep: {copy: 's3://clean/{label}/'}}",
        "6:24: actions.keep.copy",
        ["expected a label", "rules[0]"],
    ),
    "label behind otherwise": (
        HEAD + "actions: {reject: {copy: 's3://clean/{label}/'}}",
        "5:26: actions.reject.copy",
        ["expected a label", "otherwise: reject"],
    ),
    "a word for a number": (HEAD + "limits: {tps: yes}", "5:15: limits.tps", ["a number above 0", "auto", "found yes"]),
    "a boolean for a number": (HEAD + "limits: {tps: true}", "5:15: limits.tps", ["a number", "auto", "found true"]),
    "a number in quotes": (
        HEAD + 'limits: {budget_usd: "25"}',
        "5:22: limits.budget_usd",
        ["dollars", 'found "25"', "without quotes"],
    ),
    "endless money": (HEAD + "limits: {budget_usd: .inf}", "5:22: limits.budget_usd", ["dollars", "found .inf"]),
    "no number": (HEAD + "limits: {share: .nan}", "5:17: limits.share", ["above 0 and at most 1", "found .nan"]),
    "money too fine": (
        HEAD + "limits: {budget_usd: 0.0000005}",
        "5:22: limits.budget_usd",
        ["6 decimals", "found 0.0000005"],
    ),
    "debt": (HEAD + "limits: {budget_usd: -1}", "5:22: limits.budget_usd", ["from 0", "found -1"]),
    "a fraction of a count": (
        HEAD + "limits: {max_images: 1e3}",
        "5:22: limits.max_images",
        ["a whole number", "null", "found 1e3"],
    ),
    "a huge count": (
        HEAD + f"limits: {{max_images: 1{'0' * 5000}}}",
        "5:22: limits.max_images",
        ["a whole number from 1 to", "found 1000"],
    ),
    "a share of nothing": (HEAD + "limits: {share: 0}", "5:17: limits.share", ["above 0 and at most 1", "found 0"]),
    "a date for a number": (
        HEAD + "stop: {matches: 2026-01-01}",
        "5:17: stop.matches",
        ["a whole number", "found 2026-01-01"],
    ),
    "a section that is a list": (HEAD + "stop: [matches]", "5:7: stop", ["a mapping with matches", "a list of 1"]),
    "a section without keys": (HEAD + "limits:", "5:8: limits", ["a mapping with tps", "found nothing"]),
    "an empty path": (HEAD + "checkpoint: ''", "5:13: checkpoint", ["the path of a file", "found ''"]),
    "a home that nobody has": (
        HEAD + "checkpoint: ~nobody-at-all/x.db",
        "5:13: checkpoint",
        ["a home folder", "found ~nobody-at-all/x.db"],
    ),
    "answers elsewhere": (
        HEAD + "answers: s3://bucket/answers.db",
        "5:10: answers",
        ["a file on this machine", "people's answers", "found s3://bucket/answers.db"],
    ),
    "a label that is too long": (
        HEAD + f"review: {{labels: [{'x' * 256}]}}",
        "5:19: review.labels[0]",
        ["1 to 255"],
    ),
    "a label with blanks around it": (HEAD + "review: {labels: [' x']}", "5:19: review.labels[0]", ["no spaces"]),
    "rising prices": (
        HEAD + "pricing: {tiers: [{up_to: 10, usd: 1}, {up_to: null, usd: 2}]}",
        "5:59: pricing.tiers[1].usd",
        ["never rise", "found 2 after 1"],
    ),
    "tiers out of order": (
        HEAD + "pricing: {tiers: [{up_to: 10, usd: 2}, {up_to: 5, usd: 1}, {up_to: null, usd: 1}]}",
        "5:48: pricing.tiers[1].up_to",
        ["rise from tier to tier", "found 5 after 10"],
    ),
    "tiers that end": (
        HEAD + "pricing: {tiers: [{up_to: 10, usd: 2}]}",
        "5:27: pricing.tiers[0].up_to",
        ["expected null", "found 10"],
    ),
    "region unknown": (HEAD + "aws: {region: ireland}", "5:15: aws.region", ["such as eu-west-1", "found ireland"]),
    "client unknown": (HEAD + "aws: {client: boto}", "5:15: aws.client", ["fast or aioboto3", "found boto"]),
    "variable not set": (
        HEAD + "aws: {profile: '${TEAM}'}",
        "5:16: aws.profile",
        ["${TEAM}", "TEAM is not set", "${TEAM:-default}"],
    ),
    "reference malformed": (HEAD + "aws: {profile: '${1X}'}", "5:16: aws.profile", ["expected ${NAME}", "found ${1X}"]),
    "a tag of YAML's": (HEAD + "aws: !!python/object:os.system {}", "5:6: aws", ["without tags", "python/object"]),
    "half a character": (HEAD + 'aws: {profile: "\\ud800"}', "5:16: aws.profile", ["surrogate"]),
}


@pytest.mark.parametrize(("text", "where", "words"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_file_is_reported_with_cause_and_position(
    text: str, where: str, words: list[str], tmp_path: Path
) -> None:
    """Each mistake gives one problem at its line, column and key, with the value seen and the values allowed."""
    (problem,) = problem_messages(text, tmp_path)
    position, _, message = problem.partition(": ")
    assert f"{position}: {message}".startswith(f"job.yaml:{where}: ")
    assert [word for word in words if word not in message] == []
    assert "Input should" not in message


UNREADABLE = {
    "empty": (b"", "1:1", "the file is empty"),
    "comments only": (b"# nothing\n", "1:1", "the file is empty"),
    "not a mapping": (b"just words", "1:1", "a mapping with version"),
    "a list": (b"- version: 1", "1:1", "a mapping with version"),
    "tab": (b"version: 1\nlimits:\n\ttps: 5\n", "3:1", "found a tab, expected spaces"),
    "glob without quotes": (b"version: 1\nsource: {include: [*.jpg]}", "2:21", "put globs in quotes"),
    "braces without quotes": (b"version: 1\nactions: {keep: {copy: s3://a/{key}}}", "2:31", "in quotes"),
    "colon in a value": (b"version: 1\nname: a: b", "2:8", "in quotes"),
    "two documents": (b"version: 1\n---\nversion: 1", "2:1", "not valid YAML"),
    "list as key": (b"version: 1\n[a]: 1", "2:1", "expected a word as key"),
    "not UTF-8": (b"version: 1\nname: caf\xe9", "2:10", "found the byte 0xe9"),
    "UTF-16": ("version: 1".encode("utf-16"), "1:1", "found UTF-16"),
    "control character": (b"version: 1\nname: a\x07", "2:8", "expected printable characters"),
    "bottomless": (b"[" * 5000, "1:1", "levels of nesting"),
    "deep": (b"a: " + b"[" * 60 + b"]" * 60, "1:44", "levels"),
    "laughing": (
        b"a: &a [x,x,x,x,x,x,x,x,x]\n"
        + b"".join(b"%c: &%c [%s]\n" % (98 + i, 98 + i, b",".join([b"*%c" % (97 + i)] * 9)) for i in range(8)),
        "1:4",
        "20000 values, aliases expanded",
    ),
    "endless": (b"a: &a [*a]", "1:4", "levels"),
    "too large": (b"#" * 1_100_000, "1:1", "at most 1048576 bytes"),
}


@pytest.mark.parametrize(("content", "where", "word"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_file_that_is_no_job_file_is_refused(content: bytes, where: str, word: str, tmp_path: Path) -> None:
    """Files that are no YAML, no text or no mapping are refused with a message, without a traceback."""
    path = tmp_path / "job.yaml"
    path.write_bytes(content)
    with pytest.raises(JobError) as caught:
        load_job(path)
    assert any(
        str(problem).startswith(f"{path}:{where}: ") and word in problem.message for problem in caught.value.problems
    )


@pytest.mark.parametrize("name", ["absent.yaml", "", "a\0b"])
def test_a_file_that_cannot_be_read_is_named(name: str, tmp_path: Path) -> None:
    """A missing file and a folder are job errors with exit code 2, not an OSError."""
    with pytest.raises(JobError, match="can be read") as caught:
        load_job(tmp_path / name)
    assert caught.value.exit_code == 2


def test_the_keys_of_a_detector_depend_on_its_kind(tmp_path: Path) -> None:
    """All missing or wrong keys are reported at once, for the kind that is written."""
    head = HEAD + "detector: {kind: rekognition-custom-labels, "
    [missing] = problem_messages(head + "max_labels: 5}", tmp_path)
    assert missing.endswith(
        "detector.model: this key is missing; expected the ARN of a model version, as kind is rekognition-custom-labels"
    )
    several = problem_messages(head + "model: birds, region: 5, features: x, max_lables: 5}", tmp_path)
    assert [line.split(": ")[1] for line in several] == [
        "detector.model",
        "detector.region",
        "detector.features",
        "detector.max_lables",
    ]
    assert "a list (not empty) of GENERAL_LABELS, found x" in several[2]
    assert "nearest is 'max_labels'" in several[3]


@pytest.mark.parametrize("kind", ["faces", "rekognition-custm-labels"])
def test_an_unknown_kind_of_detector_is_the_only_problem_of_its_section(tmp_path: Path, kind: str) -> None:
    """Which keys the section needs depends on the kind, so none of them is reported as missing."""
    path = tmp_path / "job.yaml"
    path.write_text(HEAD + f"detector: {{kind: {kind}}}")
    with pytest.raises(JobError) as caught:
        load_job(path)
    assert [problem.key for problem in caught.value.problems] == ["detector.kind"]


def test_all_problems_come_at_once_in_file_order(tmp_path: Path) -> None:
    """No mistake hides another: wrong types, misspelt keys, conflicts of keys and settings are all reported."""
    text = dedent("""\
        version: 2
        nam: robins
        source: {uri: "s3://raw/birds/", ordr: random}
        detector: {kind: rekognition-custom-labels, max_labels: 0}
        rules:
          - keep: {any: [], confidence: 185}
          - {}
          - keep: {count: {label: x, min: 3, max: 1}}
        actions:
          keep: {copy: "s3://raw/birds/{key}"}
        limits:
          tps: ${NOPE}
          budget_usd: "25"
    """)
    found = problem_messages(text, tmp_path, overrides=["limits.share=2", "stop.matches=0", "limits.budget_usd=x"])
    assert [problem.split(": ")[0:2] for problem in found] == [
        ["job.yaml:1:10", "version"],
        ["job.yaml:2:1", "nam"],
        ["job.yaml:3:34", "source.ordr"],
        ["job.yaml:4:11", "detector.model"],
        ["job.yaml:4:57", "detector.max_labels"],
        ["job.yaml:6:17", "rules[0].keep.any"],
        ["job.yaml:6:33", "rules[0].keep.confidence"],
        ["job.yaml:7:5", "rules[1]"],
        ["job.yaml:8:35", "rules[2].keep.count.min"],
        ["job.yaml:10:16", "actions.keep.copy"],
        ["job.yaml:12:8", "limits.tps"],
        ["--set limits.share=2:1:14", "limits.share"],
        ["--set stop.matches=0:1:14", "stop.matches"],
        ["--set limits.budget_usd=x:1:19", "limits.budget_usd"],
    ]


def test_defaults_are_as_documented(tmp_path: Path) -> None:
    """Four lines are a complete job; all other keys have their documented defaults."""
    job = load(HEAD, tmp_path)
    assert job.source == SourceSpec(
        bucket="raw", prefix="birds/", include=("*.jpg", "*.jpeg", "*.png"), exclude=(), order=Order.LISTING, seed=0
    )
    assert job.detector == DetectorSpec(
        kind=DetectorKind.REKOGNITION, region=None, model=None, min_confidence_pct=0, max_labels=1000,
        features=("GENERAL_LABELS",),
    )  # fmt: skip
    assert job.rules[0].conditions == (Condition(any=("Bird",), confidence_pct=55),)
    assert job.otherwise is Verdict.REJECT
    assert job.actions == dict.fromkeys(Verdict, Action(kind=ActionKind.NONE))
    assert job.limits == Limits(
        tps=None, share=1, concurrency=None, budget_micros=None, max_images=None, max_attempts=8, timeout_s=15
    )
    assert job.stop == Stop(matches=None, misses_in_a_row=None)
    assert job.checkpoint == tmp_path / ".asyncfilter" / "robins.db"
    assert job.answers_path == tmp_path / ".asyncfilter" / "robins.answers.db"
    assert job.review.labels == ()
    assert job.pricing == Pricing(used_this_month=0, tiers=None, inference_unit_hour_micros=None)
    assert (job.aws.profile, job.aws.region, job.aws.client) == (None, None, ClientKind.FAST)


def test_writing_the_defaults_out_changes_nothing(tmp_path: Path) -> None:
    """Every ``null`` and ``auto`` of the job file may be written or left out."""
    text = HEAD + dedent("""\
        detector: {kind: rekognition, region: null, model: null, min_confidence: 0, max_labels: 1000,
                   features: [GENERAL_LABELS]}
        otherwise: reject
        actions: {keep: none, review: none, reject: none}
        limits: {tps: auto, share: 1.0, concurrency: auto, budget_usd: null, max_images: null, max_attempts: 8,
                 timeout_s: 15}
        stop: {matches: null, misses_in_a_row: null}
        checkpoint: null
        answers: null
        review: {labels: []}
        pricing: {used_this_month: 0, tiers: null, inference_unit_hour_usd: null}
        aws: {profile: null, region: null, client: fast}
    """)
    assert load(text, tmp_path) == load(HEAD, tmp_path)


EVERY_KEY = f"""\
version: 1
name: every-key
source: {{uri: "s3://raw-images/birds & co/", include: "*.JPG", exclude: ["*/x/*"], order: random, seed: 7}}
detector: {{kind: rekognition-custom-labels, region: eu-west-1, model: "{MODEL}", min_confidence: 5.5,
            max_labels: 20, features: [GENERAL_LABELS]}}
rules:
  - reject:
      - {{any: No, confidence: 1e1}}
      - not: [{{category: Text}}, {{none: [on, "off"]}}]
  - keep: {{all: [A, B], count: {{label: C, min: 1}}, area: {{label: D, max: 0.5}}}}
otherwise: review
actions:
  keep: {{copy: s3://clean/, if_exists: fail}}
  review: {{copy: "s3://clean/{{{{x}}}}/{{name}}/{{relative}}"}}
  reject: none
limits: {{tps: 50, share: 0.5, concurrency: 9, budget_usd: 25.123456, max_images: 010, max_attempts: 3,
          timeout_s: 2.5}}
stop: {{matches: 50, misses_in_a_row: 20}}
checkpoint: state/run.db
answers: ../people.db
review: {{labels: [Robin, Wren, Robin]}}
pricing: {{used_this_month: 5, inference_unit_hour_usd: 4.1,
           tiers: [{{up_to: 1000000, usd: 0.001}}, {{up_to: null, usd: 0.00025}}]}}
aws: {{profile: team, region: us-gov-west-1, client: aioboto3}}
"""
"""A job file with every key, none of which has its default."""


def test_every_key_arrives(tmp_path: Path) -> None:
    """The job has the values of the file, with units, tuples and exact micro-dollars."""
    job = load(EVERY_KEY, tmp_path)
    assert job.source == SourceSpec(
        bucket="raw-images", prefix="birds & co/", include=("*.JPG",), exclude=("*/x/*",), order=Order.RANDOM, seed=7
    )
    assert job.detector == DetectorSpec(
        kind=DetectorKind.CUSTOM_LABELS, region="eu-west-1", model=MODEL, min_confidence_pct=5.5, max_labels=20
    )
    assert job.rules[0].conditions == (
        Condition(any=("No",), confidence_pct=10),
        Condition(not_=(Condition(category=("Text",)), Condition(none=("on", "off")))),
    )
    assert job.rules[1].conditions == (
        Condition(all=("A", "B"), count=Count(label="C", min=1), area=Area(label="D", max=0.5)),
    )
    assert job.otherwise is Verdict.REVIEW
    assert job.actions == {
        Verdict.KEEP: Action(kind=ActionKind.COPY, target="s3://clean/{key}", if_exists=IfExists.FAIL),
        Verdict.REVIEW: Action(kind=ActionKind.COPY, target="s3://clean/{{x}}/{name}/{relative}"),
        Verdict.REJECT: Action(),
    }
    assert job.limits == Limits(
        tps=50, share=0.5, concurrency=9, budget_micros=25_123_456, max_images=10, max_attempts=3, timeout_s=2.5
    )
    assert job.stop == Stop(matches=50, misses_in_a_row=20)
    assert job.checkpoint == tmp_path / "state" / "run.db"
    assert job.answers_path == tmp_path / ".." / "people.db"
    assert job.review.labels == ("Robin", "Wren")
    assert job.pricing == Pricing(
        used_this_month=5,
        tiers=(PriceTier(up_to=1_000_000, micros=1000), PriceTier(up_to=None, micros=250)),
        inference_unit_hour_micros=4_100_000,
    )
    assert (job.aws.profile, job.aws.region, job.aws.client) == ("team", "us-gov-west-1", ClientKind.AIOBOTO3)


@pytest.mark.parametrize(
    ("checkpoint", "expected"),
    [
        ("a.db", "a.answers.db"),
        ("a.sqlite", "a.sqlite.answers.db"),
        ("b/.db", "b/.answers.db"),
        ("a.db.db", "a.db.answers.db"),
    ],
)
def test_answers_are_beside_the_checkpoint(checkpoint: str, expected: str, tmp_path: Path) -> None:
    """Without ``answers`` the file has the checkpoint's path without ``.db``, and ``.answers.db``."""
    assert load(HEAD + f"checkpoint: {checkpoint}", tmp_path).answers_path == tmp_path / expected


def test_answers_and_review_are_outside_every_fingerprint(tmp_path: Path) -> None:
    """Both keys can change at any time: no checkpoint is bound to them, and no decision is made again."""
    plain = load(HEAD, tmp_path)
    changed = load(HEAD + "answers: other.db\nreview: {labels: [Robin]}\n", tmp_path)
    assert (identity(plain), decided_by(plain)) == (identity(changed), decided_by(changed))


def test_destinations_beside_the_source_pass(tmp_path: Path) -> None:
    """docs/guarantees.md, *A target cannot feed the source*: exactly the targets that could are refused."""
    for target in ("s3://raw/out/{key}", "s3://raw2/birds/{key}", "s3://raw/bird/{relative}", "s3://raw/{name}/{key}"):
        text = HEAD + f"actions: {{keep: {{copy: '{target}'}}}}"
        assert load(text, tmp_path).actions[Verdict.KEEP].target == target


def test_variables_are_expanded(tmp_path: Path) -> None:
    """``${NAME}`` is replaced by the variable's text, then typed; ``$$`` is a dollar; nothing is expanded twice."""
    text = HEAD + dedent("""\
        limits: { tps: "auto" }
        stop:
          matches: ${ENOUGH}
          misses_in_a_row: ${PATIENCE:-20}
        aws:
          profile: "$${A} ${TEAM} $5 ${NONE:-} ${EMPTY:-full}"
        actions: {keep: {copy: "s3://${BUCKET}/{key}"}}
    """)
    environ = {"ENOUGH": "50", "TEAM": "${BUCKET}", "BUCKET": "clean", "EMPTY": ""}
    job = load(text, tmp_path, environ=environ)
    assert job.stop == Stop(matches=50, misses_in_a_row=20)
    assert job.aws.profile == "${A} ${BUCKET} $5  full"
    assert job.actions[Verdict.KEEP].target == "s3://clean/{key}"


def test_a_wrong_variable_is_shown_by_its_name(tmp_path: Path) -> None:
    """The value, which may be a secret, is not."""
    (problem,) = problem_messages(HEAD + "stop:\n  matches: ${N}", tmp_path, environ={"N": "many"})
    assert problem.endswith("found ${N}")


@pytest.mark.parametrize(
    "value",
    [
        "hunter2-pass",
        "s3://hunter2 pass/x/../y",
        "/hunter2//pass",
        'hunter2"pass\\',
        "hunter2\u202e\n\x1b[31m",
        "own:hunter2 x/",
    ],
)
@pytest.mark.parametrize(
    "text",
    [
        "limits: {budget_usd: '${SECRET}'}",
        "limits: {tps: $${SECRET}${SECRET}}",
        "aws: {region: '${SECRET}', client: 'x${SECRET}'}",
        "actions: {keep: {copy: '${SECRET}/{nope}'}, review: {move: 's3://${SECRET}/'}}",
        "checkpoint: ['${SECRET}']",
        "pricing: {tiers: [{up_to: '${SECRET}', usd: '${SECRET}'}]}",
        "detector: {kind: '${SECRET}', model: 'arn:${SECRET}'}",
        "'${SECRET}': 1\nstop: '${SECRET}'",
        "otherwise: '${SECRET}'",
    ],
)
def test_no_message_has_the_value_of_a_variable(tmp_path: Path, text: str, value: str) -> None:
    """Whatever is wrong with it, and however it is quoted: messages are pasted into reports."""
    problems = problem_messages(HEAD + text, tmp_path, environ={"SECRET": value})
    assert problems
    assert not [problem for problem in problems if "hunter2" in problem or "pass" in problem]


def test_an_address_from_a_variable_is_hidden_in_every_part(tmp_path: Path) -> None:
    """Source and target are shown by the variable's name, also where they are normalised."""
    text = "actions: {keep: {copy: '${PLACE}/{relative}'}}"
    for place in ("/no/hunter2//sub", "s3://hunter2-bucket/raw", "~/hunter2/./x"):
        head = HEAD.replace("s3://raw/birds/", "'${PLACE}/'")
        (problem,) = problem_messages(head + text, tmp_path, environ={"PLACE": place, "HOME": "/home/x"})
        assert "could land inside" in problem
        assert "hunter2" not in problem


def test_anchors_and_merges_work(tmp_path: Path) -> None:
    """Repeated parts can be written once; a mapping's own keys take precedence over merged ones."""
    text = swap(
        "[{keep: {any: Bird}}]", "[{keep: &sure {any: Bird, confidence: 90}}, {review: {<<: *sure, confidence: 60}}]"
    )
    keep, review = load(text, tmp_path).rules
    assert (keep.conditions[0].confidence_pct, review.conditions[0].confidence_pct) == (90, 60)
    assert keep.conditions[0].any == review.conditions[0].any == ("Bird",)


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    """A byte order mark at the beginning of a UTF-8 file is accepted."""
    assert load("\ufeff" + HEAD, tmp_path).name == "robins"


def test_settings_go_on_top(tmp_path: Path) -> None:
    """``--set`` can set any key, adds missing sections, and is parsed as YAML."""
    overrides = [
        "limits.tps=50",
        "source.order=random",
        "rules[0].keep.confidence=90",
        "rules.0.keep.any=[Robin, Wren]",
        "actions.keep={copy: s3://clean/}",
        "limits.budget_usd=",
        "aws.profile=${TEAM}",
    ]
    job = load(HEAD + "limits: {budget_usd: bad}", tmp_path, overrides=overrides, environ={"TEAM": "t"})
    assert job.limits == Limits(tps=50)
    assert job.source == SourceSpec(bucket="raw", prefix="birds/", order=Order.RANDOM)
    assert job.rules[0].conditions == (Condition(any=("Robin", "Wren"), confidence_pct=90),)
    assert job.actions[Verdict.KEEP].target == "s3://clean/{key}"
    assert job.aws.profile == "t"


def test_settings_may_be_values_of_a_program(tmp_path: Path) -> None:
    """A mapping of dotted keys sets the values unchanged."""
    job = load(HEAD, tmp_path, overrides={"limits.tps": 7, "detector": {"max_labels": 5}, "aws.profile": "${A}"})
    assert (job.limits.tps, job.detector.max_labels, job.aws.profile) == (7, 5, "${A}")


@pytest.mark.parametrize(
    ("setting", "word"),
    [
        ("limits.tps", "expected KEY=VALUE"),
        ("=5", "expected KEY=VALUE"),
        ("limits.tps.x=5", "expected a key or item that is there"),
        ("rules[9].keep.any=A", "expected a key or item that is there"),
        ("limts.tps=5", "nearest is 'limits'"),
        ("limits.tps=[", "not valid YAML"),
        ("limits={}\nx: 1", "not valid YAML"),
    ],
)
def test_a_wrong_setting_is_named(setting: str, word: str, tmp_path: Path) -> None:
    """Problems of ``--set`` name the setting."""
    (problem,) = problem_messages(HEAD + "limits: {tps: 5}", tmp_path, overrides=[setting])
    assert problem.startswith(f"--set {setting}:")
    assert word in problem


def test_a_program_can_describe_a_job(tmp_path: Path) -> None:
    """``parse_job`` takes the file's keys as values, changes none of them, and expands nothing."""
    mapping = {
        "version": 1,
        "name": "robins",
        "source": {"uri": "s3://raw/$${x}/", "order": Order.RANDOM},
        "rules": ({"keep": {"any": ("Bird",)}},),
        "checkpoint": tmp_path / "run.db",
    }
    before = repr(mapping)
    job = parse_job(mapping, base_dir="jobs")
    assert (job.path, job.source.prefix, job.source.order) == (None, "$${x}/", Order.RANDOM)
    assert job.checkpoint == tmp_path / "run.db"
    assert repr(mapping) == before


def test_a_wrong_document_is_reported_by_key() -> None:
    """``parse_job`` reports by key; values that YAML cannot hold are refused like any other."""
    with pytest.raises(JobError) as caught:
        parse_job({"version": 1, "name": b"x", "source": object(), "rules": {1, 2}}, base_dir=".")
    assert [problem.key for problem in caught.value.problems] == ["name", "source", "rules"]


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda path: path.name)
def test_the_examples_load(path: Path) -> None:
    """Every file in ``config/`` is a valid job."""
    assert load_job(path, environ={}).path == path


def test_the_names_of_a_job_come_without_yaml_or_pydantic() -> None:
    """``asyncfilter.job`` imports no parser until a file is loaded, which keeps ``--help`` fast."""
    code = "import sys, asyncfilter.job; print([m for m in ('yaml', 'pydantic') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_standard_input_has_a_name() -> None:
    """``-`` is no file; the message has the one that is."""
    with pytest.raises(JobError, match="No such file or directory; standard input is /dev/stdin"):
        load_job("-")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("S3://raw/birds/", "s3://raw/birds/"),
        ("s3:/raw/birds/", "s3://raw/birds/"),
        ("s3//raw/birds/", "s3://raw/birds/"),
        (" s3://raw/birds/", "s3://raw/birds/"),
        ("https://raw.s3.amazonaws.com/a%20b/", "s3://raw/a b/"),
        ("https://my.raw.s3.eu-west-1.amazonaws.com/birds/1.jpg", "s3://my.raw/birds/1.jpg"),
        ("https://s3.eu-west-1.amazonaws.com/raw/birds/", "s3://raw/birds/"),
        ("https://s3-us-west-2.amazonaws.com/raw/birds/", "s3://raw/birds/"),
        ("https://eu-west-1.console.aws.amazon.com/s3/buckets/raw?region=eu-west-1&prefix=birds/", "s3://raw/birds/"),
        ("raw/birds", "s3://raw/birds or ./raw/birds"),
        ("https://example.com/birds/", None),
        ("http://[", None),
        ("C:\\photos", None),
        ("gs://raw/birds/", None),
    ],
)
def test_an_address_that_is_nearly_one_is_written_right(text: str, address: str | None) -> None:
    """A web address of S3 and a slip at the beginning: the message has what to write, which can be read."""
    with pytest.raises(ValueError, match="found") as refused:
        parse_source(text, "/nowhere")
    assert str(refused.value).partition(": write ")[2] == (address or "")
    if address is not None:
        assert parse_source(address.partition(" or ")[0], "/nowhere").key
