"""botocore's models of services, without the operations that are never called.

A model describes every operation of a service, with its documentation: that of IAM takes 3 MB of memory for the life of
the process, and two of its 180 operations are called, once before a run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from botocore.loaders import Loader

from asyncfilter.aws.clients.error_response import Operation

PRUNED = frozenset({"iam", "rekognition"})
"""Services of which only operations in ``Operation`` are called; botocore itself calls none of them."""


class ServiceModels(Loader):  # type: ignore[misc]  # botocore has no types
    """Loads models, and keeps of the services in ``PRUNED`` only what is called.

    Args:
        search_paths: The folders with models, as ``botocore.loaders.create_loader`` finds them.
    """

    def __init__(self, search_paths: list[str]) -> None:
        super().__init__(extra_search_paths=search_paths, include_default_search_paths=False)
        self._pruned: dict[tuple[str, str | None], dict[str, Any]] = {}

    def load_service_model(self, service_name: str, type_name: str, api_version: str | None = None) -> dict[str, Any]:
        """As botocore's."""
        if service_name not in PRUNED or type_name != "service-2":
            model: dict[str, Any] = super().load_service_model(service_name, type_name, api_version)
            return model
        if (service_name, api_version) not in self._pruned:
            # Another loader, because a loader keeps every file that it has read.
            reader = Loader(extra_search_paths=self.search_paths, include_default_search_paths=False)
            whole = reader.load_service_model(service_name, type_name, api_version)
            self._pruned[service_name, api_version] = pruned(whole)
        return self._pruned[service_name, api_version]


def pruned(model: Mapping[str, Any]) -> dict[str, Any]:
    """A model with the operations in ``Operation`` alone, and the shapes that these refer to."""
    names = {operation.value for operation in Operation}
    operations = {name: operation for name, operation in model["operations"].items() if name in names}
    shapes: dict[str, Any] = {}
    wanted = list(_shapes_in(operations))
    while wanted:
        name = wanted.pop()
        if name not in shapes:
            shapes[name] = model["shapes"][name]
            wanted.extend(_shapes_in(shapes[name]))
    return {**model, "operations": operations, "shapes": shapes}


def _shapes_in(part: object) -> Iterator[str]:
    """The names of the shapes that a part of a model refers to."""
    if isinstance(part, Mapping):
        for key, value in part.items():
            if key == "shape" and isinstance(value, str):
                yield value
            else:
                yield from _shapes_in(value)
    elif isinstance(part, list):
        for value in part:
            yield from _shapes_in(value)
