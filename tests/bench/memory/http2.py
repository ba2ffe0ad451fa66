"""A client that speaks just enough HTTP/2 to misbehave: it opens a unary gRPC call and sends what it likes of it."""

import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS = 0, 1, 4
END_HEADERS = 4


def frame(kind, flags, stream, payload):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    """A header field without indexing and without Huffman coding (RFC 7541, 6.2.2)."""
    assert len(name) < 127 and len(value) < 127
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


class Call:
    """One call on a connection of its own, whose headers have been sent."""

    def __init__(self, address, path):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host.strip("[]"), int(port)))
        fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path.encode()), (b":authority", b"x"),
                  (b"content-type", b"application/grpc"), (b"te", b"trailers")]
        block = b"".join(literal(name, value) for name, value in fields)
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0, b"") + frame(HEADERS, END_HEADERS, 1, block))

    def begin_message(self, size):
        """The prefix of an uncompressed message of `size` bytes."""
        self.send(b"\0" + struct.pack(">I", size))

    def send(self, data):
        self.socket.sendall(frame(DATA, 0, 1, data))

    def close(self):
        self.socket.close()
