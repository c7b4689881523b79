"""IAM policies of a job and the check of a caller, for people and for scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from rich.console import RenderableType

from asyncfilter.policy.permissions import (
    Access,
    AccessReport,
    AccessResult,
    Command,
    Need,
    granting,
    policy_document,
)
from asyncfilter.policy.permissions.document import Document
from asyncfilter.report.formatting import count
from asyncfilter.report.terminal.facts import Facts
from asyncfilter.report.terminal.text import Text

Row = tuple[str, str | Text]

_COLOURS = {Access.ALLOWED: "green", Access.MISSING: "red", Access.UNKNOWN: "yellow"}
_LABEL_COLUMNS = 8

# -- For scripts -------------------------------------------------------------------------------------------------------


def policy_mapping(
    name: str, partition: str, needs: Sequence[Need], by_command: Mapping[Command, Sequence[Need]], lanes: LanePolicies
) -> dict[str, object]:
    """The policy of all commands together, and for each of them its own with the reasons; those of lanes beside."""
    return {
        "name": name,
        "partition": partition,
        "policy": policy_document(needs),
        "commands": {
            command.value: {"policy": policy_document(own), "needs": [_need_mapping(need) for need in own]}
            for command, own in by_command.items()
        },
        **lanes_mapping(lanes),
    }


class LanePolicies(NamedTuple):
    """What the identities of lanes need, by lane, and the bucket policy for those that are not the job's own."""

    needs: Mapping[str, Sequence[Need]]
    bucket_policy: Document | None


def lanes_mapping(lanes: LanePolicies) -> dict[str, object]:
    """A policy for each lane, and the bucket policy; nothing without lanes."""
    if not lanes.needs:
        return {}
    policies = {name: policy_document(needs) for name, needs in lanes.needs.items()}
    return {"lanes": policies, "bucket_policy": lanes.bucket_policy}


def check_mapping(name: str, report: AccessReport) -> dict[str, object]:
    """The results of a check; ``missing`` has what a command cannot do without."""
    return {
        "name": name,
        "ok": report.is_ok,
        "caller": report.caller,
        "simulated": not report.simulation,
        "simulation": report.simulation or None,
        "missing": [_named(result) for result in report.of(Access.MISSING) if result.is_required],
        "unknown": [_named(result) for result in report.of(Access.UNKNOWN)],
        "results": [_result_mapping(result) for result in report.results],
    }


def _need_mapping(need: Need) -> dict[str, object]:
    return {
        "action": need.action,
        "resource": need.resource,
        "prefix": need.prefix,
        "statement": need.statement,
        "why": need.why,
        "required": need.without is None,
        "without": need.without,
        "keeps_versions": need.keeps_versions,
    }


def _result_mapping(result: AccessResult) -> dict[str, object]:
    return {
        **_need_mapping(result.need),
        "commands": [command.value for command in result.commands],
        "access": result.access.value,
        "how": result.how.value,
        "detail": result.detail,
    }


def _named(result: AccessResult) -> dict[str, object]:
    return {"action": result.need.action, "resource": result.need.resource}


# -- For people --------------------------------------------------------------------------------------------------------


def draw_commands(needs: Sequence[Need], by_command: Mapping[Command, Sequence[Need]]) -> RenderableType:
    """Which statements each command needs, and what happens without those it can do without.

    Args:
        needs: Of all commands together, of which the policy is made; where one statement grants what two ask for, the
            other one is not in the policy, and stands here with its name.
        by_command: Of each command.
    """
    granted = {_key(need): other.statement for need, other in granting(needs).items()}

    def shown(need: Need) -> str:
        by = granted[_key(need)]
        return need.statement if by == need.statement else f"{need.statement} (in {by})"

    return Facts(_command_rows(by_command, shown))


def _key(need: Need) -> tuple[str, str, str | None]:
    """What two rows of one permission have in common."""
    return need.action, need.resource, need.prefix


def _command_rows(by_command: Mapping[Command, Sequence[Need]], shown: Callable[[Need], str]) -> Iterator[Row]:
    without: dict[str, dict[str, None]] = {}
    required = {need.statement for needs in by_command.values() for need in needs if need.without is None}
    for command, needs in by_command.items():
        statements = dict.fromkeys(map(shown, needs))
        yield command.value, Text(", ".join(statements) or "no permission", "" if statements else "dim")
        for need in needs:
            if need.without is not None and need.statement not in required:
                without.setdefault(need.without, {})[need.statement] = None
    for at, (text, names) in enumerate(without.items()):
        yield ("" if at else "without"), Text.assemble((", ".join(names), "bold"), f": {text}")


def draw_check(name: str, report: AccessReport) -> RenderableType:
    """What is missing, what is not known and why, and what is allowed."""
    return Facts(_check_rows(name, report), label_columns=_LABEL_COLUMNS)


def _check_rows(name: str, report: AccessReport) -> Iterator[Row]:
    yield "job", Text(name, "bold")
    yield "caller", report.caller
    if report.simulation:
        yield "", Text(f"IAM could not be asked: {report.simulation}", "yellow")
    for result in report.of(Access.MISSING):
        yield from _missing_rows(result)
    yield from _unknown_rows(report.of(Access.UNKNOWN))
    allowed = report.of(Access.ALLOWED)
    if allowed:
        actions = dict.fromkeys(result.need.action for result in allowed)
        yield Access.ALLOWED.value, Text(", ".join(actions), _COLOURS[Access.ALLOWED])
    yield "", _verdict(report)


def _missing_rows(result: AccessResult) -> Iterator[Row]:
    need = result.need
    yield Access.MISSING.value, _permission(result)
    yield "", Text(f"to {need.why}{'' if need.without is None else f'; without it {need.without}'}", "dim")
    yield "", Text(result.detail, "dim")


def _unknown_rows(results: Sequence[AccessResult]) -> Iterator[Row]:
    """The permissions by what is said of them."""
    for detail in dict.fromkeys(result.detail for result in results):
        yield Access.UNKNOWN.value, Text(detail, "dim")
        for result in results:
            if result.detail == detail:
                yield "", _permission(result)


def _permission(result: AccessResult) -> Text:
    commands = ", ".join(command.value for command in result.commands)
    action = (result.need.action, _COLOURS[result.access])
    return Text.assemble(action, f" on {result.need.resource} ", (f"({commands})", "dim"))


def _verdict(report: AccessReport) -> Text:
    missing = [result for result in report.of(Access.MISSING) if result.is_required]
    if missing:
        return Text(f"{count(len(missing))} of {count(len(report.results))} permissions are missing", "red")
    unknown = len(report.of(Access.UNKNOWN))
    if unknown:
        return Text(f"nothing is missing as far as is known; {count(unknown)} could not be known", "yellow")
    return Text("nothing is missing", "green")
