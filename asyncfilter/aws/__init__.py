"""AWS at the edge: session, S3, Rekognition, Custom Labels, quotas; vendor errors are translated here and nowhere else.

``open_aws`` opens the account and ``open_clients`` the client that a job asks for: the fast one (``wire``, ``fast``) or
aioboto3 (``boto``). ``open_store``, ``open_detector`` and ``open_remover`` give a job's ports over it. What both
clients share stands once, in ``s3``, ``rekognition``, ``custom_labels``, ``errors`` and ``failures``.
"""

from asyncfilter.aws.custom_labels import ModelState, describe_model
from asyncfilter.aws.opening import AwsClients, S3Store, open_clients, open_detector, open_remover, open_store
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
