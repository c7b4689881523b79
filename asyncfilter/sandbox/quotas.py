"""The Service Quotas of the sandbox: the quotas of Rekognition (JSON 1.1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from asyncfilter.sandbox.access import Caller
from asyncfilter.sandbox.calls import Call, Style, new_request_id
from asyncfilter.sandbox.iam.documents import Permission
from asyncfilter.sandbox.message import JSON_TYPE, Reply, Request, ServiceError, header_lines

TARGET: Final = b"ServiceQuotasV20190624."
SERVICE: Final = "rekognition"
DETECT_LABELS: Final = "L-E29B542B"
DETECT_CUSTOM_LABELS: Final = "L-EA71C84A"
_DETECTIONS: Final = frozenset({DETECT_LABELS, DETECT_CUSTOM_LABELS})
FAST_REGIONS: Final = frozenset({"us-east-1", "us-west-2", "eu-west-1"})


class QuotaEntry(NamedTuple):
    """One quota: its name, its default in the three regions with higher quotas, and its default in all others."""

    name: str
    fast: float
    default: float


_RATE: Final = "Transactions per second per account for the Amazon Rekognition {} operation {}"
QUOTAS: Final[Mapping[str, QuotaEntry]] = {
    DETECT_LABELS: QuotaEntry(_RATE.format("Image", "DetectLabels"), 50, 5),
    "L-7F4D1AC4": QuotaEntry(_RATE.format("Image", "DetectModerationLabels"), 50, 5),
    "L-87CF5BA6": QuotaEntry(_RATE.format("Image", "DetectText"), 50, 5),
    "L-A5121FD7": QuotaEntry(_RATE.format("Image", "DetectFaces"), 100, 25),
    "L-5FF750C4": QuotaEntry(_RATE.format("Image", "RecognizeCelebrities"), 50, 5),
    "L-6F294C5B": QuotaEntry(_RATE.format("Image", "DetectProtectiveEquipment"), 5, 5),
    DETECT_CUSTOM_LABELS: QuotaEntry(_RATE.format("Custom Labels", "DetectCustomLabels"), 50, 50),
    "L-12019FB0": QuotaEntry(_RATE.format("Custom Labels", "DescribeProjectVersions"), 5, 5),
    "L-4FA65ECB": QuotaEntry("Maximum inference units per running model", 5, 5),
    "L-5E225387": QuotaEntry("Concurrently running models per account", 2, 2),
    "L-F1558568": QuotaEntry("Concurrent training jobs per account", 2, 2),
    "L-14D0BC19": QuotaEntry("Projects per account", 100, 100),
    "L-9CF05323": QuotaEntry("Models per project", 100, 100),
    "L-96D6749B": QuotaEntry("Images per classification training dataset", 250_000, 250_000),
    "L-CCFEF1AD": QuotaEntry("Images per classification test dataset", 250_000, 250_000),
}
"""Codes and defaults as of February 2024, from a public listing made through the Service Quotas API."""


class _Wanted(msgspec.Struct, rename="pascal"):
    service_code: str = ""
    quota_code: str = ""


class QuotasService:
    """Parses requests to Service Quotas.

    Args:
        announced: The applied value of the quotas of detections, for a caller; None means the default of the region.
        account: The account of an access key.
    """

    style: Final = Style.JSON

    def __init__(self, announced: Callable[[Caller], float | None], account: Callable[[str], str]) -> None:
        self._announced = announced
        self._account = account

    def read(self, request: Request, caller: Caller) -> Call:
        """Parse a request.

        Raises:
            ServiceError: ``UnknownOperationException`` or ``SerializationException``.
        """
        operation = request.headers[b"x-amz-target"][len(TARGET) :].decode("ascii", "replace")
        run = {
            "GetServiceQuota": self._get,
            "GetAWSDefaultServiceQuota": self._get_default,
            "ListServiceQuotas": self._list,
            "ListAWSDefaultServiceQuotas": self._list_default,
        }.get(operation)
        if run is None:
            raise ServiceError("UnknownOperationException", "")
        try:
            wanted = msgspec.json.decode(request.body, type=_Wanted)
        except msgspec.DecodeError as exc:
            raise ServiceError("SerializationException", str(exc)) from exc
        permission = partial(Permission, f"servicequotas:{operation}", "*")
        return Call(Style.JSON, operation, "", partial(run, wanted, caller), permission=permission)

    def _get(self, wanted: _Wanted, caller: Caller) -> Reply:
        entry = _entry(wanted)
        value = self._value(wanted.quota_code, caller)
        return _reply({"Quota": self._describe(wanted.quota_code, entry, value, caller)})

    def _get_default(self, wanted: _Wanted, caller: Caller) -> Reply:
        entry = _entry(wanted)
        value = default_value(wanted.quota_code, caller.region)
        return _reply({"Quota": self._describe(wanted.quota_code, entry, value, caller)})

    def _list(self, wanted: _Wanted, caller: Caller) -> Reply:
        return self._rows(wanted, {code: self._value(code, caller) for code in QUOTAS}, caller)

    def _list_default(self, wanted: _Wanted, caller: Caller) -> Reply:
        return self._rows(wanted, {code: default_value(code, caller.region) for code in QUOTAS}, caller)

    def _rows(self, wanted: _Wanted, values: Mapping[str, float], caller: Caller) -> Reply:
        if wanted.service_code != SERVICE:
            raise _no_such_service()
        rows = [self._describe(code, QUOTAS[code], value, caller) for code, value in values.items()]
        return _reply({"Quotas": rows})

    def _value(self, code: str, caller: Caller) -> float:
        announced = self._announced(caller) if code in _DETECTIONS else None
        return default_value(code, caller.region) if announced is None else announced

    def _describe(self, code: str, entry: QuotaEntry, value: float, caller: Caller) -> dict[str, Any]:
        account = self._account(caller.access_key)
        return {
            "ServiceCode": SERVICE,
            "ServiceName": "Amazon Rekognition",
            "QuotaArn": f"arn:aws:servicequotas:{caller.region}:{account}:{SERVICE}/{code}",
            "QuotaCode": code,
            "QuotaName": entry.name,
            "Value": float(value),
            "Unit": "None",
            "Adjustable": True,
            "GlobalQuota": False,
        }


def default_value(code: str, region: str) -> float:
    """The default of a quota in a region."""
    entry = QUOTAS[code]
    return entry.fast if region in FAST_REGIONS else entry.default


def _entry(wanted: _Wanted) -> QuotaEntry:
    if wanted.service_code != SERVICE:
        raise _no_such_service()
    if wanted.quota_code not in QUOTAS:
        raise _no_such_quota()
    return QUOTAS[wanted.quota_code]


def _no_such_service() -> ServiceError:
    return ServiceError("NoSuchResourceException", "The specified service does not exist.")


def _no_such_quota() -> ServiceError:
    return ServiceError("NoSuchResourceException", "The request failed because the specified quota does not exist.")


def _reply(body: dict[str, Any]) -> Reply:
    headers = {"Content-Type": JSON_TYPE, "x-amzn-RequestId": new_request_id()}
    return Reply(200, header_lines(headers), msgspec.json.encode(body))
