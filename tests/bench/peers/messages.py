"""The two messages that the Python servers need, by hand: protobuf's Python classes would copy every tensor."""

import struct

import numpy

FP32 = 3
SUM = 4


def varint(data, at):
    """The number that begins at `at`, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def fields(data, at, end):
    """Yields (number, value) of the fields from `at` to `end`: a number, or the (begin, end) of bytes."""
    while at < end:
        tag, at = varint(data, at)
        value, at = varint(data, at)
        if tag & 7 == 2:
            yield tag >> 3, (at, at + value)
            at += value
        elif tag & 7 == 0:
            yield tag >> 3, value
        else:
            raise ValueError(f"wire type {tag & 7}")


def tensor(data, begin, end):
    """The elements of a dense FP32 Tensor, where they lie."""
    found = dict(fields(data, begin, end))
    if found[1] != FP32:
        raise ValueError(f"dtype {found[1]}")
    at, end = found[3]
    return numpy.frombuffer(data, numpy.float32, (end - at) // 4, at)


def decode_request(data):
    """(input, target) of an EvaluateRequest that asks for the sum."""
    found = dict(fields(data, 0, len(data)))
    if found[4] != SUM:
        raise ValueError(f"reduction {found[4]}")
    return tensor(data, *found[2]), tensor(data, *found[3])


def encode_response(loss, elements):
    """An EvaluateResponse."""
    out = bytearray(b"\x11" + struct.pack("<d", loss) + b"\x20")
    while elements >= 0x80:
        out.append(elements & 0x7F | 0x80)
        elements >>= 7
    out.append(elements)
    return bytes(out)
