"""What the tests of several servers share: servers on machines of their own, open-loop load, and what it has to show.

The program's last argument is the folder with the programs."""

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
sys.path[:0] = [str(HERE.parent / "testing")]
import network  # noqa: E402  # the folder has just been named
from server_process import ServerProcess  # noqa: E402

BIN = pathlib.Path(sys.argv.pop())
PORT, HEALTH_PORT, METRICS_PORT = 50051, 50052, 9464
RATE = 150


class Server:
    """One replica, on machine i."""

    def __init__(self, net, i, *flags):
        self.net, self.i, self.flags, self.process = net, i, flags, None

    def start(self):
        address = self.net.address(self.i)
        self.process = ServerProcess(
            *self.net.command(self.i, BIN / "kldiv-server", f"--listen={address}:{PORT}", "--backend=cpu",
                              f"--health_listen={address}:{HEALTH_PORT}", f"--metrics_listen={address}:{METRICS_PORT}",
                              *self.flags),
            stderr=subprocess.DEVNULL)

    def stop(self, with_signal=signal.SIGTERM):
        process, self.process = self.process, None
        return process.stop(with_signal)


class ClusterTest(unittest.TestCase):
    """Servers 1 to 3, which run and have a name, and a fourth that could join."""

    machines = 4
    connection_age = 2  # seconds, as drain_delay
    drain_delay = 0

    def setUp(self):
        self.net = self.enter(network.Network(self.machines))
        self.names = self.enter(network.Names(self.net))
        self.folder = pathlib.Path(self.enter(tempfile.TemporaryDirectory()))
        self.prepare()
        flags = (f"--max_connection_age={self.connection_age}s", f"--drain_delay={self.drain_delay}s",
                 *self.server_flags())
        self.servers = {i: Server(self.net, i, *flags) for i in range(1, 5)}
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

    def prepare(self):
        """Makes the files, in self.folder, that the servers need."""

    def server_flags(self):
        return ()

    def client_flags(self):
        """With which a client finds the servers."""
        return (f"--server={self.names.target(PORT)}",)

    def name_servers(self, *numbers):
        self.names.addresses = [self.net.address(i) for i in numbers]

    def load(self, *flags):
        """A load tester's process, and its report's file."""
        document = self.folder / f"{time.monotonic_ns()}.json"
        process = subprocess.Popen(
            self.net.command(0, BIN / "kldiv-load", *self.client_flags(), f"--json={document}", *flags),
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.kill)
        return process, document

    def under_load(self, seconds, happenings, *flags):
        """Runs open-loop load while `happenings`, a function of this thread, does its worst."""
        load, document = self.load(f"--rate={RATE}", "--retry", "--shape=1000", "--connections=2", "--warmup=1s",
                                   f"--duration={seconds}s", *flags)
        begin = time.monotonic()
        happenings()
        _, said = load.communicate(timeout=seconds + 90)
        self.assertIn(load.returncode, (0, 1), said)
        self.assertLess(time.monotonic() - begin, seconds + 60)
        run = json.loads(document.read_text())["runs"][0]
        print(f"{self.id().split('.', 1)[1]}: {run['calls']} calls, {sum(run['errors'].values())} errors, p50 "
              f"{run['latency_us']['p50'] / 1e3:.2f} ms, p99 {run['latency_us']['p99'] / 1e3:.2f} ms, longest "
              f"{run['latency_us']['max'] / 1e3:.0f} ms; {self.names.queries} DNS queries", flush=True)
        self.assertEqual(run["errors"], {}, run["error_texts"])
        self.assertEqual(run["wrong_answers"], 0)
        self.assertGreater(run["calls"], 0.95 * RATE * seconds)

    def metric(self, name, *numbers):
        """Of these servers, by number, asked from the client's machine at one time."""
        read = ("import sys, urllib.request\n"
                "for url in sys.argv[1:]:\n"
                "    lines = urllib.request.urlopen(url, timeout=5).read().decode().splitlines()\n"
                f"    print(*[line for line in lines if line.startswith('{name} ')])")
        urls = [f"http://{self.net.address(i)}:{METRICS_PORT}/metrics" for i in numbers]
        text = subprocess.run(self.net.command(0, sys.executable, "-c", read, *urls),
                              check=True, capture_output=True, text=True).stdout
        return {i: int(float(line.split()[1])) for i, line in zip(numbers, text.splitlines(), strict=True)}

    def assert_even(self, *numbers):
        """The servers' shares of the next two seconds differ by a fifth of the mean at most."""
        before = self.metric("kldiv_pairs_completed_total", *numbers)
        time.sleep(2)
        after = self.metric("kldiv_pairs_completed_total", *numbers)
        shares = {i: after[i] - before[i] for i in numbers}
        mean = sum(shares.values()) / len(shares)
        print(f"{self.id().split('.', 1)[1]}: shares {shares}", flush=True)
        for i, share in shares.items():
            self.assertLess(abs(share - mean), 0.2 * mean, f"server {i}: {shares}")


class Misfortunes(ClusterTest):
    """What servers may meet without a call failing."""

    even_after = ClusterTest.connection_age + 5  # seconds

    def announce_fourth(self):
        self.name_servers(1, 2, 3, 4)

    def restart(self, i):
        self.assertEqual(self.servers[i].stop(), 0)
        self.servers[i].start()

    def wait_for_evenness(self, *numbers):
        time.sleep(self.even_after)
        self.assert_even(*numbers)

    def test_a_server_is_killed_and_comes_back(self):
        def happenings():
            time.sleep(3)
            self.servers[2].stop(signal.SIGKILL)
            time.sleep(3)
            self.servers[2].start()
            self.wait_for_evenness(1, 2, 3)
        self.under_load(11 + self.even_after, happenings)

    def test_a_server_is_cut_off_and_comes_back(self):
        def happenings():
            time.sleep(3)
            self.net.cut_off(3)
            time.sleep(12)
            self.net.heal(3)
            self.wait_for_evenness(1, 2, 3)
        self.under_load(20 + self.even_after, happenings)

    def test_a_server_joins(self):
        def happenings():
            time.sleep(3)
            self.servers[4].start()
            self.announce_fourth()
            self.wait_for_evenness(1, 2, 3, 4)
        self.under_load(10 + self.even_after, happenings)

    def test_each_is_restarted_in_turn(self):
        def happenings():
            time.sleep(2)
            for i in (1, 2, 3):
                self.restart(i)
                time.sleep(3)
            self.wait_for_evenness(1, 2, 3)
        self.under_load(27 + 3 * self.drain_delay + self.even_after, happenings)


def main():
    if os.environ.pop("KLDIV_SLOW", "") != "1" or not network.available():
        print("skipped: only with KLDIV_SLOW=1, as root and with network namespaces")
        sys.exit(77)
    unittest.main()
