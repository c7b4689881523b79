"""The permissions that the commands of a job need, and the IAM policy that grants no more than these.

``needs`` has one row for each permission: action, resource, and what happens without it. ``document`` makes policies of
rows, ``results`` holds what a check of a caller found. No code here asks AWS anything.
"""

from asyncfilter.policy.permissions.arns import partition_of
from asyncfilter.policy.permissions.bucket_policy import bucket_policy, caller_policy, images_bucket
from asyncfilter.policy.permissions.document import granting, policy_document
from asyncfilter.policy.permissions.lanes import lane_needs, lanes_bucket_policy
from asyncfilter.policy.permissions.needs import commands_by_need, commands_of, needs_of
from asyncfilter.policy.permissions.places import BucketFacts
from asyncfilter.policy.permissions.results import Access, AccessReport, AccessResult, CheckMethod
from asyncfilter.policy.permissions.rows import Command, Need

__all__ = [
    "Access",
    "AccessReport",
    "AccessResult",
    "BucketFacts",
    "CheckMethod",
    "Command",
    "Need",
    "bucket_policy",
    "caller_policy",
    "commands_by_need",
    "commands_of",
    "granting",
    "images_bucket",
    "lane_needs",
    "lanes_bucket_policy",
    "needs_of",
    "partition_of",
    "policy_document",
]
