"""Every error this package raises, as one tree; each class owns its exit code, a member of ``ExitCode``.

    AsyncFilterError                70
    ├── UsageError                   2   the command line or the call is wrong
    │   ├── JobError                 2   the job file is wrong; lists every problem at once
    │   └── ObjectMissingError       2   an object that the user named is not there
    ├── CheckpointError              3   the checkpoint cannot be used
    │   ├── CheckpointLockedError        another run holds it
    │   ├── CheckpointUnreadableError    empty, damaged or not a checkpoint
    │   ├── CheckpointVersionError       written by a newer asyncfilter
    │   ├── CheckpointMismatchError      belongs to another source or detector
    │   ├── ObjectChangedError           an object of a state changed while it was read
    │   ├── StateExistsError             a state is there already
    │   ├── StateHeldError               another process owns the state in S3
    │   └── StateLostError               another process took the state from this one
    ├── LedgerError                  3   the ledger of leases cannot be used
    ├── AnswersError                 3   the file of people's answers cannot be used
    │   └── AnswersLockedError           another program writes to it for too long
    ├── AccessError                  4   the account, not one image: stops the run
    │   ├── CredentialsError             none, expired or unknown
    │   ├── PermissionDeniedError        on list, detect or write
    │   ├── BucketNotFoundError
    │   ├── RegionMismatchError          bucket and detector are in different regions
    │   ├── EndpointError                no server answers at the endpoint
    │   └── StoreError                   the store does not do what S3 does
    ├── DataError                    1   something in the data is wrong, with a code
    ├── NothingToWorkOnError         1   what a command works on is not there yet: a checkpoint, a draw
    ├── RefusedError                 1   the model service refuses, with its own code
    │   ├── ResourceExistsError          it is there already
    │   ├── ResourceInUseError           its present state does not allow it
    │   ├── ResourceLimitError           a quota of the account
    │   ├── ResourceMissingError         it is not there
    │   ├── ResourceNotReadyError        it is not there yet
    │   └── LeaseError                   a model cannot be leased as wished
    ├── OutputError                 74   a result cannot be written
    ├── WaitEndedError              75   a wait took longer than the user allows; what is waited for goes on
    ├── StateAwayError              75   the store of the state in S3 could not be written for too long
    ├── AbortedError               130   a second interruption, or a question answered with no
    └── CallError                   70   one attempt failed; the engine decides what follows
        ├── ThrottledError        4      wait and repeat; does not count against ``max_attempts``
        ├── TransientError        4      repeat, up to ``max_attempts``
        │   ├── NotSentError             it was never sent: again at once, neither counted nor billed
        │   └── LostError                what examined it is gone: may be billed, not counted
        └── ImageError                   this image cannot be examined or acted on; recorded as failed

Vendor exceptions are translated into these in ``asyncfilter.aws`` and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import ClassVar, Self

from asyncfilter.printable import without_secrets


class ExitCode(IntEnum):
    """Every code that the program ends with; defined here and nowhere else."""

    OK = 0
    """Finished, or stopped by a limit that the job sets."""
    SOME_FAILED = 1
    """Finished, and some images failed, or something in a dataset is wrong; or stopped because too many failed."""
    USAGE = 2
    """The job file or the command line is wrong; nothing was started."""
    CHECKPOINT = 3
    """The checkpoint, or the ledger of leases, cannot be used."""
    ACCESS = 4
    """Credentials, permission, bucket, region or endpoint."""
    INTERNAL = 70
    """A defect in asyncfilter, or in a port that a program supplied."""
    OUTPUT = 74
    """A result could not be written: stdout, ``--output`` or ``--events``. What was paid for is kept."""
    INTERRUPTED = 75
    """Interrupted: what was paid for is kept, and the same command continues."""
    ABORTED = 130
    """Interrupted twice, or a question was answered with no."""


class AsyncFilterError(Exception):
    """Root of the tree: a message for people, an exit code, and a remedy where there is one.

    Args:
        message: What, where, the value seen and the value expected. URLs lose user, password and signature.
        hint: One imperative sentence that names the key, flag or permission to change.
    """

    exit_code: ClassVar[int] = ExitCode.INTERNAL

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        message = without_secrets(message)
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(AsyncFilterError):
    """The command line or the call is wrong."""

    exit_code = ExitCode.USAGE


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong in a job file.

    Attributes:
        file: The file as the user named it.
        line: Line in the file, from 1; for a missing key, the line of the mapping that lacks it.
        column: Column in the line, from 1.
        key: Dotted path of the key, such as ``limits.tps`` or ``rules[0].keep.any``.
        message: The value seen and the values allowed. URLs lose user, password and signature.
    """

    file: str
    line: int
    column: int
    key: str
    message: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", without_secrets(self.message))

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}"
        return f"{where}: {self.key}: {self.message}" if self.key else f"{where}: {self.message}"


class JobError(UsageError):
    """A job file is wrong; ``problems`` lists every mistake found, in file order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class ObjectMissingError(UsageError):
    """An object in S3 that the user named, such as a manifest, is not there."""


class CheckpointError(AsyncFilterError):
    """The checkpoint cannot be used; the file is left as it was."""

    exit_code = ExitCode.CHECKPOINT


class CheckpointLockedError(CheckpointError):
    """Another run holds the checkpoint."""


class CheckpointUnreadableError(CheckpointError):
    """The file is empty, damaged, or was not written by asyncfilter."""


class CheckpointVersionError(CheckpointError):
    """The checkpoint was written by a newer asyncfilter."""


class CheckpointMismatchError(CheckpointError):
    """The checkpoint belongs to another source or detector."""


class ObjectChangedError(CheckpointError):
    """An object of a state was replaced or deleted while it was read."""


class StateExistsError(CheckpointError):
    """A state is there already, and a command was to begin one."""


class StateHeldError(CheckpointError):
    """Another process owns the state in S3."""


class StateLostError(CheckpointError):
    """Another process took the state in S3 from this one, which writes nothing more to it."""


class LedgerError(AsyncFilterError):
    """The ledger of leases cannot be used; what is in it was left as it was."""

    exit_code = ExitCode.CHECKPOINT


class AnswersError(AsyncFilterError):
    """The file of people's answers cannot be used: damaged, newer, foreign, another one, or locked; left as it was."""

    exit_code = ExitCode.CHECKPOINT


class AnswersLockedError(AnswersError):
    """Another program keeps the file of people's answers locked; nothing was written."""


class AccessError(AsyncFilterError):
    """The account cannot do what the job needs: stops the run, and is never recorded as a failed image."""

    exit_code = ExitCode.ACCESS

    def at_lane(self, lane: str) -> Self:
        """The same error, with the name of the lane that has it; itself without a name."""
        return type(self)(f"lane {lane}: {self.message}", hint=self.hint) if lane else self


class CredentialsError(AccessError):
    """Credentials are missing, expired or not known to AWS."""


class PermissionDeniedError(AccessError):
    """The caller may not list, detect or write."""


class BucketNotFoundError(AccessError):
    """A bucket of the job does not exist."""


class RegionMismatchError(AccessError):
    """Rekognition reads only buckets of its own region."""


class EndpointError(AccessError):
    """No server answers at the endpoint: network, proxy, DNS or ``AWS_ENDPOINT_URL``."""


class StoreError(AccessError):
    """The store does not do what S3 does and the job depends on, such as listing its keys in order."""


class DataError(AsyncFilterError):
    """Something in the user's data is wrong, so that a result was not written; nothing else is lost.

    Args:
        message: What, where, and what follows from it.
        code: The name of what is wrong, which begins the message: ``ERROR_EMPTY_MANIFEST``.
        hint: The remedy.
    """

    exit_code = ExitCode.SOME_FAILED

    def __init__(self, message: str, *, code: str, hint: str | None = None) -> None:
        super().__init__(f"{code}: {message}", hint=hint)
        self.code = code


class NothingToWorkOnError(AsyncFilterError):
    """What a command works on is not there, or not yet: a checkpoint, a draw, an image, a rule to measure."""

    exit_code = ExitCode.SOME_FAILED


class RefusedError(AsyncFilterError):
    """The service that trains and runs models refuses a request, which had no effect.

    Args:
        message: What was asked for, and the service's own words.
        code: The service's name for it, such as ``LimitExceededException``.
        hint: The remedy.
    """

    exit_code = ExitCode.SOME_FAILED

    def __init__(self, message: str, *, code: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code


class ResourceExistsError(RefusedError):
    """What was to be made is there already."""


class ResourceInUseError(RefusedError):
    """The present state of a project, dataset or version does not allow it; or one of this name is there already."""


class ResourceLimitError(RefusedError):
    """A quota of the account would be exceeded."""


class ResourceMissingError(RefusedError):
    """There is no such project, dataset or version."""


class ResourceNotReadyError(RefusedError):
    """A project, dataset or version is not ready for it yet."""


class LeaseError(RefusedError):
    """A model cannot be leased as wished: its state, or another lease on it, does not allow it; the code says which."""


class OutputError(AsyncFilterError):
    """A result cannot be written where the user wants it; nothing else is lost."""

    exit_code = ExitCode.OUTPUT


class WaitEndedError(AsyncFilterError):
    """A wait took longer than the user allows; what is waited for goes on, and the same command takes it up again."""

    exit_code = ExitCode.INTERRUPTED


class StateAwayError(AsyncFilterError):
    """The store of the state could not be written for too long; the same command goes on once it can."""

    exit_code = ExitCode.INTERRUPTED


class AbortedError(AsyncFilterError):
    """The run was interrupted twice and left at once, or a question was answered with no.

    What is durable is kept; what was in flight counts as spent.
    """

    exit_code = ExitCode.ABORTED


class CallError(AsyncFilterError):
    """One attempt failed."""


class ThrottleCause(StrEnum):
    """Why the service refused an attempt for its rate (messages: Rekognition guide, *Error handling*)."""

    RATE = "rate"
    """Over the quota in calls a second: ``Provisioned rate exceeded``."""
    RAMP = "ramp"
    """Not over the quota, but faster than it may grow: ``sudden increase in rate of requests``."""
    S3_READ = "s3_read"
    """Over the rate at which Rekognition itself may read from S3: ``S3 download limit exceeded``."""
    SERVER = "server"
    """The service is short of capacity: HTTP 503 ``SlowDown``, HTTP 500 ``ThrottlingException``."""


class ThrottledError(CallError):
    """The service refused the attempt for its rate; it was not examined. Where nothing repeats it, access failed.

    Args:
        cause: Which limit was hit.
        may_be_billed: True for an HTTP 503 that no code of a throttle explains, which the budget counts as billed.
        may_be_done: True for every throttle with HTTP 5xx: a gateway may send it after a write was carried out.
        retry_after_s: The wait that the service requested, seconds; None without one.
    """

    exit_code = ExitCode.ACCESS

    def __init__(
        self,
        message: str,
        *,
        cause: ThrottleCause,
        may_be_billed: bool = False,
        may_be_done: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, hint="Wait a while, then repeat.")
        self.cause = cause
        self.may_be_billed = may_be_billed
        self.may_be_done = may_be_done or may_be_billed
        self.retry_after_s = retry_after_s


class TransientError(CallError):
    """The attempt failed in a way that a repetition may cure: timeout, reset, HTTP 5xx. Without one, access failed.

    Args:
        may_be_billed: True once the request may have reached the service; the budget then counts it.
        retry_after_s: The wait that the service requested, seconds; None without one.
        hint: The remedy where nothing repeats it.
    """

    exit_code = ExitCode.ACCESS

    def __init__(
        self,
        message: str,
        *,
        may_be_billed: bool,
        retry_after_s: float | None = None,
        hint: str = "Check the network and the service's health, then repeat.",
    ) -> None:
        super().__init__(message, hint=hint)
        self.may_be_billed = may_be_billed
        self.retry_after_s = retry_after_s


class NotSentError(TransientError):
    """An attempt was never sent, because its turn came too late or no worker had room: it was neither made nor billed.

    It is repeated at once with a turn of its own, and counts nowhere.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message, may_be_billed=False)


class LostError(TransientError):
    """The process that examined an image is gone; it is repeated elsewhere, and does not count for ``max_attempts``.

    Args:
        may_be_billed: False where nothing was paid for, as while an image is prepared.
        was_alone: Nothing else can have ended the process.
        is_final: It was lost too often to be tried again: the image fails as ``WORKER_LOST``.
    """

    def __init__(
        self, message: str, *, may_be_billed: bool = True, was_alone: bool = False, is_final: bool = False
    ) -> None:
        super().__init__(message, may_be_billed=may_be_billed)
        self.was_alone = was_alone
        self.is_final = is_final


WORKER_LOST = "worker_lost"
"""Name under ``failed`` of an image that was under way on too many lost workers."""


class ImageError(CallError):
    """This image cannot be examined or acted on; it is recorded as failed and the run goes on.

    Args:
        code: The name under ``failed`` in the summary, such as ``invalid_image_format`` or ``vanished``.
        remedy: What to do when *every* image fails this way (the breaker shows it).
        access: True when the cause is a permission, so that a tripped breaker exits with 4 instead of 1.
    """

    def __init__(self, message: str, *, code: str, remedy: str | None = None, access: bool = False) -> None:
        super().__init__(message, hint=remedy)
        self.code = code
        self.access = access

    @classmethod
    def access_denied(cls, message: str, *, remedy: str | None) -> Self:
        """The error for an object that may not be read or touched; its cause is a permission."""
        return cls(message, code="access_denied", remedy=remedy, access=True)


def unexpected(error: BaseException, what: str) -> AsyncFilterError:
    """The error for an unexpected exception: an internal one, unless this machine has no more threads.

    Args:
        error: The exception, which becomes its cause.
        what: What raised it, such as ``the sink``.
    """
    found: AsyncFilterError
    if is_out_of_threads(error):
        found = AccessError(f"{what}: {_NO_THREAD}", hint=_NO_THREAD_HINT)
    else:
        found = AsyncFilterError(f"{what} raised {type(error).__name__}: {error}")
    found.__cause__ = error
    return found


def is_out_of_threads(error: BaseException) -> bool:
    """Whether the system refused a thread; Python has no exception of its own for it."""
    return isinstance(error, RuntimeError) and str(error).startswith("can't start new thread")


_NO_THREAD = "the system refuses another thread or process"
_NO_THREAD_HINT = "Raise the limit of processes: ulimit -u, pids of the container, or TasksMax of the service."
