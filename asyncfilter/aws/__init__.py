"""AWS at the edge: session, S3, Rekognition, Custom Labels, quotas; vendor errors are translated here and nowhere else.

``open_aws`` opens the account, ``open_ports`` gives a job's source, detector and sink on the client it asks for: the
fast one (``wire``, ``fast``) or aioboto3 (``boto``). What both share stands once, in ``s3``, ``rekognition``,
``custom_labels``, ``errors`` and ``failures``.
"""

from asyncfilter.aws.custom_labels import ModelState, describe_model
from asyncfilter.aws.opening import Ports, open_detector, open_ports, open_remover
from asyncfilter.aws.quotas import QUOTA_CODES, SERVICE_CODE, documented_tps, quota_tps
from asyncfilter.aws.references import AwsReferences, open_references
from asyncfilter.aws.session import AwsSession, open_aws
from asyncfilter.policy.quota import QuotaAnswer, QuotaOrigin

__all__ = [
    "QUOTA_CODES",
    "SERVICE_CODE",
    "AwsReferences",
    "AwsSession",
    "ModelState",
    "Ports",
    "QuotaAnswer",
    "QuotaOrigin",
    "describe_model",
    "documented_tps",
    "open_aws",
    "open_detector",
    "open_ports",
    "open_references",
    "open_remover",
    "quota_tps",
]
