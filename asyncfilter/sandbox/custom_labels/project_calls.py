"""Calls about projects, their policies, and tags."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from asyncfilter.sandbox.custom_labels import requests
from asyncfilter.sandbox.custom_labels.account import Account
from asyncfilter.sandbox.custom_labels.limits import MAX_PROJECTS
from asyncfilter.sandbox.custom_labels.pages import page
from asyncfilter.sandbox.custom_labels.projects import Policy, Project
from asyncfilter.sandbox.message import ServiceError

MAX_TAGS = 200


def create_project(account: Account, wanted: requests.CreateProject) -> dict[str, Any]:
    """CreateProject."""
    if wanted.feature != "CUSTOM_LABELS":
        raise ServiceError("InvalidParameterException", f"The sandbox has no projects for {wanted.feature}")
    if any(project.name == wanted.project_name for project in account.projects):
        raise ServiceError("ResourceInUseException", f"A project named {wanted.project_name} already exists")
    if len(account.projects) >= MAX_PROJECTS:
        raise ServiceError("LimitExceededException", f"An account can have {MAX_PROJECTS} projects")
    project = Project(account.arns.project(wanted.project_name, account.clock.now_s()), account.clock)
    project.create()
    account.add(project)
    account.tags[project.arn] = wanted.tags
    return {"ProjectArn": project.arn}


def describe_projects(account: Account, wanted: requests.DescribeProjects) -> dict[str, Any]:
    """DescribeProjects."""
    names, features = wanted.project_names, wanted.features
    if features is not None and "CUSTOM_LABELS" not in features:
        return {"ProjectDescriptions": []}

    def keeps(project: Project) -> bool:
        return project.is_listed if names is None else project.name in names

    found, token = page(account.projects, wanted.next_token, wanted.max_results, keeps)
    return {"ProjectDescriptions": [project.description() for project in found], **next_page(token)}


def delete_project(account: Account, wanted: requests.DeleteProject) -> dict[str, Any]:
    """DeleteProject."""
    project = account.project(wanted.project_arn)
    if project.state.status == "DELETING":
        raise ServiceError("ResourceInUseException", f"Project {project.arn} is being deleted")
    project.delete()
    return {"Status": project.state.status or "DELETING"}


# Policies


def put_policy(account: Account, wanted: requests.PutProjectPolicy) -> dict[str, Any]:
    """PutProjectPolicy."""
    project = account.project(wanted.project_arn)
    held = project.policies.get(wanted.policy_name)
    try:
        msgspec.json.decode(wanted.policy_document, type=dict[str, Any])
    except msgspec.MsgspecError as exc:
        raise ServiceError("MalformedPolicyDocumentException", "The policy document is not a JSON object") from exc
    if held is not None and wanted.policy_revision_id is None:
        raise ServiceError("ResourceAlreadyExistsException", f"Policy {wanted.policy_name} already exists")
    _check_revision(held, wanted.policy_revision_id)
    now_s = account.clock.now_s()
    text = f"{wanted.policy_name} {now_s} {wanted.policy_document}"
    revision = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    created_s = now_s if held is None else held.created_s
    policy = Policy(wanted.policy_name, revision, wanted.policy_document, created_s, now_s)
    project.policies[policy.name] = policy
    return {"PolicyRevisionId": revision}


def list_policies(account: Account, wanted: requests.ListProjectPolicies) -> dict[str, Any]:
    """ListProjectPolicies."""
    project = account.project(wanted.project_arn)
    found, token = page(list(project.policies.values()), wanted.next_token, wanted.max_results)
    rows = [
        {
            "ProjectArn": project.arn,
            "PolicyName": policy.name,
            "PolicyRevisionId": policy.revision,
            "PolicyDocument": policy.document,
            "CreationTimestamp": policy.created_s,
            "LastUpdatedTimestamp": policy.updated_s,
        }
        for policy in found
    ]
    return {"ProjectPolicies": rows, **next_page(token)}


def delete_policy(account: Account, wanted: requests.DeleteProjectPolicy) -> dict[str, Any]:
    """DeleteProjectPolicy."""
    project = account.project(wanted.project_arn)
    held = project.policies.get(wanted.policy_name)
    if held is None:
        raise ServiceError("ResourceNotFoundException", f"There is no policy {wanted.policy_name}")
    _check_revision(held, wanted.policy_revision_id)
    del project.policies[wanted.policy_name]
    return {}


def _check_revision(held: Policy | None, revision: str | None) -> None:
    if revision is not None and (held is None or held.revision != revision):
        raise ServiceError("InvalidPolicyRevisionIdException", "The policy has another revision")


# Tags


def tag_resource(account: Account, wanted: requests.TagResource) -> dict[str, Any]:
    """TagResource."""
    account.check_resource(wanted.resource_arn)
    tags = {**account.tags.get(wanted.resource_arn, {}), **wanted.tags}
    if len(tags) > MAX_TAGS:
        raise ServiceError("ServiceQuotaExceededException", f"A resource can have {MAX_TAGS} tags")
    account.tags[wanted.resource_arn] = tags
    return {}


def untag_resource(account: Account, wanted: requests.UntagResource) -> dict[str, Any]:
    """UntagResource."""
    account.check_resource(wanted.resource_arn)
    tags = account.tags.get(wanted.resource_arn, {})
    account.tags[wanted.resource_arn] = {key: value for key, value in tags.items() if key not in wanted.tag_keys}
    return {}


def list_tags(account: Account, wanted: requests.ListTagsForResource) -> dict[str, Any]:
    """ListTagsForResource."""
    account.check_resource(wanted.resource_arn)
    return {"Tags": account.tags.get(wanted.resource_arn, {})}


def next_page(token: str | None) -> dict[str, str]:
    """The member that leads to the next page, if there is one."""
    return {} if token is None else {"NextToken": token}
