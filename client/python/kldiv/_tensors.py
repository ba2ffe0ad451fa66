"""Arrays of NumPy and PyTorch, as what is asked about them goes out and the answers come in."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, Literal

import numpy

from kldiv import _messages

Reduction = Literal["none", "mean", "batchmean", "sum"]
ZeroTarget = Literal["torch", "skip"]

# On the wire all are little-endian; bfloat16, which NumPy does not have, travels as its bits.
_WIRE = {"fp16": "<f2", "bf16": "<i2", "fp32": "<f4", "fp64": "<f8"}
_NUMPY = {"f2": "fp16", "f4": "fp32", "f8": "fp64"}
_TORCH = {"torch.float16": "fp16", "torch.bfloat16": "bf16", "torch.float32": "fp32", "torch.float64": "fp64"}
_NAMES = {number: name for name, number in _messages.DATA_TYPES.items()}


@dataclass(frozen=True, eq=False)
class Pair:
    """Two arrays of one shape and what is asked about them; see Client.kl_div for the fields."""

    input: Any
    target: Any
    reduction: Reduction = "mean"
    log_target: bool = False
    zero_target: ZeroTarget = "torch"
    timeout: float | None = None  # seconds, from its receipt by the server; None: see kl_div_batch and _stream


def is_torch(array: Any) -> bool:
    """Whether it is a tensor of PyTorch, which is never imported here: who has a tensor has done so."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def nanoseconds(seconds: float) -> int:
    if not 0 < seconds < 1e9:  # NaN neither
        raise ValueError(f"timeout is {seconds}, expected seconds, more than 0")
    return max(1, int(seconds * 1e9))


def request(pair: Pair, request_id: int = 0, timeout: float | None = None) -> Any:
    """The pair's EvaluateRequest. TypeError: an array is not one of those described at Client.kl_div. ValueError:
    another argument is none of its values."""
    message = _messages.EvaluateRequest(request_id=request_id, log_target=bool(pair.log_target))
    message.reduction = _choice("reduction", pair.reduction, _messages.REDUCTIONS)
    message.zero_target = _choice("zero_target", pair.zero_target, _messages.ZERO_TARGETS)
    if timeout is not None:
        message.timeout_ns = nanoseconds(timeout)
    for name in ("input", "target"):
        dtype, values = _values(name, getattr(pair, name))
        tensor = getattr(message, name)
        tensor.dtype = _messages.DATA_TYPES[dtype]
        tensor.shape.extend(values.shape)
        tensor.data = values.astype(_WIRE[dtype], copy=False).tobytes()  # row-major, whatever the strides are
    return message


def _choice(name: str, value: str, numbers: dict[str, int]) -> int:
    known = [choice for choice in numbers if choice != "unspecified"]
    if value not in known:
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(known)}")
    return numbers[value]


def _values(name: str, array: Any) -> tuple[str, Any]:
    """The name of the elements' type and a NumPy array of them, or of their bits."""
    if is_torch(array):
        dtype = _TORCH.get(str(array.dtype))
        if dtype is None or array.device.type != "cpu" or str(array.layout) != "torch.strided":
            raise TypeError(f"{name} is a tensor of {array.dtype}, {array.layout}, on {array.device}; expected a "
                            "dense one of float16, bfloat16, float32 or float64 on the CPU")
        values = array.detach().resolve_neg()
        return dtype, (values.view(sys.modules["torch"].int16) if dtype == "bf16" else values).numpy()
    if not isinstance(array, (numpy.ndarray, numpy.generic)) or isinstance(array, numpy.ma.MaskedArray):
        raise TypeError(f"{name} is a {type(array).__name__}, expected a NumPy array without mask or a PyTorch tensor")
    dtype = _NUMPY.get(array.dtype.str[1:])
    if dtype is None:
        raise TypeError(f"{name} has elements of {array.dtype}, expected float16, float32 or float64")
    return dtype, numpy.asarray(array)


def result(response: Any, kind_of: Any) -> Any:
    """The loss, or the array of losses, of the kind of `kind_of`, in an EvaluateResponse. ValueError: it has
    neither."""
    if response.HasField("loss"):
        return float(response.loss)
    dtype, shape = _NAMES.get(response.pointwise.dtype, "unspecified"), tuple(response.pointwise.shape)
    is_tensor = is_torch(kind_of)
    if dtype not in _WIRE or (dtype == "bf16" and not is_tensor) or shape != tuple(kind_of.shape):
        raise ValueError(f"the server's answer has neither a loss nor pointwise losses of shape {tuple(kind_of.shape)}")
    wire = numpy.dtype(_WIRE[dtype])
    values = numpy.frombuffer(response.pointwise.data, wire).reshape(shape).astype(wire.newbyteorder("="))
    if not is_tensor:
        return values
    torch = sys.modules["torch"]
    tensor = torch.from_numpy(values)
    return tensor.view(torch.bfloat16) if dtype == "bf16" else tensor
