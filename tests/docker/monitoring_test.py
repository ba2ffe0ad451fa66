#!/usr/bin/env python3
"""Asks a real Prometheus, which scrapes two loaded servers, all that the dashboard and the alert rules ask: every query
has an answer. One server computes on the CPU; the other one, which is built for it, on a device that the CPU stands in
for. Usage: monitoring_test.py BIN_FOLDER; only with KLDIV_SLOW=1 and prometheus, else skipped."""

import contextlib
import json
import math
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

import grpc

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "testing"))
from server_process import ServerProcess  # noqa: E402  # the folder has just been named

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(sys.argv.pop())
RULES = ROOT / "docker/prometheus/alerts.yml"
DASHBOARD = ROOT / "docker/grafana/kldiv.json"
SCRAPES = 3  # a rate needs two
PATIENCE_S = 60


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def running(*command, **options):
    process = subprocess.Popen(command, text=True, **options)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=60)


class Prometheus:
    def __init__(self, address):
        self.address = address

    def get(self, path, **parameters):
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"http://{self.address}/api/v1/{path}?{query}") as answer:
            return json.load(answer)["data"]

    def query(self, expression):
        return self.get("query", query=expression)["result"]

    def wait_until_scraped(self):
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            with contextlib.suppress(urllib.error.URLError):  # not up yet
                scrapes = self.query("count_over_time(kldiv_calls_started_total[1m])")
                if len(scrapes) == 2 and all(float(scrape["value"][1]) >= SCRAPES for scrape in scrapes):
                    return
            time.sleep(0.2)
        raise TimeoutError("Prometheus has not scraped the server")


def cuda_host_bin():
    """The folder of the programs whose CUDA code is executed on the CPU; builds them if need be."""
    folder = ROOT / "build/cuda-host/bin"
    subprocess.run([ROOT / "dev", "build", "--cuda-host"], check=True, stdout=subprocess.DEVNULL)
    return folder


class Failures(threading.Thread):
    """Calls that fail, a few a second, until stop()."""

    def __init__(self, addresses):
        super().__init__()
        self.addresses = addresses
        self.stopped = threading.Event()

    def run(self):
        channels = [grpc.insecure_channel(address) for address in self.addresses]
        while not self.stopped.wait(0.2):
            for channel in channels:
                with contextlib.suppress(grpc.RpcError):
                    channel.unary_unary("/kldiv.v1.KlDivergence/Evaluate")(b"\xff")

    def stop(self):
        self.stopped.set()
        self.join()


class Monitoring(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        servers = []
        for folder, backend in ((BIN, "cpu"), (cuda_host_bin(), "cuda")):
            server = ServerProcess(folder / "kldiv-server", "--listen=127.0.0.1:0", "--metrics_listen=127.0.0.1:0",
                                   f"--backend={backend}", "--cpu_threads=1", stderr=subprocess.DEVNULL)
            servers.append(server)
            cls.addClassCleanup(server.stop)
            # Pairs of more than four tiles go through the lanes, small ones are computed on arrival.
            cls.enterClassContext(running(
                BIN / "kldiv-load", f"--server={server.address}", "--shape=100x1000,1x1000", "--concurrency=2",
                "--warmup=0s", "--duration=10m", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        failures = Failures([server.address for server in servers])
        failures.start()
        cls.addClassCleanup(failures.stop)
        folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        config = pathlib.Path(folder) / "prometheus.yml"
        config.write_text(json.dumps({  # JSON is YAML.
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [{
                "job_name": "kldiv",
                "static_configs": [{"targets": [server.metrics for server in servers]}]}]}))
        cls.prometheus = Prometheus(f"127.0.0.1:{free_port()}")
        cls.enterClassContext(running(
            "prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address={cls.prometheus.address}", "--log.level=error"))
        cls.prometheus.wait_until_scraped()

    def assert_has_data(self, expression):
        # Of a device through which nothing has gone yet, quantiles are NaN.
        values = [float(result["value"][1]) for result in self.prometheus.query(expression)]
        self.assertTrue([value for value in values if not math.isnan(value)], f"no data: {expression}")

    def test_every_query_of_the_dashboard_returns_data(self):
        expressions = [target["expr"] for panel in json.loads(DASHBOARD.read_text())["panels"]
                       for target in panel.get("targets", ())]
        self.assertGreater(len(expressions), 50)
        for expression in expressions:
            with self.subTest(expression):
                self.assert_has_data(expression.replace("$__rate_interval", "1m"))

    def test_what_every_alert_compares_returns_data_and_a_healthy_server_raises_none(self):
        rules = [rule for group in self.prometheus.get("rules")["groups"] for rule in group["rules"]]
        self.assertEqual(len(rules), RULES.read_text().count("- alert:"))
        for rule in rules:
            with self.subTest(rule["name"]):
                compared = re.fullmatch(r"(.+) (?:==|>) [\d.]+", rule["query"])
                self.assertIsNotNone(compared, rule["query"])
                self.assert_has_data(compared[1])
                self.assertEqual(self.prometheus.query(rule["query"]), [])

    def test_the_rules_have_the_form_that_prometheus_checks(self):
        subprocess.run(["promtool", "check", "rules", RULES], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    if os.environ.pop("KLDIV_SLOW", "0") in ("", "0") or not shutil.which("prometheus"):
        print("skipped: only with KLDIV_SLOW=1 and prometheus")
        sys.exit(77)
    unittest.main()
