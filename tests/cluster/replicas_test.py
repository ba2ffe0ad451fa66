#!/usr/bin/env python3
"""Three servers with addresses of their own behind one name, under open-loop load through the client library: killed,
cut off, joined by a fourth, restarted in turn. No call fails, and the load evens out. Prints the figures.

Usage: replicas_test.py BIN_FOLDER; only with KLDIV_SLOW=1, as root and with network namespaces, else skipped."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "testing")]
import network  # noqa: E402  # the folders have just been named
from server_process import ServerProcess  # noqa: E402

BIN = pathlib.Path(sys.argv.pop())
PORT, METRICS_PORT = 50051, 9464
RATE = 150
CONNECTION_AGE = 2  # seconds
EVEN_AFTER = CONNECTION_AGE + 5


class Server:
    """One replica, on machine i."""

    def __init__(self, net, i):
        self.net, self.i, self.process = net, i, None

    def start(self):
        address = self.net.address(self.i)
        self.process = ServerProcess(
            *self.net.command(self.i, BIN / "kldiv-server", f"--listen={address}:{PORT}", "--backend=cpu",
                              f"--metrics_listen={address}:{METRICS_PORT}", f"--max_connection_age={CONNECTION_AGE}s"),
            stderr=subprocess.DEVNULL)

    def stop(self, with_signal=signal.SIGTERM):
        process, self.process = self.process, None
        return process.stop(with_signal)

    def pairs(self):
        """How many it has evaluated, asked from the client's machine."""
        read = "import urllib.request, sys; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())"
        text = subprocess.run(self.net.command(0, sys.executable, "-c", read,
                                               f"http://{self.net.address(self.i)}:{METRICS_PORT}/metrics"),
                              check=True, capture_output=True, text=True).stdout
        return next(int(float(line.split()[1])) for line in text.splitlines()
                    if line.startswith("kldiv_pairs_completed_total "))


class Replicas(unittest.TestCase):
    def setUp(self):
        self.net = self.enter(network.Network(4))
        self.names = self.enter(network.Names(self.net))
        self.servers = {i: Server(self.net, i) for i in range(1, 5)}
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.document = pathlib.Path(folder.name) / "report.json"
        self.addCleanup(self.stop_all)
        for i in (1, 2, 3):
            self.servers[i].start()
        self.name_servers(1, 2, 3)

    def enter(self, context):
        value = context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)
        return value

    def stop_all(self):
        for server in self.servers.values():
            if server.process is not None:
                server.stop(signal.SIGKILL)

    def name_servers(self, *numbers):
        self.names.addresses = [self.net.address(i) for i in numbers]

    def under_load(self, seconds, happenings):
        """Runs open-loop load while `happenings`, a function of this thread, does its worst; returns the run's report."""
        load = subprocess.Popen(
            self.net.command(0, BIN / "kldiv-load", f"--server={self.names.target(PORT)}", f"--rate={RATE}", "--retry",
                             "--shape=1000", "--connections=2", "--warmup=1s", f"--duration={seconds}s",
                             f"--json={self.document}"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.addCleanup(load.kill)
        begin = time.monotonic()
        happenings()
        _, said = load.communicate(timeout=seconds + 90)
        self.assertIn(load.returncode, (0, 1), said)
        self.assertLess(time.monotonic() - begin, seconds + 60)
        report = json.loads(self.document.read_text())
        run = report["runs"][0]
        print(f"{self._testMethodName}: {run['calls']} calls, {sum(run['errors'].values())} errors, p50 "
              f"{run['latency_us']['p50'] / 1e3:.2f} ms, p99 {run['latency_us']['p99'] / 1e3:.2f} ms, longest "
              f"{run['latency_us']['max'] / 1e3:.0f} ms; {self.names.queries} DNS queries", flush=True)
        self.assertEqual(run["errors"], {}, run["error_texts"])
        self.assertEqual(run["wrong_answers"], 0)
        self.assertGreater(run["calls"], 0.95 * RATE * seconds)
        return run

    def assert_even(self, *numbers):
        """The servers' shares of the next two seconds differ by a fifth of the mean at most."""
        before = {i: self.servers[i].pairs() for i in numbers}
        time.sleep(2)
        shares = {i: self.servers[i].pairs() - before[i] for i in numbers}
        mean = sum(shares.values()) / len(shares)
        print(f"{self._testMethodName}: shares {shares}", flush=True)
        for i, share in shares.items():
            self.assertLess(abs(share - mean), 0.2 * mean, f"server {i}: {shares}")

    def test_a_server_is_killed_and_comes_back(self):
        def happenings():
            time.sleep(3)
            self.servers[2].stop(signal.SIGKILL)
            time.sleep(3)
            self.servers[2].start()
            time.sleep(EVEN_AFTER)
            self.assert_even(1, 2, 3)
        self.under_load(18, happenings)

    def test_a_server_is_cut_off_and_comes_back(self):
        def happenings():
            time.sleep(3)
            self.net.cut_off(3)
            time.sleep(12)
            self.net.heal(3)
            time.sleep(EVEN_AFTER)
            self.assert_even(1, 2, 3)
        self.under_load(27, happenings)

    def test_a_server_joins(self):
        def happenings():
            time.sleep(3)
            self.servers[4].start()
            self.name_servers(1, 2, 3, 4)
            time.sleep(EVEN_AFTER)
            self.assert_even(1, 2, 3, 4)
        self.under_load(15, happenings)

    def test_each_is_restarted_in_turn(self):
        def happenings():
            time.sleep(2)
            for i in (1, 2, 3):
                self.assertEqual(self.servers[i].stop(), 0)
                self.servers[i].start()
                time.sleep(3)
            time.sleep(EVEN_AFTER)
            self.assert_even(1, 2, 3)
        self.under_load(34, happenings)


if __name__ == "__main__":
    if os.environ.pop("KLDIV_SLOW", "") != "1" or not network.available():
        print("skipped: only with KLDIV_SLOW=1, as root and with network namespaces")
        sys.exit(77)
    unittest.main()
