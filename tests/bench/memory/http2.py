"""A client that speaks just enough HTTP/2 to misbehave: it opens a unary gRPC call and sends what it likes of it."""

import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9
END_STREAM, END_HEADERS = 1, 4


def frame(kind, flags, stream, payload):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def integer(value):
    """With a prefix of seven bits (RFC 7541, 5.1)."""
    if value < 127:
        return bytes([value])
    out, value = bytearray([127]), value - 127
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))


def literal(name, value):
    """A header field without indexing and without Huffman coding (RFC 7541, 6.2.2)."""
    return b"\0" + integer(len(name)) + name + integer(len(value)) + value


def fields_of(path):
    """The header of a call."""
    return {b":method": b"POST", b":scheme": b"http", b":path": path.encode(), b":authority": b"x",
            b"content-type": b"application/grpc", b"te": b"trailers"}


class Call:
    """One call on a connection of its own, whose headers have been sent."""

    def __init__(self, address, path):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host.strip("[]"), int(port)))
        block = b"".join(literal(name, value) for name, value in fields_of(path).items())
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0, b"") + frame(HEADERS, END_HEADERS, 1, block))

    def begin_message(self, size):
        """The prefix of an uncompressed message of `size` bytes."""
        self.send(b"\0" + struct.pack(">I", size))

    def send(self, data):
        self.socket.sendall(frame(DATA, 0, 1, data))

    def close(self):
        self.socket.close()
