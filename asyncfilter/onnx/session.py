"""A model opened with onnxruntime, and the checks of what it takes and gives.

Libraries of custom operators are never loaded: a model that needs one cannot be opened. A trial with black images shows
before the first image whether the model runs, how many scores it gives, and whether it takes several images at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asyncfilter.onnx.errors import INSTALL, OwnModelError
from asyncfilter.onnx.files import ModelContent
from asyncfilter.onnx.frames import CHANNELS
from asyncfilter.onnx.preprocessing import Tensor

if TYPE_CHECKING:
    from asyncfilter.onnx.scores import Rows

_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_INPUTS = {"tensor(uint8)": "uint8", "tensor(float)": "float32", "tensor(float16)": "float16"}
_OUTPUTS = frozenset({"tensor(float)", "tensor(float16)", "tensor(double)"})
_FORMS = "[N, H, W, 3] or [N, 3, H, W] of uint8, float32 or float16, N 1 or open"
_FATAL = 4
"""onnxruntime's level of messages: what goes wrong is raised, and needs no second message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInput:
    """The input of a model.

    Attributes:
        name: Of the input; ``dtype``: numpy's name of its type.
        height, width: In pixels; None where the model leaves them open.
        is_channels_first: [N, 3, H, W] and not [N, H, W, 3].
        takes_one: Whether it takes one image at a time.
    """

    name: str
    dtype: str
    height: int | None
    width: int | None
    is_channels_first: bool
    takes_one: bool

    @property
    def tensor(self) -> Tensor:
        """The same, as preprocessing sees it."""
        return Tensor(self.width, self.height, self.dtype == "uint8")


def import_runtime() -> Any:  # noqa: ANN401  a module without types
    """The module onnxruntime.

    Raises:
        OwnModelError: The extra is not installed.
    """
    try:
        import numpy  # noqa: F401, ICN001, PLC0415  part of the extra
        import onnxruntime  # noqa: PLC0415  part of the extra
    except ImportError as exc:
        message = f"models of one's own need the extra onnx ({exc.name} is missing): {INSTALL}"
        raise OwnModelError("", message, hint=f"Run {INSTALL}") from exc
    return onnxruntime


def device_of(wanted: str) -> str:
    """``cuda`` or ``cpu`` for ``auto``, and otherwise what is wanted.

    Raises:
        OwnModelError: It is not there.
    """
    found = import_runtime().get_available_providers()
    if wanted == "cuda" and _CUDA not in found:
        message = f"cuda is not there; onnxruntime has {', '.join(found)}"
        raise OwnModelError("device", message, hint="Install onnxruntime-gpu, or set detector.device to cpu.")
    return "cuda" if wanted != "cpu" and _CUDA in found else "cpu"


def open_session(content: ModelContent, path: str, *, threads: int, device: str) -> Any:  # noqa: ANN401  no types
    """A session over a model that was read.

    Args:
        content: The model.
        path: Where it is on this machine; its files of weights are found from there.
        threads: Threads within one operator.
        device: ``cpu`` or ``cuda``.

    Raises:
        OwnModelError: onnxruntime cannot use it.
    """
    runtime = import_runtime()
    settings = runtime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = _FATAL
    # Threads that wait would use a core that another session, or a decoding process, has work for.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = [_CUDA, _CPU] if device == "cuda" else [_CPU]
    # The bytes that were checked, and not the file, which could be another one by now.
    source = path if content.external else content.body
    try:
        session = runtime.InferenceSession(source, settings, providers=providers)
    except Exception as exc:  # onnxruntime raises exceptions of any type
        raise OwnModelError("model", f"{path}: not a model that onnxruntime can use: {_short(exc)}") from exc
    if device == "cuda" and _CUDA not in session.get_providers():
        raise OwnModelError("device", "cuda cannot be used here, though onnxruntime has it")
    return session


def input_of(session: Any, path: str) -> ModelInput:  # noqa: ANN401  no types
    """The input of a model.

    Raises:
        OwnModelError: It does not take images, one by one or several.
    """
    inputs = session.get_inputs()
    if len(inputs) != 1:
        names = ", ".join(one.name for one in inputs[:10]) or "none"
        raise OwnModelError("model", f"{path}: expected one input of images, found {len(inputs)} ({names})")
    (taken,) = inputs
    shape = [size if isinstance(size, int) and size >= 1 else None for size in taken.shape]
    seen = f"{path}: takes {taken.type} {taken.shape}, expected images {_FORMS}"
    if taken.type not in _INPUTS or len(shape) != 4 or shape[0] not in {1, None}:
        raise OwnModelError("model", seen)
    is_first = _is_channels_first(shape)
    if is_first is None:
        raise OwnModelError("model", seen)
    height, width = shape[2:] if is_first else shape[1:3]
    return ModelInput(
        name=taken.name,
        dtype=_INPUTS[taken.type],
        height=height,
        width=width,
        is_channels_first=is_first,
        takes_one=shape[0] == 1,
    )


def _is_channels_first(shape: Sequence[int | None]) -> bool | None:
    """Where the three channels are; None where they are nowhere. Exporters of Hugging Face leave them open, first."""
    if shape[3] == CHANNELS:
        return False
    if shape[1] == CHANNELS or (shape[1] is None and shape[3] is None):
        return True
    return None


def output_of(session: Any, wanted: str | None, path: str) -> str:  # noqa: ANN401  no types
    """The output that has the scores.

    Raises:
        OwnModelError: There is no such output, there are several and none is named, or it has no scores.
    """
    outputs = {one.name: one for one in session.get_outputs()}
    names = ", ".join(list(outputs)[:20])
    if wanted is None and len(outputs) != 1:
        message = f"this key is missing; {path} has the outputs {names}"
        raise OwnModelError("output", message, hint="Name the one with the scores: detector.output.")
    name = next(iter(outputs)) if wanted is None else wanted
    if name not in outputs:
        raise OwnModelError("output", f"expected an output of {path} ({names}), found {name!r}")
    if outputs[name].type not in _OUTPUTS:
        message = f"{path}: its output {name} is {outputs[name].type}, expected scores of float32, float16 or float64"
        raise OwnModelError("output", message)
    return name


def run(session: Any, taken: ModelInput, output: str, images: Any) -> Rows:  # noqa: ANN401  no types
    """The scores of some images, a row each.

    Raises:
        ValueError: The model gave another number of rows.
        Exception: Whatever onnxruntime raises.
    """
    import numpy as np  # noqa: PLC0415  part of the extra

    found = np.asarray(session.run([output], {taken.name: images})[0])
    count = len(images)
    if count > 1 and (found.ndim == 0 or found.shape[0] != count):
        raise ValueError(f"{count} images have scores of the shape {found.shape}")
    return found.reshape(count, -1).astype(np.float64)


def explained(exc: Exception, path: str) -> OwnModelError:
    """The error for a trial that failed."""
    return OwnModelError("model", f"{path}: fails at a black image: {_short(exc)}")


def _short(exc: Exception) -> str:
    """The first line of a message, which may have the whole model behind it."""
    return (str(exc).strip().splitlines() or [type(exc).__name__])[0][:500]
