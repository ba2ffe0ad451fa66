"""Pairs of all kinds with the right answers, and messages that are wrong with the right refusals."""

import json
import pathlib
import struct
import subprocess
import sys
import tempfile

import numpy

import rig  # names the folder of the next import
from messages import EVALUATE, bytes_field, varint

sys.path.insert(0, str(rig.HERE.parents[1] / "client/python"))
from kldiv import _messages as messages  # noqa: E402  # the folder has just been named

BATCH = "/kldiv.v1.KlDivergence/EvaluateBatch"
MESSAGE_BYTES = 4 << 20  # the server's --max_message_bytes
DTYPES = {"fp16": numpy.float16, "fp32": numpy.float32, "fp64": numpy.float64}
DTYPE_NAMES = {number: name for name, number in messages.DATA_TYPES.items()}
KINDS = [("fp16", "fp16"), ("fp32", "fp32"), ("fp64", "fp64"), ("bf16", "bf16"), ("fp16", "fp32"), ("fp64", "fp32"),
         ("bf16", "fp64"), ("fp32", "fp64")]
SHAPES = [(), (0,), (1,), (3, 0), (1000,), (32, 100), (7, 11, 13), (1,) * 32, (100_000,)]


def bits_of(number):
    return struct.pack("<d", number)


def tensor(values, dtype):
    """bfloat16, which NumPy lacks, is the upper half of the values that its float32 can have."""
    data = values.tobytes() if dtype != "bf16" else (values.view(numpy.uint32) >> 16).astype(numpy.uint16).tobytes()
    shape = b"".join(b"\x10" + varint(size) for size in values.shape)
    return b"\x08" + varint(messages.DATA_TYPES[dtype]) + shape + bytes_field(3, data)


class Pair:
    """Random tensors and the way to reduce them. `expected`: the loss, or each element's."""

    def __init__(self, programs, folder, random):
        input_dtype, target_dtype = KINDS[random.integers(len(KINDS))]
        self.shape = SHAPES[random.integers(len(SHAPES))]
        # The answer to `none` is rounded to bfloat16, which the tool's files do not have.
        reductions = ["mean", "batchmean", "sum"] + ["none"] * ("bf16" not in (input_dtype, target_dtype))
        self.reduction = reductions[random.integers(len(reductions))]
        self.log_target, self.zero_target = bool(random.integers(2)), ("torch", "skip")[random.integers(2)]
        x = self._values(random, input_dtype, logarithms=True)
        t = self._values(random, target_dtype, logarithms=self.log_target)
        self.expected = self._evaluate(programs, folder, x, t)
        self.message = (bytes_field(2, tensor(x, input_dtype)) + bytes_field(3, tensor(t, target_dtype)) +
                        b"\x20" + varint(messages.REDUCTIONS[self.reduction]) + b"\x28" + varint(self.log_target) +
                        b"\x30" + varint(messages.ZERO_TARGETS[self.zero_target]))

    def _values(self, random, dtype, logarithms):
        values = random.uniform(1e-3, 1, self.shape)
        values = numpy.where(random.random(self.shape) < 1e-3, 0, values)
        with numpy.errstate(divide="ignore"):
            values = numpy.asarray(numpy.log(values) if logarithms else values, DTYPES.get(dtype, numpy.float32))
        if dtype == "bf16":
            values = (values.reshape(-1).view(numpy.uint32) & 0xFFFF0000).view(numpy.float32).reshape(self.shape)
        return values

    def _evaluate(self, programs, folder, x, t):
        for name, values in (("x", x), ("t", t)):
            numpy.save(folder / f"{name}.npy", values)
        output = [f"--output={folder}/out.npy"] if self.reduction == "none" else ["--format=json"]
        done = subprocess.run([programs / "kldiv", "eval", "--local", f"--reduction={self.reduction}", *output,
                               f"--log_target={str(self.log_target).lower()}", f"--zero_target={self.zero_target}",
                               folder / "x.npy", folder / "t.npy"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, check=True)
        return numpy.load(folder / "out.npy") if self.reduction == "none" else float(json.loads(done.stdout)["loss"])

    def request(self, request_id):
        return b"\x08" + varint(request_id) + self.message

    def wrong(self, response):
        """What is wrong with the answer; empty: nothing."""
        if response.element_count != int(numpy.prod(self.shape)):
            return "element_count"
        if self.reduction != "none":
            right = response.HasField("loss") and bits_of(response.loss) == bits_of(self.expected)
            return "" if right else f"loss {response.loss!r}, not {self.expected!r}"
        answer = response.pointwise
        right = (tuple(answer.shape) == self.shape and answer.data == self.expected.tobytes() and
                 DTYPES[DTYPE_NAMES[answer.dtype]] == self.expected.dtype)
        return "" if right else "pointwise"


def make_pairs(programs, count, seed):
    random = numpy.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        return [Pair(programs, pathlib.Path(folder), random) for _ in range(count)]


def invalid_messages():
    """What, path, message, the code's name."""
    ones = numpy.ones(4, numpy.float32)
    good = tensor(ones, "fp32")

    def pair(x=good, t=good, rest=b""):
        return bytes_field(2, x) + bytes_field(3, t) + rest

    invalid = {
        "no input": bytes_field(3, good), "no target": bytes_field(2, good), "nothing": b"",
        "unknown dtype": pair(x=b"\x08\x4d" + good[2:]), "too few bytes": pair(x=good[:4] + bytes_field(3, bytes(15))),
        "shapes differ": pair(t=tensor(ones.reshape(2, 2), "fp32")), "negative dimension": pair(
            x=b"\x08\x03\x10" + varint((1 << 64) - 4) + bytes_field(3, bytes(16))),
        "65 dimensions": pair(x=b"\x10\x01" * 64 + good), "product overflows": pair(x=b"\x10" + varint(1 << 62) + good),
        "unknown field": pair(rest=b"\x48\x01"), "bool of 2": pair(rest=b"\x28\x02"),
        "enum of 9": pair(rest=b"\x20\x09"),
        "ends early": pair()[:-1], "group without end": pair(rest=b"\xa3\x06"), "no message": b"\xff\xff\xff",
    }
    return [*((what, EVALUATE, message, "INVALID_ARGUMENT") for what, message in invalid.items()),
            ("a batch that ends early", BATCH, bytes_field(1, pair())[:-1], "INVALID_ARGUMENT"),
            ("a batch's unknown field", BATCH, b"\x48\x01", "INVALID_ARGUMENT"),
            ("unknown method", "/kldiv.v1.KlDivergence/Estimate", pair(), "UNIMPLEMENTED"),
            ("message too large", EVALUATE, bytes(MESSAGE_BYTES + 1), "RESOURCE_EXHAUSTED")]
