"""For all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache

import botocore.session
import pytest
from hypothesis import settings

from tests.kit.ignored_signals import unignore_for_children

# How long an example takes says more about the machine than about the code. ``make test`` draws the same examples each
# time, so that only a change of the code can change its result; ``make fuzz`` and EXPLORE=1 draw new ones.
explores = bool({"FUZZ_EXAMPLES", "EXPLORE"} & os.environ.keys())
settings.register_profile("asyncfilter", deadline=None, derandomize=not explores)
settings.load_profile("asyncfilter")


# Tests send signals to programs that they start, which must not ignore what this run of the tests ignores.
unignore_for_children()


@pytest.fixture(scope="session", autouse=True)
def services_read_once() -> Iterator[None]:
    """Sessions share what they read of botocore's descriptions of services, which takes longer than many tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", cache(botocore.session.create_loader))
        yield
