#!/usr/bin/python3
"""Certificates and tokens change under load, in halves and with mistakes.

usage: rotation.py [--rounds 10] [--bin build/release/bin] [--quick] [--json build/rotation.json]

A round puts a new certificate in place, key first or certificate first, and breaks it in several ways; adds a token,
has a client change to it, and takes the old one away. Beside it calls and streams of a token that stays are under way,
and newcomers connect.
"""
import collections
import contextlib
import json
import socket
import ssl
import statistics
import sys
import tempfile
import threading
import time

import grpc
import numpy

import rig
from certificates import Authority
from messages import EVALUATE, STREAM, pair

IN_TIME_S = 2
NAMES = [("grpc.ssl_target_name_override", "localhost")]
MESSAGE = pair(1000, numpy.float32)
STREAMS = 10
CALLS_AFTERWARDS = 20
KEPT = "token-that-stays"
REFUSED = " have changed and cannot be used"  # in the server's log


class Files:
    """What the server follows, and what its log says about it."""

    def __init__(self, folder):
        self.authority = Authority(folder)
        folder = self.authority.folder
        self.cert, self.key, self.tokens, self.log = (folder / name for name in ("cert", "key", "tokens", "log"))
        self.put_pair("first")
        self.kept = folder / "kept"
        self.kept.write_text(KEPT)
        self.tokens.write_text(f"keep:{KEPT}\nclient:token-0\n")

    def put_pair(self, name):
        for path, made in zip((self.cert, self.key), self.authority.issue(name)):
            path.write_bytes(made.read_bytes())

    def refusals(self):
        return self.log.read_text().count(REFUSED)


class Rotation:
    """A server whose files change, and how long it took to follow, by what was asked of it."""

    def __init__(self, files, server):
        self.files, self.server = files, server
        self.seconds = collections.defaultdict(list)
        self.faults = collections.Counter()
        self.channel = grpc.secure_channel(
            server.ipv4, grpc.ssl_channel_credentials(files.authority.ca.read_bytes()), NAMES)

    def serial(self):
        """Of the certificate that a new connection is shown."""
        context = ssl.create_default_context(cafile=self.files.authority.ca)
        context.set_alpn_protocols(["h2"])
        host, port = self.server.ipv4.split(":")
        with socket.create_connection((host, int(port))) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as encrypted:
                return encrypted.getpeercert()["serialNumber"]

    def code(self, token):
        """What a call with the token comes to."""
        try:
            self.channel.unary_unary(EVALUATE)(MESSAGE, timeout=60, metadata=bearer(token))
            return "OK"
        except grpc.RpcError as error:
            return error.code().name

    def time(self, what, condition):
        self.seconds[what].append(rig.wait_until(condition, what))

    def refuse(self, path, content):
        """Has the server see what it cannot use; None: no file. The last good state stays."""
        before, serial = self.files.refusals(), self.serial()
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)
        rig.wait_until(lambda: self.files.refusals() > before, f"{path} is refused")
        self.faults["the last good state was left"] += self.serial() != serial or self.code(KEPT) != "OK"

    def break_and_mend(self, path, *broken):
        good = path.read_bytes()
        for content in (good[:len(good) // 2], None, *broken):
            self.refuse(path, content)
        path.write_bytes(good)

    def change_certificate(self, number):
        made = [path.read_bytes() for path in self.files.authority.issue(f"server-{number}")]
        paths = [self.files.cert, self.files.key]
        if number % 2:  # the key first
            made, paths = made[::-1], paths[::-1]
        before = self.serial()
        self.refuse(paths[0], made[0])
        paths[1].write_bytes(made[1])
        self.time("a new connection sees the new certificate", lambda: self.serial() != before)
        for path in paths:
            self.break_and_mend(path, b"\0garbage\xff")

    def change_token(self, number):
        old, new = f"token-{number}", f"token-{number + 1}"
        tokens = self.files.tokens
        tokens.write_text(f"keep:{KEPT}\nclient:{old}\nclient:{new}\n")
        self.time("a new token is accepted", lambda: self.code(new) == "OK")
        self.break_and_mend(tokens, b"\0garbage\xff", b"")
        with self.streams(old) as streams:
            tokens.write_text(f"keep:{KEPT}\nclient:{new}\n")
            begin = time.monotonic()
            self.time("the old token is refused", lambda: self.code(old) == "UNAUTHENTICATED")
            self.faults["the old token was accepted again"] += sum(
                self.code(old) != "UNAUTHENTICATED" for _ in range(CALLS_AFTERWARDS))
            rig.wait_until(lambda: len(streams) == STREAMS, "streams end")
            self.seconds["its streams have ended"].append(max(streams.values()) - begin)
            self.faults["a stream ended otherwise"] += sum(code != "UNAUTHENTICATED" for _, code in streams)
        self.faults["the new token was refused"] += self.code(new) != "OK"

    @contextlib.contextmanager
    def streams(self, token):
        """Open ones that the token let in: one that sends all the time, and others that are silent after one answer.

        Gives a dict that tells when they ended: (number, code) -> moment."""
        over, ends = threading.Event(), {}

        def requests(busy):
            yield MESSAGE
            while not over.wait(0.01):
                if busy:
                    yield MESSAGE

        def read(number, stream):
            with contextlib.suppress(grpc.RpcError):
                collections.deque(stream, maxlen=0)
            ends[number, stream.code().name] = time.monotonic()

        opened = [self.channel.stream_stream(STREAM)(requests(number == 0), metadata=bearer(token))
                  for number in range(STREAMS)]
        for stream in opened:
            next(stream)
        readers = [threading.Thread(target=read, args=each, daemon=True) for each in enumerate(opened)]
        for reader in readers:
            reader.start()
        yield ends
        over.set()
        for reader in readers:
            reader.join()


def bearer(token):
    return [("authorization", f"Bearer {token}")]


def load(flags, files, server, *more):
    return rig.Load(flags.bin, server.ipv4, "--tls", f"--server_ca={files.authority.ca}",
                    f"--client_token_file={files.kept}", "--shape=1000", "--connections=4", *more)


def main():
    parser = rig.flags_of("rotation", __doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=10)
    flags = parser.parse_args()
    rounds = 1 if flags.quick else flags.rounds
    with tempfile.TemporaryDirectory() as folder:
        files = Files(folder)
        with open(files.log, "w", encoding="utf-8") as log:
            server = rig.Server(flags.bin / "kldiv-server", f"--tls_cert={files.cert}", f"--tls_key={files.key}",
                                f"--token_file={files.tokens}", "--log_format=text", stderr=log)
        loads = [load(flags, files, server), load(flags, files, server, "--mode=stream")]
        visitors = rig.Helper("visitors.py", server.ipv4, f"--ca={files.authority.ca}", f"--token={KEPT}")
        for each in loads:
            each.wait_until_begun()
        rotation = Rotation(files, server)
        for number in range(rounds):
            rotation.change_certificate(number)
            rotation.change_token(number)
        visited, runs = json.loads(visitors.end()), [each.finish() for each in loads]
        refusals = files.refusals()
        return report(flags.json, rotation, visited, runs, refusals, server.stop())


def report(path, rotation, visited, runs, refusals, exit_code):
    bars = rig.Bars()
    for what, seconds in rotation.seconds.items():
        bars.report(f"{what}, the longest of {len(seconds)}, s", max(seconds), most=IN_TIME_S,
                    note=f"median {statistics.median(seconds):.2f}")
    bars.report("states of the files that are halves or mistakes", refusals, least=1)
    for what, count in rotation.faults.items():
        bars.report(f"  times that {what}", count, most=0)
    for kind, run in zip(("calls", "streams"), runs):
        bars.report(f"failed {kind}", sum(run["errors"].values()) + run["wrong_answers"], most=0,
                    note=f"of {run['calls']} {run['error_texts'] or ''}")
    bars.report("failed calls of newcomers and one that stays", sum(visited["errors"].values()), most=0,
                note=f"of {visited['calls'] + visited['newcomers']}, {visited['newcomers']} connections "
                     f"{visited['errors'] or ''}")
    bars.report("exit code", exit_code, most=0)
    return bars.finish(path, seconds=rotation.seconds)


if __name__ == "__main__":
    sys.exit(main())
