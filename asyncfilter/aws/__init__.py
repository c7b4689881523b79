"""The AWS adapters: session, S3, Rekognition, Custom Labels, quotas. Vendor errors are translated only in this package.

``open_aws`` opens the account, and ``open_clients`` the client that a job selects: the fast one
(``clients.signed_http``, ``clients.fast``) or aiobotocore (``clients.boto``). ``open_store``, ``open_detector`` and
``open_remover`` return a job's ports over that client. The code that both clients share is in ``s3``, ``detectors``,
``errors`` and ``transport_errors``.
"""

import logging

from asyncfilter.aws.access.check import check_access, detector_region
from asyncfilter.aws.access.identity import Caller, identify
from asyncfilter.aws.access.opt_out import OptOutState, opt_out
from asyncfilter.aws.factory import (
    AwsClients,
    S3Store,
    check_s3_targets,
    open_clients,
    open_detector,
    open_remover,
    open_store,
)
from asyncfilter.aws.model_state import ModelState, describe_model
from asyncfilter.aws.preflight import Retry, check_region, nearest_region, with_retries
from asyncfilter.aws.quotas import SERVICE_CODE, quota_tps
from asyncfilter.aws.references import AwsReferences, listed_object, open_references, read_image
from asyncfilter.aws.s3.contents import S3Contents
from asyncfilter.aws.s3.end import S3End
from asyncfilter.aws.s3.objects import S3Objects
from asyncfilter.aws.s3.state_objects import S3StateStore
from asyncfilter.aws.session import (
    ANY_REGION,
    AwsSession,
    Endpoint,
    configured_region,
    open_aws,
    open_without_keys,
)
from asyncfilter.policy.quota import QuotaAnswer, QuotaOrigin

# As botocore and boto3 do for themselves: Python prints warnings of a logger on stderr when no handler is set. What
# aiobotocore warns of, with a traceback, is raised as an error of this package too.
logging.getLogger("aiobotocore").addHandler(logging.NullHandler())

__all__ = [
    "ANY_REGION",
    "SERVICE_CODE",
    "AwsClients",
    "AwsReferences",
    "AwsSession",
    "Caller",
    "Endpoint",
    "ModelState",
    "OptOutState",
    "QuotaAnswer",
    "QuotaOrigin",
    "Retry",
    "S3Contents",
    "S3End",
    "S3Objects",
    "S3StateStore",
    "S3Store",
    "check_access",
    "check_region",
    "check_s3_targets",
    "configured_region",
    "describe_model",
    "detector_region",
    "identify",
    "listed_object",
    "nearest_region",
    "open_aws",
    "open_clients",
    "open_detector",
    "open_references",
    "open_remover",
    "open_store",
    "open_without_keys",
    "opt_out",
    "quota_tps",
    "read_image",
    "with_retries",
]
