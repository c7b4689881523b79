"""Models of one's own: where their files are, what they are, and how they are opened.

A checkpoint is bound to what a model is, and not to where it lies: its identity is the digest of its content. Commands
that examine nothing take the identity from the files where these are at hand, and otherwise from the checkpoint.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec
from anyio import to_thread

from asyncfilter.checkpoint import checkpoint_exists, read_identity
from asyncfilter.engine.core.backends import DetectorBackend
from asyncfilter.errors import UsageError
from asyncfilter.job.spec import DetectorSpec, Job, OwnModelSpec
from asyncfilter.model import S3
from asyncfilter.onnx.errors import OwnModelError
from asyncfilter.onnx.files import read_model
from asyncfilter.onnx.label_names import read_label_file
from asyncfilter.onnx.model import Classifier, ModelSettings, open_classifier
from asyncfilter.onnx.preprocessing import Preprocess, preprocess_of, read_preprocess_file
from asyncfilter.onnx.runner import Runner
from asyncfilter.onnx.scores import Scores
from asyncfilter.pictures.decoder_pool import DecoderPool
from asyncfilter.pictures.own_model import OwnModelDetector
from asyncfilter.policy.detectors import price_list
from asyncfilter.records.known_model import KnownModel
from asyncfilter.wiring.fetched_models import fetched_model
from asyncfilter.wiring.model_memory import ModelMemory

_MODEL, _LABELS, _PREPROCESS = "detector.model", "detector.labels", "detector.preprocess"
_MOST_IN_FLIGHT = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOwnModel:
    """A model that is ready for the first image.

    Attributes:
        detector: Examines images by their bytes.
        backend: The same with its rate and price, which are none.
        cautions: What has no effect, one sentence each.
        version: ``LabelModelVersion``.
        described: The model in a few words, for people.
        close: Ends its threads and the processes that decode.
    """

    detector: OwnModelDetector
    backend: DetectorBackend
    cautions: tuple[str, ...]
    version: str
    described: str
    close: Callable[[], None]


# -- What it is --------------------------------------------------------------------------------------------------------


async def with_own_model(job: Job) -> Job:
    """The job with what its model is; one in S3 is fetched. Other jobs are returned as they are.

    Raises:
        UsageError: A file of the model is not there, or cannot be used.
        AccessError: The model may not be fetched.
    """
    own, address = job.detector.own, job.detector.model or ""
    if own is None:
        return job
    if address.startswith(S3) and own.local is None:
        own = dataclasses.replace(own, local=await fetched_model(job, address))
    if own.identity is not None:  # what it must be: a worker is told, and the model that is opened is compared
        return _with_identity(job, own, own.identity)
    return _with_identity(job, own, await to_thread.run_sync(_identity, job.detector, own))


def with_known_own_model(job: Job) -> Job:
    """As ``with_own_model``, without network: of a model that is not at hand, what the checkpoint is bound to."""
    own = job.detector.own
    if own is None or own.identity is not None:
        return job
    if not (job.detector.model or "").startswith(S3):
        try:
            return _with_identity(job, own, _identity(job.detector, own))
        except UsageError:
            pass  # what is stored can be used without it
    stored = read_identity(job.checkpoint) if checkpoint_exists(job.checkpoint) else {}
    return _with_identity(job, own, {key: stored[key] for key in (_MODEL, _LABELS, _PREPROCESS) if key in stored})


def _with_identity(job: Job, own: OwnModelSpec, identity: Mapping[str, str]) -> Job:
    found = dataclasses.replace(own, identity=identity)
    return dataclasses.replace(job, detector=dataclasses.replace(job.detector, own=found))


def _identity(detector: DetectorSpec, own: OwnModelSpec) -> dict[str, str]:
    try:
        preprocess, _ = _preprocess(own)
        return {
            _MODEL: _named(read_model(_path(detector, own)).digest),
            _LABELS: _named(read_label_file(own.labels).digest),
            _PREPROCESS: "" if preprocess is None else preprocess.described(),
        }
    except OwnModelError as error:
        raise explained(error) from error


def _named(digest: str) -> str:
    return f"sha256:{digest}"


def _path(detector: DetectorSpec, own: OwnModelSpec) -> str:
    return own.local or detector.model or ""


def _preprocess(own: OwnModelSpec) -> tuple[Preprocess | None, list[str]]:
    if own.preprocess is None:
        return None, []
    if isinstance(own.preprocess, str):
        return read_preprocess_file(own.preprocess)
    return preprocess_of(own.preprocess, where="the job"), []


def explained(error: OwnModelError) -> UsageError:
    """The error with the key that it concerns."""
    key = f"detector.{error.key}: " if error.key else ""
    return UsageError(f"{key}{error.message}", hint=error.hint)


def with_label_names(job: Job, known: KnownModel) -> KnownModel:
    """What is known about the model of a job, with the names of its labels.

    Raises:
        UsageError: They cannot be read.
    """
    own = job.detector.own
    if own is None:
        return known
    try:
        names = read_label_file(own.labels).names
    except OwnModelError as error:
        raise explained(error) from error
    labels = dict.fromkeys(name for one in names for name in (one.name, *one.aliases))
    return msgspec.structs.replace(known, labels=labels, finds_objects=False)


# -- Opening -----------------------------------------------------------------------------------------------------------


async def open_own_model(
    job: Job, memory: ModelMemory | None, *, cores: int | None = None, wall_s: float | None = None
) -> OpenOwnModel:
    """Open the model of a job and check it, before the first image.

    Args:
        job: With or without what its model is (``with_own_model``).
        memory: What is known about the model; None when no image will be examined.
        cores: Cores for the model, and for the processes that decode; None for all.
        wall_s: Time for the decoding of one picture; None for that of the pool.

    Raises:
        UsageError: The extra is missing, or the model cannot be used as the job says.
        AccessError: The model may not be fetched.
    """
    job = await with_own_model(job)
    try:
        classifier, cautions = await to_thread.run_sync(_opened, job.detector, cores)
    except OwnModelError as error:
        raise explained(error) from error
    _check_same(job.detector, classifier)
    own = job.detector.own or OwnModelSpec(labels="")
    runner = _runner(classifier, Scores(own.scores), memory)
    decoding_bytes = job.limits.decoding_mb * 1_000_000
    decoders = DecoderPool(decoding_bytes=decoding_bytes, processes=cores, wall_s=wall_s)
    detector = OwnModelDetector(runner, decoders, compares=job.near_duplicates)

    def close() -> None:
        runner.close()
        decoders.__exit__(None, None, None)

    return OpenOwnModel(
        detector=detector,
        backend=_backend(job, detector, classifier),
        cautions=cautions,
        version=classifier.version,
        described=_described(classifier),
        close=close,
    )


def _described(classifier: Classifier) -> str:
    width, height = classifier.frame.pixels or (0, 0)
    return (
        f"{classifier.version}: {len(classifier.names)} labels, images of {width} x {height} px, up to "
        f"{classifier.batch} a call, {classifier.at_once} calls at once"
    )


def _opened(detector: DetectorSpec, cores: int | None) -> tuple[Classifier, tuple[str, ...]]:
    own = detector.own or OwnModelSpec(labels="")
    preprocess, cautions = _preprocess(own)
    settings = ModelSettings(
        model=_path(detector, own),
        labels=own.labels,
        preprocess=preprocess,
        output=own.output,
        batch=own.batch,
        threads=own.threads,
        device=own.device,
        least_pct=detector.min_confidence_pct,
        most_labels=detector.max_labels,
        cores=cores,
    )
    classifier = open_classifier(settings)
    return classifier, (*cautions, *classifier.cautions)


def _check_same(detector: DetectorSpec, classifier: Classifier) -> None:
    """Check that what was opened is what the checkpoint is bound to."""
    identity = (detector.own.identity if detector.own is not None else None) or {}
    for key, digest in ((_MODEL, classifier.digest), (_LABELS, classifier.labels_digest)):
        if identity.get(key) != _named(digest):
            raise UsageError(f"{key}: changed while it was opened", hint="Run again when it is written.")


def _runner(classifier: Classifier, wanted: Scores, memory: ModelMemory | None) -> Runner:
    if wanted is not Scores.AUTO or memory is None:
        return Runner(classifier, wanted)

    async def keep(scores: Scores) -> None:
        await memory.keep(msgspec.structs.replace(memory.known, scores=scores.value))

    return Runner(classifier, Scores(memory.known.scores or wanted), on_decided=keep)


def _backend(job: Job, detector: OwnModelDetector, classifier: Classifier) -> DetectorBackend:
    prices, limits = price_list(job, ""), job.limits
    # Two batches for each call: one that is classified, one that waits.
    wanted = 2 * classifier.batch * classifier.at_once
    return DetectorBackend(
        detector=detector,
        limit_tps=limits.usable_tps,
        tps_origin="limits.tps" if limits.tps is not None else "no limit",
        price_micros=prices.price_micros,
        prices=prices,
        is_local=True,
        ramps=False,
        most_in_flight=min(max(wanted, 32), _MOST_IN_FLIGHT),
    )
