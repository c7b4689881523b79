"""The AWS adapters: session, S3, Rekognition, Custom Labels, quotas. Vendor errors are translated only in this package.

``open_aws`` opens the account, and ``open_clients`` the client that a job selects: the fast one
(``clients.signed_http``, ``clients.fast``) or aioboto3 (``clients.boto``). ``open_store``, ``open_detector`` and
``open_remover`` return a job's ports over that client. The code that both clients share is in ``s3``, ``detectors``,
``errors`` and ``transport_errors``.
"""

from asyncfilter.aws.factory import AwsClients, S3Store, open_clients, open_detector, open_remover, open_store
from asyncfilter.aws.model_state import ModelState, describe_model
from asyncfilter.aws.quotas import SERVICE_CODE, quota_tps
from asyncfilter.aws.references import AwsReferences, open_references
from asyncfilter.aws.session import AwsSession, open_aws
from asyncfilter.policy.quota import QuotaAnswer, QuotaOrigin

__all__ = [
    "SERVICE_CODE",
    "AwsClients",
    "AwsReferences",
    "AwsSession",
    "ModelState",
    "QuotaAnswer",
    "QuotaOrigin",
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
