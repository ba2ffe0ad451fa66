"""The classes of the messages in kldiv.v1, made when imported: generated ones work with few versions of protobuf."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pool, message_factory

from kldiv._descriptor import FILE

# A pool of its own: the program may have the generated classes beside these.
_pool = descriptor_pool.DescriptorPool()
_pool.AddSerializedFile(FILE)


def _message(name: str) -> Any:
    descriptor = _pool.FindMessageTypeByName(f"kldiv.v1.{name}")
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory(_pool).GetPrototype(descriptor)  # protobuf before 4.22


def _enum(name: str, prefix: str) -> dict[str, int]:
    """The numbers by the names in lower case, without the prefix that all of them have: {"mean": 2}."""
    values = _pool.FindEnumTypeByName(f"kldiv.v1.{name}").values
    return {value.name[len(prefix):].lower(): value.number for value in values}


DATA_TYPES = _enum("DataType", "DATA_TYPE_")
REDUCTIONS = _enum("Reduction", "REDUCTION_")
ZERO_TARGETS = _enum("ZeroTarget", "ZERO_TARGET_")

EvaluateRequest = _message("EvaluateRequest")
EvaluateResponse = _message("EvaluateResponse")
EvaluateBatchRequest = _message("EvaluateBatchRequest")
EvaluateBatchResponse = _message("EvaluateBatchResponse")
EvaluateResult = _message("EvaluateResult")
GetServerInfoRequest = _message("GetServerInfoRequest")
GetServerInfoResponse = _message("GetServerInfoResponse")
