"""EvaluateRequest messages as bytes, without generated code."""

import numpy

EVALUATE = "/kldiv.v1.KlDivergence/Evaluate"
STREAM = "/kldiv.v1.KlDivergence/EvaluateStream"
DTYPES = {numpy.float16: 1, numpy.float32: 3, numpy.float64: 4}


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))


def bytes_field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def tensor(values):
    return b"\x08" + varint(DTYPES[values.dtype.type]) + b"\x10" + varint(values.size) + bytes_field(3, values.tobytes())


def pair(elements, dtype, target=None, reduction=4):
    """A request with `elements` uniform probabilities; reduction 1 is none, 4 sum."""
    x = numpy.full(elements, -1.5, dtype)
    t = numpy.full(elements, 1 / elements, target or dtype)
    return bytes_field(2, tensor(x)) + bytes_field(3, tensor(t)) + b"\x20" + varint(reduction)
