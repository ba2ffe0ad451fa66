"""Messages that lie: to be sent as they are in gRPC calls, each with the code that it has to be refused with."""

import numpy

import rig  # noqa: F401  # names the folder of the next import
from messages import EVALUATE, STREAM, bytes_field, pair, tensor, varint

BATCH = "/kldiv.v1.KlDivergence/EvaluateBatch"
MIB = 1 << 20
MOST_PAIRS = 65536  # --max_pairs_per_message
INPUT, TARGET, DATA = b"\x12", b"\x1a", b"\x1a"  # tags; DATA is a tensor's
SHAPE, PACKED_SHAPE = b"\x10", b"\x12"  # a tensor's
FP32 = b"\x08\x03"
HINT_GROUP, HINT_GROUP_END = b"\xa3\x06", b"\xa4\x06"  # of field 100, which is ignored
GOOD = tensor(numpy.full(4, 0.25, numpy.float32))


def both(bad):
    """A request whose tensors are the same."""
    return bytes_field(2, bad) + bytes_field(3, bad)


def shaped(*sizes, data=b""):
    return FP32 + b"".join(SHAPE + varint(size) for size in sizes) + bytes_field(3, data)


def lying_messages():
    """What it is, path, message, the code's name."""
    whole = pair(4, numpy.float32)
    invalid = {
        "a tensor of 2^31 - 1 bytes in 10": INPUT + varint((1 << 31) - 1) + bytes(4),
        "a tensor of 2^63 bytes in 14": INPUT + varint(1 << 63) + bytes(4),
        "a tensor of 2^64 - 1 bytes": INPUT + varint((1 << 64) - 1) + bytes(4),
        "a gigabyte of data in 20 bytes": INPUT + varint(8) + FP32 + DATA + varint(1 << 30),
        "data longer than its tensor": INPUT + varint(8) + FP32 + DATA + varint(64) + bytes(64),
        "a varint of 11 bytes": INPUT + b"\xff" * 10 + b"\1",
        "a varint that does not end": whole + b"\x08" + b"\xff" * 9,
        "field 0": whole + b"\0\0",
        "wire types 6 and 7": whole + b"\x0e\x0f",
        "an unknown field below 100": whole + b"\x4a\x03abc",
        "10^9 dimensions in 10 bytes": bytes_field(2, FP32 + PACKED_SHAPE + varint(10**9)) + bytes_field(3, GOOD),
        "2^63 dimensions in 14 bytes": bytes_field(2, FP32 + PACKED_SHAPE + varint(1 << 63)) + bytes_field(3, GOOD),
        "a million packed dimensions": both(FP32 + bytes_field(2, b"\1" * 500_000)),
        "a million dimensions one by one": both(FP32 + (SHAPE + b"\1") * 500_000),
        "a million dimensions of ten bytes, all -1": both(FP32 + bytes_field(2, varint((1 << 64) - 1) * 50_000)),
        "2^62 x 4": both(shaped(1 << 62, 4)),
        "2^32 x 2^32, which is 0 in 64 bits": both(shaped(1 << 32, 1 << 32)),
        "2^62 elements of 4 bytes, 0 in 64 bits": both(shaped(1 << 62)),
        "(2^63 - 1)^64": both(shaped(*[(1 << 63) - 1] * 64)),
        "2^61 elements of 4 bytes without a byte": both(shaped(1 << 61)),
        "2^40 elements in 16 bytes": both(shaped(1 << 40, data=bytes(16))),
        "the least negative dimension": both(shaped(1 << 63, data=bytes(16))),
        "a million groups in one another": whole + HINT_GROUP * 500_000,
        "the same, ended": whole + HINT_GROUP * 250_000 + HINT_GROUP_END * 250_000,
        "a group's end without a group": whole + HINT_GROUP_END,
        "500,000 empty inputs": (INPUT + b"\0") * 500_000,
        "50,000 inputs with data, the last too short": (INPUT + varint(len(GOOD)) + GOOD) * 50_000 +
            bytes_field(2, shaped(data=b"\0")) + bytes_field(3, GOOD),
        "300,000 hints, then an unknown field": whole + b"\xa0\x06\1" * 300_000 + b"\x48\1",
        "a megabyte of zeros": bytes(MIB),
        "a megabyte of ones": b"\xff" * MIB,
    }
    cases = [(what, EVALUATE, message, "INVALID_ARGUMENT") for what, message in invalid.items()]
    nested = "a batch: 2^31 - 1 bytes of a pair in 10", "a batch: a pair's tensor longer than the pair"
    cases += [
        (nested[0], BATCH, b"\x0a" + varint((1 << 31) - 1) + bytes(4), "INVALID_ARGUMENT"),
        (nested[1], BATCH, bytes_field(1, INPUT + varint(1 << 20) + bytes(4)), "INVALID_ARGUMENT"),
        (f"a batch of {MOST_PAIRS + 1:,} empty pairs", BATCH, b"\x0a\0" * (MOST_PAIRS + 1), "INVALID_ARGUMENT"),
        ("a batch of a million empty pairs", BATCH, b"\x0a\0" * 10**6, "INVALID_ARGUMENT"),
        ("a batch in groups in one another", BATCH, bytes_field(1, whole) + HINT_GROUP * 100_000, "INVALID_ARGUMENT"),
        ("a stream: 2^31 - 1 bytes of a tensor in 10", STREAM, invalid["a tensor of 2^31 - 1 bytes in 10"],
         "INVALID_ARGUMENT"),
        ("a stream: 10^9 dimensions in 10 bytes", STREAM, invalid["10^9 dimensions in 10 bytes"], "INVALID_ARGUMENT"),
    ]
    # Each empty pair is answered with an error of its own.
    answered = [("a batch of 5,000 empty pairs", BATCH, b"\x0a\0" * 5000, "OK"),
                ("300,000 hints", EVALUATE, whole + b"\xa0\x06\1" * 300_000, "OK")]
    return cases + answered
