#!/usr/bin/env python3
"""nginx and HAProxy, with the configurations in docker/, in front of three servers with addresses of their own, under
open-loop load: servers are killed, cut off, joined by a fourth, restarted in turn. No call fails, and the load evens
out. Also what the proxies let through and what they refuse. Prints the figures.

Usage: balancers_test.py BIN_FOLDER; only with KLDIV_SLOW=1, as root, with network namespaces and both programs, else
skipped."""

import json
import pathlib
import re
import signal
import subprocess
import sys
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE)]
import cluster  # noqa: E402  # the folder has just been named
import network  # noqa: E402
import proxies  # noqa: E402

DIGITS = HERE.parent / "data/digits"
DEMO = "0.3992725936154355"
PROXY_MACHINE = 5
UNARY_TIMEOUT = 5  # seconds, of both shipped configurations
MIB = 1 << 20


class Behind(cluster.ClusterTest):
    """Three servers behind a proxy that ends TLS."""

    machines = PROXY_MACHINE
    even_after = 5
    drain_delay = 5

    def setUp(self):
        super().setUp()
        self.proxy = self.make_proxy()
        self.proxy.start()
        self.addCleanup(self.proxy.stop)
        self.wait_until_serving()

    def prepare(self):
        key, certificate = self.folder / "server.pem.key", self.folder / "server.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                        "-nodes", "-subj", "/CN=kldiv", "-days", "2", "-keyout", key, "-out", certificate, "-addext",
                        f"subjectAltName=DNS:{network.NAME},IP:{self.net.address(PROXY_MACHINE)}"],
                       check=True, capture_output=True)

    def client_flags(self):
        return (f"--server={self.net.address(PROXY_MACHINE)}:443", "--tls", f"--server_ca={self.folder}/server.pem")

    def kldiv(self, *arguments):
        return subprocess.run(self.net.command(0, cluster.BIN / "kldiv", *arguments, *self.client_flags()),
                              check=False, capture_output=True, text=True, timeout=60)

    def wait_until_serving(self):
        end = time.monotonic() + 20
        while (said := self.kldiv("health")).stdout != "SERVING\n":
            self.assertLess(time.monotonic(), end, f"{said.stderr}\n{self.proxy.log.read_text()}")
            self.assertIsNone(self.proxy.process.poll(), self.proxy.log.read_text())
            time.sleep(0.1)

    def assert_demo(self):
        said = self.kldiv("eval", "--reduction=batchmean", DIGITS / "digits_student_logprobs.npy",
                          DIGITS / "digits_teacher_probs.npy")
        self.assertEqual((said.returncode, said.stdout), (0, f"{DEMO}\n"), said.stderr)

    def raw_call(self, *arguments):
        return subprocess.run(
            self.net.command(0, sys.executable, HERE / "raw_calls.py", f"{self.net.address(PROXY_MACHINE)}:443",
                             self.folder / "server.pem", *arguments),
            check=True, capture_output=True, text=True, timeout=120).stdout.strip()

    def bytes_received(self):
        """By the servers' machines."""
        counts = [subprocess.run(self.net.command(i, "cat", "/sys/class/net/eth0/statistics/rx_bytes"), check=True,
                                 capture_output=True, text=True).stdout for i in (1, 2, 3)]
        return sum(map(int, counts))

    def run_once(self, *flags):
        load, document = self.load("--warmup=0s", *flags)
        _, said = load.communicate(timeout=120)
        self.assertEqual(load.returncode, 0, said)
        return json.loads(document.read_text())["runs"][0]

    def lines_of_servers(self):
        return {f"192.0.2.1{i}:": f"{self.net.address(i)}:" for i in (1, 2, 3)}

    def certificate_of_nginx(self):
        return {"/etc/kldiv/tls/server.pem": f"{self.folder}/server.pem",
                "/etc/kldiv/tls/server.key": f"{self.folder}/server.pem.key"}

    def certificate_and_names_of_haproxy(self):
        return {"/etc/kldiv/tls/server.pem": f"{self.folder}/server.pem", "192.0.2.53": network.CLIENT}

    def nginx(self, name, replacements):
        return proxies.Nginx(self.net, PROXY_MACHINE, name, self.folder, {
            "/run/nginx.pid": f"{self.folder}/nginx.pid", "/var/log/nginx": str(self.folder), **self.lines_of_servers(),
            **replacements})

    def haproxy(self, name, replacements):
        return proxies.Haproxy(self.net, PROXY_MACHINE, name, self.folder, {
            "kldiv.example.net": network.NAME, "log /dev/log local0": "log stderr format raw local0", **replacements})


def restart_behind_nginx(test, restart, i):
    """Nothing tells nginx that a server drains; so it is told by hand."""
    test.proxy.mark(test.net.address(i), down=True)
    restart(i)
    test.proxy.mark(test.net.address(i), down=False)


class EndsTls(cluster.Misfortunes, Behind):
    """What is asked of a proxy that ends TLS. It spreads calls, not connections: those need no age, and with one
    HAProxy 2.6 loses an answer now and then, when its end and that of the connection come together."""

    connection_age = 0

    def test_the_demo_gives_the_same_bits(self):
        self.assert_demo()

    def test_every_call_is_unavailable_without_a_server(self):
        for i in (1, 2, 3):
            self.servers[i].stop(signal.SIGKILL)
        self.assertEqual(self.raw_call("codes", "500"), "500 UNAVAILABLE")

    def test_a_header_of_a_million_bytes_goes_no_further_and_harms_nobody(self):
        before = self.bytes_received()
        self.assertEqual(self.raw_call("evaluate", "1000", "0"), "INVALID_ARGUMENT")  # from a server
        self.assertEqual(self.raw_call("evaluate", "1000000", "0"), "UNAVAILABLE")
        self.assertLess(self.bytes_received() - before, 100_000)

        def happenings():
            for _ in range(3):
                self.assertEqual(self.raw_call("evaluate", "1000000", "0"), "UNAVAILABLE")
        self.under_load(5, happenings)

    def test_a_message_larger_than_a_server_takes_is_refused_by_its_name(self):
        self.assertEqual(self.raw_call("evaluate", "0", str(70 * MIB)), "RESOURCE_EXHAUSTED")

    def test_a_message_of_60_mib_passes(self):
        run = self.run_once("--count=2", "--concurrency=1", f"--shape={60 * MIB // 8}")
        print(f"{self.id().split('.', 1)[1]}: {run['latency_us']['max'] / 1e3:.0f} ms", flush=True)

    def test_a_stream_of_a_thousand_pairs_larger_than_a_message_passes(self):
        run = self.run_once("--mode=stream", "--count=1000", "--concurrency=64", "--shape=10000")
        self.assertEqual(run["calls"], 1000)

    def test_a_health_watch_stays_open_longer_than_a_call_may_take(self):
        self.assertEqual(self.raw_call("watch", str(UNARY_TIMEOUT + 4)), "open")


class Nginx(EndsTls):
    def make_proxy(self):
        return self.nginx("nginx/nginx.conf", self.certificate_of_nginx())

    def announce_fourth(self):
        self.proxy.add_server("kldiv4", self.net.address(4))

    def restart(self, i):
        restart_behind_nginx(self, super().restart, i)


class Haproxy(EndsTls):
    def make_proxy(self):
        return self.haproxy("haproxy/haproxy.cfg", self.certificate_and_names_of_haproxy())


class HaproxyAndADrain(Behind):
    connection_age = 0
    drain_delay = 15  # so that a busy machine can tell
    make_proxy = Haproxy.make_proxy

    def test_a_server_that_drains_gets_no_more_calls(self):
        def started():
            return self.metric("kldiv_calls_started_total", 2)[2]

        def happenings():
            time.sleep(2)
            self.servers[2].process.process.terminate()
            begin, grew, before = time.monotonic(), 0, started()
            time.sleep(0.3)
            while (now := started()) != before:
                grew, before = time.monotonic() - begin, now
                self.assertLess(grew, self.drain_delay / 2)
                time.sleep(0.3)
            print(f"{self.id().split('.', 1)[1]}: after {grew:.1f} s", flush=True)
        self.under_load(22, happenings)


class EndsTlsOnBothSides(Behind):
    """The settings that are comments in the shipped files, and servers with TLS."""

    def server_flags(self):
        return (f"--tls_cert={self.folder}/server.pem", f"--tls_key={self.folder}/server.pem.key")

    def test_the_demo_gives_the_same_bits(self):
        self.assert_demo()


class NginxWithTlsInside(EndsTlsOnBothSides):
    def make_proxy(self):
        return self.nginx("nginx/nginx.conf", {
            **self.certificate_of_nginx(), "# grpc_ssl": "grpc_ssl", "pass grpc://": "pass grpcs://",
            "/etc/kldiv/tls/servers.pem": f"{self.folder}/server.pem", "kldiv.example.net": network.NAME})


class HaproxyWithTlsInside(EndsTlsOnBothSides):
    def make_proxy(self):
        shipped = (proxies.DOCKER / "haproxy/haproxy.cfg").read_text()
        for_tls = re.search(r"# (ssl verify .*)", shipped)[1].replace("kldiv.example.net", network.NAME)
        return self.haproxy("haproxy/haproxy.cfg", {
            **self.certificate_and_names_of_haproxy(), "maxconn 4096": f"maxconn 4096 {for_tls}",
            "/etc/kldiv/tls/servers.pem": f"{self.folder}/server.pem"})


class PassesThrough(cluster.Misfortunes, Behind):
    """What is asked of a proxy that passes TLS through. Connections are what it spreads: the servers end them now and
    then, and there have to be some."""

    even_after = cluster.Misfortunes.even_after

    def server_flags(self):
        return (f"--tls_cert={self.folder}/server.pem", f"--tls_key={self.folder}/server.pem.key")

    def prepare(self):
        super().prepare()
        self.net.tell_name(0, network.NAME, self.net.address(PROXY_MACHINE))

    def client_flags(self):
        return (f"--server={network.NAME}:443", "--tls", f"--server_ca={self.folder}/server.pem")

    def under_load(self, seconds, happenings, *flags):
        super().under_load(seconds, happenings, "--connections=30", *flags)

    def announce_fourth(self):
        self.proxy.add_server("kldiv4", self.net.address(4))

    def test_the_demo_gives_the_same_bits(self):
        self.assert_demo()

    def test_a_client_that_asks_for_no_name_is_refused(self):
        self.assertEqual(self.raw_call("codes", "1"), "1 UNAVAILABLE")


class NginxPassingThrough(PassesThrough):
    def make_proxy(self):
        return self.nginx("nginx/passthrough.conf", {"kldiv.example.net": network.NAME})

    def restart(self, i):
        restart_behind_nginx(self, super().restart, i)


class HaproxyPassingThrough(PassesThrough):
    def make_proxy(self):
        return self.haproxy("haproxy/passthrough.cfg", self.lines_of_servers())


SHIPPED = (Nginx, Haproxy, HaproxyAndADrain, NginxWithTlsInside, HaproxyWithTlsInside, NginxPassingThrough,
           HaproxyPassingThrough)


def load_tests(loader, _, pattern):
    """Leaves out what the tests of each proxy derive from."""
    del pattern
    return unittest.TestSuite(loader.loadTestsFromTestCase(case) for case in SHIPPED)


if __name__ == "__main__":
    if not proxies.available():
        print("skipped: nginx or HAProxy is not installed")
        sys.exit(77)
    cluster.main()
