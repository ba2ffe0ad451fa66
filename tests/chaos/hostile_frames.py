"""Headers and frames that lie, on connections of their own that speak HTTP/2 byte by byte."""

import gzip
import socket
import struct
import time

import rig  # noqa: F401  # names the folder of the next import
import numpy
from grpc import StatusCode
from http2 import (CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS,
                   fields_of, frame, integer, literal)
from messages import EVALUATE, pair

MIB = 1 << 20
FRAME_BYTES = 16384
PATIENCE_S = 5
CODES = {code.value[0]: code.name for code in StatusCode}
GOOD = pair(4, numpy.float32)
ENDED = ("closed", "GOAWAY", "RST_STREAM")  # without a status
REFUSED = {*CODES.values(), *ENDED} - {"OK"}


def prefixed(message, flag=0, size=None):
    """A message of gRPC's; `size`: what its prefix claims."""
    return bytes([flag]) + struct.pack(">I", len(message) if size is None else size) + message


class Connection:
    """After both greetings."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0, b""))
        while self._frame()[0] != SETTINGS:
            pass

    def outcome(self, data):
        """What becomes of `data`: the code's name, HTTP's status, or how the connection or the stream ended."""
        try:
            self.socket.sendall(data)
        except OSError:
            pass  # It has been closed; perhaps with a reason that can be read.
        try:
            while True:
                kind, payload = self._frame()
                if kind == HEADERS and b"grpc-status" in payload:
                    # On a new connection it is a literal, for there is nothing yet to refer to.
                    _, _, rest = payload.partition(b"grpc-status")
                    return CODES[int(rest[1:1 + rest[0]])]
                if kind == HEADERS and payload[0] != 0x88:  # :status 200
                    return f"HTTP {payload[:8]!r}"
                if kind == RST_STREAM:
                    return "RST_STREAM"
                if kind == GOAWAY and int.from_bytes(payload[4:8], "big") != 0:
                    return "GOAWAY"
        except TimeoutError:
            return "silence"
        except OSError:
            return "closed"

    def close(self):
        self.socket.close()

    def _frame(self):
        header = self._take(9)
        return header[3], self._take(int.from_bytes(header[:3], "big"))

    def _take(self, size):
        while len(self.received) < size:
            more = self.socket.recv(1 << 16)
            if not more:
                raise ConnectionError("closed")
            self.received += more
        taken, self.received = self.received[:size], self.received[size:]
        return taken


def header(block, ended=True, stream=1, flags=0):
    """HEADERS and as many CONTINUATIONs as it takes."""
    parts = [block[at:at + FRAME_BYTES] for at in range(0, max(1, len(block)), FRAME_BYTES)]
    kinds = [HEADERS] + [CONTINUATION] * (len(parts) - 1)
    last = [0] * (len(parts) - 1) + [END_HEADERS if ended else 0]
    return b"".join(frame(kind, end | (flags if kind == HEADERS else 0), stream, part)
                    for kind, end, part in zip(kinds, last, parts))


def fields(*more, **changes):
    """A call's header block: fields added, and others changed or (None) left out."""
    made = fields_of(EVALUATE)
    made.update({name.encode(): value for name, value in changes.items()})
    return b"".join(literal(name, value) for name, value in [*made.items(), *more] if value is not None)


def body(data):
    parts = [data[at:at + FRAME_BYTES] for at in range(0, max(1, len(data)), FRAME_BYTES)]
    return b"".join(frame(DATA, END_STREAM if part is parts[-1] else 0, 1, part) for part in parts)


def call(data, *more, **changes):
    return header(fields(*more, **changes)) + body(data)


def changed(name, value):
    return call(prefixed(GOOD), **{name: value})


def indexed_again(times):
    """One large field in the table of the connection, then referred to by a byte each time."""
    return fields() + b"\x40" + integer(1) + b"x" + integer(3000) + b"v" * 3000 + b"\xbe" * times


def bomb():
    """Under the window of a new stream; a thousand times that when decompressed."""
    return gzip.compress(bytes(60 * MIB))[:60_000]


def unfinished(size):
    """A message whose prefix claims so much, of which four bytes come, and no end of the call."""
    return header(fields()) + frame(DATA, 0, 1, prefixed(b"1234", size=size))


def lying_frames():
    """What, bytes, allowed outcomes."""
    gzipped, bombed = (b"grpc-encoding", b"gzip"), bomb()
    invalid, unimplemented = {"INVALID_ARGUMENT"}, {"UNIMPLEMENTED"}
    return [
        ("50,000 bytes of headers in four frames", call(prefixed(GOOD), (b"x-long", b"v" * 50_000)), {"OK"}),
        ("a gRPC frame of 2^32 - 1 bytes", call(prefixed(GOOD, size=(1 << 32) - 1)), invalid),
        ("a gRPC frame longer than what comes", call(prefixed(GOOD, size=60 * MIB)), invalid),
        ("a gRPC frame that ends in its prefix", call(b"\0\0\0"), invalid),
        ("no message at all", call(b""), invalid),
        # Without an encoding gRPC takes the flag to mean nothing: the bytes are no message.
        ("a compressed message without an encoding", call(prefixed(gzip.compress(GOOD), 1)), invalid),
        ("a gzip bomb, 1 to 1,000", call(prefixed(bombed, 1), gzipped), unimplemented),
        ("an unknown encoding", call(prefixed(bombed, 1), (b"grpc-encoding", b"zzz")), REFUSED),
        ("an unknown flag", call(prefixed(GOOD, 0x7f)), REFUSED),
        ("a path of no method", changed(":path", b"/kldiv.v1.KlDivergence/Estimate"), unimplemented),
        ("a path without a slash", changed(":path", b"Evaluate"), unimplemented),
        ("an empty path", changed(":path", b""), unimplemented),
        ("a path of 10,000 bytes", changed(":path", b"/" + b"a" * 9_999), unimplemented),
        ("no path", changed(":path", None), REFUSED),
        ("method GET", changed(":method", b"GET"), REFUSED),
        ("method DELETE", changed(":method", b"DELETE"), REFUSED),
        # gRPC answers whatever the content-type is.
        ("content-type text/html", changed("content-type", b"text/html"), {"OK", *REFUSED}),
        ("no content-type", changed("content-type", None), {"OK", *REFUSED}),
    ]


def lying_headers():
    """What, bytes. Each has to be refused, or to close the connection."""
    long = (b"x-long", b"v" * 10**6)
    return [
        ("a header of 10^6 bytes", call(prefixed(GOOD), long)),
        ("the same, never ended", header(fields(long), ended=False)),
        ("a name of 10^6 bytes", call(prefixed(GOOD), (b"x" * 10**6, b"v"))),
        ("20,000 headers", call(prefixed(GOOD), *((b"x-%d" % n, b"value") for n in range(20_000)))),
        ("a field referred to 100,000 times", header(indexed_again(100_000)) + body(prefixed(GOOD))),
        ("a field of 2^31 bytes", header(fields() + b"\0" + integer(1) + b"x" + integer((1 << 31) - 1) + b"v" * 1000) +
         body(prefixed(GOOD))),
        ("an index beyond the table", header(fields() + b"\xff\xff\xff\xff\x07") + body(prefixed(GOOD))),
        ("a number that does not end", header(fields() + b"\xff" * 100) + body(prefixed(GOOD))),
        ("a table of 2^31 bytes", header(b"\x3f\xe0\xff\xff\xff\x07" + fields()) + body(prefixed(GOOD))),
        ("a frame of 16 MiB - 1", b"\xff\xff\xff" + bytes([HEADERS, END_HEADERS]) + struct.pack(">I", 1) + fields()),
        ("a continuation of nothing", frame(CONTINUATION, END_HEADERS, 1, fields())),
        ("a settings frame of 5 bytes", frame(SETTINGS, 0, 0, b"12345")),
        ("a ping of 7 bytes", frame(PING, 0, 0, b"1234567")),
        ("HTTP/1.1 in mid-connection", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 100),
    ]


def send(address, data):
    """The outcome and the seconds until it."""
    connection = Connection(address)
    try:
        begin = time.monotonic()
        outcome = connection.outcome(data)
        return outcome, time.monotonic() - begin
    finally:
        connection.close()
