"""botocore's models without what is never called: the operations in use are described as before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.loaders import Loader, create_loader
from botocore.model import ServiceModel, Shape

from asyncfilter.aws.clients.error_response import Operation
from asyncfilter.aws.core_session import CoreSession
from asyncfilter.aws.service_models import PRUNED, ServiceModels


def shape_names(shape: Shape | None, seen: set[str] | None = None) -> Iterator[str]:
    """The names of a shape and of all that it consists of; each is resolved."""
    seen = set() if seen is None else seen
    if shape is None or shape.name in seen:
        return
    seen.add(shape.name)
    yield f"{shape.name} {shape.type_name}"
    parts = list(getattr(shape, "members", {}).values())
    parts += [getattr(shape, part) for part in ("member", "key", "value") if hasattr(shape, part)]
    for part in parts:
        yield from shape_names(part, seen)


def described(model: dict[str, Any], name: str) -> list[str]:
    """All shapes that an operation has to do with."""
    operation = ServiceModel(model).operation_model(name)
    return [
        name
        for shape in (operation.input_shape, operation.output_shape, *operation.error_shapes)
        for name in shape_names(shape)
    ]


@pytest.mark.parametrize("service", sorted(PRUNED))
def test_what_is_called_is_described_as_before(service: str) -> None:
    """Every operation in use has its input, output and errors; there is no other operation."""
    whole = Loader().load_service_model(service, "service-2")
    kept = ServiceModels(create_loader().search_paths).load_service_model(service, "service-2")
    operations = {operation.value for operation in Operation} & set(whole["operations"])
    assert operations
    assert set(kept["operations"]) == operations
    assert len(kept["shapes"]) < len(whole["shapes"]) / 2
    for name in operations:
        assert described(kept, name) == described(whole, name)
    assert kept["metadata"] == whole["metadata"]


def test_other_services_are_whole() -> None:
    """Calls to S3, STS and SSO are also made by botocore itself."""
    models = ServiceModels(create_loader().search_paths)
    assert models.load_service_model("s3", "service-2") == Loader().load_service_model("s3", "service-2")
    assert set(models.list_available_services("service-2")) == set(Loader().list_available_services("service-2"))


def test_models_of_the_user_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """``AWS_DATA_PATH`` names folders, also with variables."""
    monkeypatch.setenv("MODELS", str(tmp_path))
    monkeypatch.setenv("AWS_DATA_PATH", "$MODELS")
    assert str(tmp_path) in CoreSession(profile=None).get_component("data_loader").search_paths
