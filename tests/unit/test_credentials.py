"""One look-up of keys for all who wait, renewed in time, and the end when there is no way left."""

from __future__ import annotations

import math
from collections.abc import Callable

import anyio
import pytest
from aiobotocore.session import AioSession
from botocore import exceptions as vendor

from asyncfilter.aws import credentials
from asyncfilter.aws.clients.signing import Keys
from asyncfilter.aws.credential_chain import Chain, FoundKeys
from asyncfilter.aws.credential_errors import MAX_CAUSE_CHARS, credentials_error
from asyncfilter.aws.credentials import SharedCredentials
from asyncfilter.errors import CredentialsError, EndpointError

START_S = 1_800_000_000.0
PASSING = vendor.EndpointConnectionError(endpoint_url="https://sts", error="refused")
FINAL = vendor.CredentialRetrievalError(provider="custom-process", error_msg="no")


class Clock:
    """The clock of the module under test; both of its times move together unless the machine sleeps."""

    def __init__(self) -> None:
        self.unix_s, self.monotonic_s = START_S, 0.0

    def time(self) -> float:
        """Unix time."""
        return self.unix_s

    def monotonic(self) -> float:
        """Monotonic time."""
        return self.monotonic_s

    def go(self, seconds: float) -> None:
        """Let time pass."""
        self.unix_s += seconds
        self.monotonic_s += seconds


class Providers:
    """A chain that gives out numbered keys, or fails as ``failures`` say, one after the other."""

    def __init__(self, clock: Clock, *, valid_s: float = 3600.0) -> None:
        self.clock, self.valid_s = clock, valid_s
        self.failures: list[Exception] = []
        self.looked_up = self.at_once = self.at_once_max = 0
        self.wait: Callable[[], object] | None = None
        self.gate: anyio.Event | None = None

    async def find(self) -> FoundKeys:
        """See ``Chain``."""
        self.looked_up += 1
        self.at_once += 1
        self.at_once_max = max(self.at_once, self.at_once_max)
        number = self.looked_up
        try:
            await (self.gate.wait() if self.gate else anyio.lowlevel.checkpoint())
        finally:
            self.at_once -= 1
        if self.failures:
            exc = self.failures.pop(0)
            raise credentials_error(exc) from exc
        return FoundKeys(Keys(f"AKIA{number}", "s"), self.clock.unix_s + self.valid_s)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the module under test; pauses between look-ups take no time."""
    made = Clock()
    monkeypatch.setattr(credentials, "time", made)

    async def pause(seconds: float) -> None:
        made.go(seconds)
        await anyio.lowlevel.checkpoint()

    monkeypatch.setattr("asyncfilter.aws.credentials.anyio.sleep", pause)
    return made


def shared(providers: Providers) -> SharedCredentials:
    """The credentials under test."""
    return SharedCredentials(AioSession(), providers)


async def ask(shared: SharedCredentials, times: int) -> list[str]:
    """What so many tasks get at the same time: an access key, or the message of an error."""
    results: list[str] = []

    async def one() -> None:
        try:
            results.append((await shared.keys()).access_key)
        except CredentialsError as exc:
            results.append(exc.message)

    async with anyio.create_task_group() as tasks:
        for _ in range(times):
            tasks.start_soon(one)
    return results


async def test_one_look_up_serves_all_who_wait(clock: Clock) -> None:
    """A hundred tasks without keys, and again with expired ones: one look-up each time."""
    providers = Providers(clock)
    under_test = shared(providers)
    assert set(await ask(under_test, 100)) == {"AKIA1"}
    clock.go(3600)
    assert set(await ask(under_test, 100)) == {"AKIA2"}
    assert (providers.looked_up, providers.at_once_max) == (2, 1)


@pytest.mark.parametrize(("failure", "look_ups"), [(FINAL, 1), (PASSING, credentials.ATTEMPTS)])
async def test_one_failure_serves_all_who_wait(clock: Clock, failure: Exception, look_ups: int) -> None:
    """Only what may pass is tried again; all get the failure, and so do calls that come a moment later."""
    providers = Providers(clock)
    providers.failures = [failure] * 1000
    under_test = shared(providers)
    assert len(set(await ask(under_test, 100))) == 1
    await ask(under_test, 3)
    assert providers.looked_up == look_ups
    clock.go(60)
    providers.failures = []
    assert set(await ask(under_test, 3)) == {f"AKIA{look_ups + 1}"}


async def test_trouble_that_passes_is_waited_for(clock: Clock) -> None:
    """No connection at first is no failure."""
    providers = Providers(clock)
    providers.failures = [PASSING] * (credentials.ATTEMPTS - 1)
    assert await ask(shared(providers), 3) == [f"AKIA{credentials.ATTEMPTS}"] * 3


async def test_slow_failures_are_not_repeated_for_minutes(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """A provider whose time-outs are long is not asked four times."""
    providers = Providers(clock)
    providers.failures = [PASSING] * 10
    find = providers.find

    async def slow() -> FoundKeys:
        clock.go(15)
        return await find()

    monkeypatch.setattr(providers, "find", slow)
    await ask(shared(providers), 2)
    assert providers.looked_up == 1


@pytest.mark.parametrize("failure", [PASSING, FINAL, vendor.UnauthorizedSSOTokenError()])
async def test_valid_keys_are_used_whatever_happens_to_their_renewal(clock: Clock, failure: Exception) -> None:
    """Renewals that fail are repeated at growing distances until the keys expire; then the failure is final."""
    providers = Providers(clock)
    under_test = shared(providers)
    await ask(under_test, 1)
    providers.failures = [failure] * 1000
    for _ in range(3594):
        clock.go(1)
        assert await ask(under_test, 2) == ["AKIA1"] * 2
    assert 540 / 30 <= providers.looked_up - 1 <= 540 / 30 + 6
    clock.go(6)
    assert "No usable AWS credentials" in (await ask(under_test, 2))[0]


async def test_a_renewal_holds_up_nobody_else(clock: Clock) -> None:
    """While one task renews keys that are still valid, the others get the old ones at once."""
    providers = Providers(clock)
    under_test = shared(providers)
    await ask(under_test, 1)
    clock.go(3600 - credentials.RENEW_S)
    providers.gate = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(under_test.keys)
        await anyio.wait_all_tasks_blocked()
        assert await ask(under_test, 10) == ["AKIA1"] * 10
        providers.gate.set()
    assert (await under_test.keys()).access_key == "AKIA2"


async def test_a_cancelled_look_up_is_taken_over(clock: Clock) -> None:
    """The task that looks keys up may be cancelled; one of those that wait goes on."""
    providers = Providers(clock)
    providers.gate = anyio.Event()
    under_test = shared(providers)
    got: list[str] = []

    async def waits() -> None:
        got.append((await under_test.keys()).access_key)

    async with anyio.create_task_group() as others:
        async with anyio.create_task_group() as first:
            first.start_soon(under_test.keys)
            await anyio.wait_all_tasks_blocked()
            for _ in range(5):
                others.start_soon(waits)
            await anyio.wait_all_tasks_blocked()
            first.cancel_scope.cancel()
        providers.gate.set()
    assert got == ["AKIA2"] * 5


@pytest.mark.parametrize("valid_s", [60.0, 300.0, 900.0])
async def test_short_sessions_are_not_renewed_at_every_request(clock: Clock, valid_s: float) -> None:
    """Keys that are valid for less than the usual lead are renewed after half of their time."""
    providers = Providers(clock, valid_s=valid_s)
    under_test = shared(providers)
    for _ in range(3600):
        await under_test.keys()
        clock.go(1)
    assert providers.looked_up <= 3600 / (valid_s / 2) + 1


async def test_keys_that_expired_while_the_machine_slept_are_not_used(clock: Clock) -> None:
    """The monotonic clock stood still; the wall clock is read again before long."""
    providers = Providers(clock)
    under_test = shared(providers)
    await under_test.keys()
    clock.unix_s += 7200
    clock.monotonic_s += 5
    assert (await under_test.keys()).access_key == "AKIA2"


async def test_keys_that_do_not_expire_are_looked_up_once(clock: Clock) -> None:
    """For weeks."""
    providers = Providers(clock, valid_s=math.inf)
    under_test = shared(providers)
    for _ in range(100):
        clock.go(86_400)
        assert await ask(under_test, 2) == ["AKIA1"] * 2


# -- Messages ----------------------------------------------------------------------------------------------------------

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


@pytest.mark.parametrize(
    "text",
    [
        f"got {SECRET}",
        f'{{"AccessKeyId": "A", "SecretAccessKey": "{SECRET}"}}',
        f"export AWS_SECRET_ACCESS_KEY={SECRET[:20]}",
        f"token: {SECRET[:12]}",
        "password=hunter2hunter2",
        f"first line\n{SECRET}\n",
        f"{'x' * 5000} {SECRET}",
    ],
)
def test_a_provider_s_words_are_one_short_line_without_secrets(text: str) -> None:
    """Whatever a tool prints about its failure."""
    error = credentials_error(vendor.CredentialRetrievalError(provider="custom-process", error_msg=text), profile="p")
    assert error.message.isprintable()
    assert len(error.message) < MAX_CAUSE_CHARS + 100
    assert SECRET[:12] not in error.message
    assert "hunter2" not in error.message


def test_a_provider_whose_certificate_is_not_trusted_is_named() -> None:
    """The connection to it is made like every other; the remedy is that of certificates."""
    untrusted = EndpointError("https://sts: the certificate is not trusted", hint="Set AWS_CA_BUNDLE.")
    error = credentials_error(untrusted, provider="assume-role", profile="p")
    assert error.message == f"No usable AWS credentials from the role of profile 'p': {untrusted.message}"
    assert error.hint == untrusted.hint


@pytest.mark.parametrize("text", ["\x1b[2Jx", "a\u2028b", "a\u202eb", "\x85x", "tab\there"])
def test_control_characters_of_a_provider_do_not_reach_the_terminal(text: str) -> None:
    """Escape sequences, separators and bidirectional marks."""
    assert credentials_error(vendor.CredentialRetrievalError(provider="sso", error_msg=text)).message.isprintable()


def test_a_hostile_message_takes_no_time() -> None:
    """Megabytes of anything are cut before they are looked at."""
    for text in ("token" * 1_000_000, "=" * 5_000_000, "\n" * 3_000_000 + "x", "password" + " " * 1_000_000):
        assert len(credentials_error(vendor.CredentialRetrievalError(provider="sso", error_msg=text)).message) < 500


async def test_an_access_error_inside_a_provider_is_a_credentials_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also from botocore's chain: so that a renewal that fails this way does not end a run whose keys are valid."""

    async def load() -> object:
        raise EndpointError("the certificate is not trusted", hint="Set AWS_CA_BUNDLE.")

    chain = Chain(AioSession(), timeout_s=1)
    monkeypatch.setattr(chain._resolver.providers[0], "load", load)
    with pytest.raises(CredentialsError, match="not trusted") as caught:
        await chain.find()
    assert caught.value.hint == "Set AWS_CA_BUNDLE."
