#!/usr/bin/env python3
"""Compares docker/compose.yaml, and what Prometheus and Grafana are given there, with what the programs say of
themselves. With KLDIV_SLOW=1 docker-compose and promtool read them too.

Usage: compose_test.py BIN_FOLDER"""

import json
import os
import pathlib
import re
import subprocess
import sys
import unittest

import yaml

import deployment
from deployment import ROOT, SLACK_S, port, seconds

BIN = pathlib.Path(sys.argv.pop())
SLOW = os.environ.pop("KLDIV_SLOW", "0") not in ("", "0")
FILE = ROOT / "docker/compose.yaml"
SERVERS = ("server", "server-cuda")


class Compose(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.document = yaml.safe_load(FILE.read_text())
        cls.services = cls.document["services"]
        cls.flags = deployment.flags(BIN / "kldiv-server")
        cls.servers = [(cls.services[name], cls.services[name]["environment"]) for name in SERVERS]

    def test_sets_only_flags_that_exist_to_values_that_start_within_the_memory_limit(self):
        for service, settings in self.servers:
            with self.subTest(service["image"]):
                self.assertGreater(len(settings), 4)
                limit = deployment.size(service["mem_limit"])
                self.assertEqual(deployment.refusal(BIN / "kldiv-server", settings, limit), "")

    def test_waits_for_the_whole_drain_and_a_little_longer(self):
        for service, settings in self.servers:
            with self.subTest(service["image"]):
                delay = settings.get("KLDIV_DRAIN_DELAY", self.flags["drain_delay"])
                self.assertEqual(seconds(service["stop_grace_period"]),
                                 seconds(delay) + seconds(settings["KLDIV_DRAIN_TIMEOUT"]) + SLACK_S)

    def test_asks_the_health_listener_how_the_server_is(self):
        for service, settings in self.servers:
            with self.subTest(service["image"]):
                program, command, server = service["healthcheck"]["test"][1:]
                self.assertEqual((program, command), ("/usr/bin/kldiv", "health"))
                self.assertEqual(server, f"--server={settings['KLDIV_HEALTH_LISTEN']}")

    def test_publishes_the_port_of_calls_to_this_machine_alone(self):
        for service, settings in self.servers:
            with self.subTest(service["image"]):
                number = port(settings["KLDIV_LISTEN"])
                self.assertEqual(service["ports"], [f"127.0.0.1:{number}:{number}"])
        for service in self.services.values():
            for published in service.get("ports", ()):
                self.assertTrue(published.startswith("127.0.0.1:"), published)

    def test_takes_from_our_programs_what_they_do_not_need(self):
        for name in (*SERVERS, "load"):
            with self.subTest(name):
                service = self.services[name]
                self.assertEqual((service["user"], service["read_only"], service["cap_drop"], service["security_opt"]),
                                 ("65532:65532", True, ["ALL"], ["no-new-privileges:true"]))

    def test_reserves_a_gpu_for_the_one_server_that_uses_it(self):
        device, = self.services["server-cuda"]["deploy"]["resources"]["reservations"]["devices"]
        self.assertEqual(device, {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]})
        self.assertNotIn("deploy", self.services["server"])
        self.assertEqual([self.services[name]["environment"]["KLDIV_BACKEND"] for name in SERVERS], ["cpu", "auto"])

    def test_starts_a_server_and_the_load_only_when_its_profile_is_named(self):
        self.assertEqual({name: service.get("profiles") for name, service in self.services.items()},
                         {"server": ["cpu"], "server-cuda": ["cuda"], "load": ["load"], "prometheus": None,
                          "grafana": None})

    def test_loads_a_server_with_flags_that_exist(self):
        service, known = self.services["load"], deployment.flags(BIN / "kldiv-load")
        self.assertEqual(service["entrypoint"], ["/usr/bin/kldiv-load"])
        given = dict(re.fullmatch(r"--(\w+)=(.+)", argument).groups() for argument in service["command"])
        self.assertEqual(set(given) - set(known), set())
        for name in SERVERS:
            alias, = self.services[name]["networks"]["default"]["aliases"]
            number = port(self.services[name]["environment"]["KLDIV_LISTEN"])
            self.assertEqual(given["server"], f"dns:///{alias}:{number}")

    def test_mounts_only_files_and_volumes_that_exist(self):
        sources = [mount.split(":")[0] for service in self.services.values() for mount in service.get("volumes", ())]
        self.assertGreater(len(sources), 4)
        for source in sources:
            with self.subTest(source):
                if source.startswith("."):
                    self.assertTrue((FILE.parent / source).exists())
                else:
                    self.assertIn(source, self.document["volumes"])

    def test_has_prometheus_scrape_each_server_and_read_the_alert_rules(self):
        config = yaml.safe_load((ROOT / "docker/prometheus/prometheus.yml").read_text())
        self.assertEqual(config["rule_files"], ["alerts.yml"])
        self.assertTrue((ROOT / "docker/prometheus/alerts.yml").exists())
        scraped = config["scrape_configs"][0]["dns_sd_configs"][0]
        for service, settings in self.servers:
            with self.subTest(service["image"]):
                self.assertEqual(scraped["names"], service["networks"]["default"]["aliases"])
                self.assertEqual(scraped["port"], port(settings["KLDIV_METRICS_LISTEN"]))

    def test_gives_grafana_the_dashboard_and_the_data_source_that_it_asks(self):
        provisioning = ROOT / "docker/grafana/provisioning"
        source, = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())["datasources"]
        self.assertEqual(source["url"], f"http://prometheus:{self.services['prometheus']['ports'][0].split(':')[-1]}")
        self.assertTrue(source["isDefault"])
        variable, = json.loads((ROOT / "docker/grafana/kldiv.json").read_text())["templating"]["list"]
        self.assertEqual((variable["type"], variable["query"]), ("datasource", source["type"]))
        provider, = yaml.safe_load((provisioning / "dashboards/kldiv.yml").read_text())["providers"]
        mounts = dict(mount.split(":")[:2] for mount in self.services["grafana"]["volumes"])
        self.assertEqual(mounts["./grafana/kldiv.json"], provider["options"]["path"] + "/kldiv.json")
        self.assertEqual(mounts["./grafana/provisioning"], "/etc/grafana/provisioning")

    def test_builds_targets_of_the_dockerfile_that_run_as_the_same_user_and_hold_the_programs_named(self):
        dockerfile = (ROOT / "docker/Dockerfile").read_text()
        targets = re.findall(r"^FROM \S+ AS (\S+)$", dockerfile, re.MULTILINE)
        user, = re.findall(r"^USER (\S+)$", dockerfile, re.MULTILINE)
        self.assertIn('ENTRYPOINT ["/usr/bin/kldiv-server"]', dockerfile)
        for name in (*SERVERS, "load"):
            with self.subTest(name):
                service, build = self.services[name], self.services[name]["build"]
                self.assertEqual((FILE.parent / build["context"]).resolve(), ROOT)
                self.assertEqual(build["dockerfile"], "docker/Dockerfile")
                self.assertIn(build["target"], targets)
                self.assertEqual((service["image"], service["user"]), (f"kldiv:{build['target']}", user))

    @unittest.skipUnless(SLOW, "only with KLDIV_SLOW=1")
    def test_is_valid_for_docker_compose(self):
        older = {name: value for name, value in self.document.items() if name != "name"}  # which Debian's does not know
        subprocess.run(["docker-compose", "--file", "-", "--project-directory", FILE.parent, "--profile", "cpu",
                        "--profile", "cuda", "--profile", "load", "config", "--quiet"],
                       input=yaml.safe_dump(older), text=True, check=True)

    @unittest.skipUnless(SLOW, "only with KLDIV_SLOW=1")
    def test_is_valid_for_prometheus(self):
        subprocess.run(["promtool", "check", "config", ROOT / "docker/prometheus/prometheus.yml"], check=True,
                       stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    deployment.main()
