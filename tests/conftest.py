"""For all tests."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import botocore.session
import pytest
from hypothesis import settings

# How long an example takes says more about the machine than about the code.
settings.register_profile("asyncfilter", deadline=None)
settings.load_profile("asyncfilter")


@pytest.fixture(scope="session", autouse=True)
def services_read_once() -> Iterator[None]:
    """Sessions share what they read of botocore's descriptions of services, which takes longer than many tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", cache(botocore.session.create_loader))
        yield
