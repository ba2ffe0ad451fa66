"""Clients that do not behave: `python attackers.py KIND ADDRESS COUNT [--source IP] [--again | --flow]`.

Opens COUNT connections, prints "ready" when each has done its part, and holds them until stdin ends or it is killed.
With --again it opens new ones, a thousand a second at most, for those that the server ends; with --flow a hundred a
second in any case, each for the oldest."""

import argparse
import resource
import select
import socket
import ssl

import rig  # names the folders of the next imports
import grpc
import numpy
from http2 import DATA, PREFACE, SETTINGS, Call, frame
from messages import EVALUATE, STREAM, pair

GREETING = PREFACE + frame(SETTINGS, 0, 0, b"")
AGAIN_S, AGAIN_AT_A_TIME = 0.1, 100
FLOW_S = 0.01
A_BYTE_S = 1
MIB = 1 << 20


def prefixed(message):
    return b"\0" + len(message).to_bytes(4, "big") + message


def silent(options):
    host, port = options.address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=60,
                                    source_address=(options.source, 0) if options.source else None)


def greeting(options):
    made = silent(options)
    made.sendall(GREETING)
    return made


TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
TLS.check_hostname, TLS.verify_mode = False, ssl.CERT_NONE
TLS.set_alpn_protocols(["h2"])


def tls_hello(options):
    """The first flight of a TLS handshake and no more."""
    sent = ssl.MemoryBIO()
    try:
        TLS.wrap_bio(ssl.MemoryBIO(), sent).do_handshake()
    except ssl.SSLWantReadError:
        pass
    made = silent(options)
    made.sendall(sent.read())
    return made


def tls_greeting(options):
    made = TLS.wrap_socket(silent(options), do_handshake_on_connect=False)
    try:
        made.do_handshake()
        made.sendall(GREETING)
    except OSError:
        pass  # The server has ended it: it has no place.
    return made


def mid_message(options):
    call = Call(options.address, EVALUATE)
    call.begin_message(60 * MIB)
    call.send(b"\0" * 10_000)
    return call.socket


def mid_stream(options):
    message = prefixed(pair(1000, numpy.float32))
    call = Call(options.address, STREAM)
    call.send(message)
    call.send(message[:len(message) // 2])
    return call.socket


def idle_stream(options):
    return Call(options.address, STREAM).socket


def watcher(options):
    call = Call(options.address, rig.WATCH)
    call.send(prefixed(b""))
    return call.socket


def slow_reader(options):
    """`none` answers of 2 MiB that nobody takes."""
    options.number = getattr(options, "number", 0) + 1
    channel = grpc.insecure_channel(options.address, options=[
        ("grpc.max_receive_message_length", -1), ("kldiv.channel", options.number)])
    call = channel.unary_stream(EVALUATE)
    return channel, call(pair(1 << 19, numpy.float32, reduction=1), timeout=600)


def is_ended(made):
    made.setblocking(False)
    try:
        return made.recv(1 << 16) == b""
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except OSError:
        return True


def come_again(options, open_one, held):
    """Opens a new connection for each that has ended."""
    for made in [made for made in held if is_ended(made)][:AGAIN_AT_A_TIME]:
        made.close()
        held.remove(made)
        held.append(open_one(options))


def flow(options, open_one, held):
    held.pop(0).close()
    held.append(open_one(options))


def send_a_byte(_options, _open_one, held):
    for made in held:
        try:
            made.sendall(frame(DATA, 0, 1, b"\0"))
        except OSError:
            pass  # The server has ended it.


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kind")
    parser.add_argument("address")
    parser.add_argument("count", type=int)
    parser.add_argument("--source")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--flow", action="store_true")
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    slow_writer = options.kind == "slow_writer"
    open_one = mid_message if slow_writer else globals()[options.kind]
    held = [open_one(options) for _ in range(options.count)]
    print("ready", flush=True)
    then, pause = None, None
    if slow_writer:
        then, pause = send_a_byte, A_BYTE_S
    elif options.again:
        then, pause = come_again, AGAIN_S
    elif options.flow:
        then, pause = flow, FLOW_S
    while not select.select([0], [], [], pause)[0]:
        then(options, open_one, held)


if __name__ == "__main__":
    main()
