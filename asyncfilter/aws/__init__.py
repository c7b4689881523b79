"""The AWS adapters: session, S3, Rekognition, Custom Labels, quotas. Vendor errors are translated only in this package.

``open_aws`` opens the account, and ``open_clients`` the client that a job selects: the fast one
(``clients.signed_http``, ``clients.fast``) or aioboto3 (``clients.boto``). ``open_store``, ``open_detector`` and
``open_remover`` return a job's ports over that client. The code that both clients share is in ``s3``, ``detectors``,
``errors`` and ``transport_errors``.
"""

import logging

from asyncfilter.aws.factory import AwsClients, S3Store, open_clients, open_detector, open_remover, open_store
from asyncfilter.aws.model_state import ModelState, describe_model
from asyncfilter.aws.quotas import SERVICE_CODE, quota_tps
from asyncfilter.aws.references import AwsReferences, open_references
from asyncfilter.aws.s3.objects import S3Objects
from asyncfilter.aws.session import AwsSession, open_aws
from asyncfilter.policy.quota import QuotaAnswer, QuotaOrigin

# As botocore and boto3 do for themselves: Python prints warnings of a logger on stderr when no handler is set. What
# aiobotocore warns of, with a traceback, is raised as an error of this package too.
logging.getLogger("aiobotocore").addHandler(logging.NullHandler())

__all__ = [
    "SERVICE_CODE",
    "AwsClients",
    "AwsReferences",
    "AwsSession",
    "ModelState",
    "QuotaAnswer",
    "QuotaOrigin",
    "S3Objects",
    "S3Store",
    "describe_model",
    "open_aws",
    "open_clients",
    "open_detector",
    "open_references",
    "open_remover",
    "open_store",
    "quota_tps",
]
