#!/usr/bin/env python3
"""A name with a thousand addresses: the client library finds them all and calls go on.

One server listens on all of the addresses, which are loopback's, and the DNS server is this process. As DNS servers
must, it cuts what is longer than 512 bytes for who asks without EDNS. Prints the figures.

Usage: thousand_addresses_test.py BIN_FOLDER"""

import json
import pathlib
import re
import resource
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "testing")]
import network  # noqa: E402  # the folders have just been named
from server_process import ServerProcess  # noqa: E402

BIN = pathlib.Path(sys.argv.pop())
ADDRESSES = 1000
CLIENTS = 2  # of kldiv-load: one for the calls, one that asks what server it is
UDP_LIMIT = 512
DESCRIPTORS = 8 * ADDRESSES
TRUNCATED = 0x0200
SECONDS = 4


class LoopbackNames(network.Names):
    """The same name server on a free port of this machine, over UDP and TCP."""

    def __init__(self, addresses):
        self.addresses, self.queries = addresses, 0
        self.cut, self.whole = [], []  # bytes of the answers that were cut, and of those over TCP
        self.with_edns = 0
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.port = self.tcp.getsockname()[1]
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", self.port))
        self.thread = threading.Thread(target=self._serve, daemon=True)
        threading.Thread(target=self._serve_tcp, daemon=True).start()

    def __exit__(self, *_):
        super().__exit__()
        self.tcp.close()

    def target(self, port):
        return f"dns://127.0.0.1:{self.port}/{network.NAME}:{port}"

    def _answer(self, question):
        answer = super()._answer(question)
        self.with_edns += struct.unpack(">H", question[10:12])[0]
        if len(answer) <= UDP_LIMIT:
            return answer
        self.cut.append(len(answer))
        flags, = struct.unpack(">H", answer[2:4])
        return answer[:2] + struct.pack(">HHHHH", flags | TRUNCATED, 1, 0, 0, 0) + question[12:]

    def _serve_tcp(self):
        while True:
            try:
                connection, _ = self.tcp.accept()
            except OSError:
                return
            threading.Thread(target=self._serve_connection, args=(connection,), daemon=True).start()

    def _serve_connection(self, connection):
        with connection, connection.makefile("rb") as questions:
            while length := questions.read(2):
                answer = super()._answer(questions.read(struct.unpack(">H", length)[0]))
                self.whole.append(len(answer))
                connection.sendall(struct.pack(">H", len(answer)) + answer)


def resident_kib(process):
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1])


def raise_descriptors():
    """Every process started from now on may open as many files as this takes; False: it may not."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < DESCRIPTORS:
        return False
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, most))
    return True


class ThousandAddresses(unittest.TestCase):
    def setUp(self):
        self.addresses = [f"127.0.{1 + i // 200}.{1 + i % 200}" for i in range(ADDRESSES)]
        with socket.create_server((self.addresses[0], 0)) as probe:
            self.port = probe.getsockname()[1]
        listen = ",".join(f"{address}:{self.port}" for address in self.addresses)
        self.server = ServerProcess(BIN / "kldiv-server", f"--listen={listen}", "--metrics_listen=127.0.0.1:0",
                                    "--backend=cpu", stderr=subprocess.DEVNULL)
        self.addCleanup(lambda: self.assertEqual(self.server.stop(), 0))

    def metric(self, name):
        with urllib.request.urlopen(f"http://{self.server.metrics}/metrics", timeout=10) as answer:
            return next(int(float(line.split()[1])) for line in answer.read().decode().splitlines()
                        if line.startswith(name + " "))

    def test_all_are_found_over_tcp_and_no_call_fails(self):
        before = resident_kib(self.server.process)
        with tempfile.NamedTemporaryFile(suffix=".json") as report, LoopbackNames(self.addresses) as names:
            load = subprocess.Popen(
                [BIN / "kldiv-load", f"--server={names.target(self.port)}", "--rate=300", "--shape=100", "--warmup=3s",
                 f"--duration={SECONDS}s", f"--json={report.name}", "--progress=false"],
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            self.addCleanup(load.kill)
            deadline = time.monotonic() + 60
            while self.metric("kldiv_connections_accepted_total") < CLIENTS * ADDRESSES:
                self.assertLess(time.monotonic(), deadline, "not all addresses were connected to within a minute")
                self.assertIsNone(load.poll())
                time.sleep(0.05)
            made = self.metric("kldiv_connections_accepted_total")
            server, client = resident_kib(self.server.process) - before, resident_kib(load)
            _, said = load.communicate(timeout=60)
            self.assertEqual(load.returncode, 0, said)
            run = json.load(report)["runs"][0]
        print(f"answer of {names.whole[0]:,} bytes over TCP; {made} connections of {server / made:.1f} KiB on the "
              f"server, kldiv-load in {client / 1024:.0f} MiB; p50 {run['latency_us']['p50']:.0f} us, p99 "
              f"{run['latency_us']['p99']:.0f} us", flush=True)
        self.assertEqual(run["errors"], {})
        self.assertGreater(names.cut[0], UDP_LIMIT)
        self.assertEqual(names.whole[0], 12 + len(network.NAME) + 2 + 4 + 16 * ADDRESSES)
        self.assertEqual(names.with_edns, 0)  # as tests/bench/fleet.py says of this gRPC and c-ares


if __name__ == "__main__":
    if not raise_descriptors():
        print(f"skipped: {DESCRIPTORS} files cannot be opened here")
        sys.exit(77)
    unittest.main()
