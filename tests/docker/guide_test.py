#!/usr/bin/env python3
"""Compares the sections on images, Compose and Kubernetes of docker/README.md with the files and programs that they
tell of. manifests_test.py has kustomize take their YAML.

Usage: guide_test.py BIN_FOLDER, which has tests/print_service_config beside it; with KLDIV_SLOW=1 it takes promtool"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest
import urllib.request

import yaml

import deployment
from deployment import ROOT

sys.path.insert(0, str(ROOT / "tests/testing"))
from server_process import ServerProcess  # noqa: E402  # the folder has just been named

BIN = pathlib.Path(sys.argv.pop())
SLOW = os.environ.pop("KLDIV_SLOW", "0") not in ("", "0")
MARKS = {"Images": "# needs Docker", "Compose": "# needs Docker", "Kubernetes": "# needs a cluster"}


class Guide(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.sections = {title: deployment.guide(title) for title in MARKS}
        cls.prose = "".join(prose for prose, _ in cls.sections.values())
        cls.shell = [(title, text) for title, (_, blocks) in cls.sections.items() for language, text in blocks
                     if language == "sh"]
        manifest = yaml.safe_load((ROOT / "docker/kubernetes/base/deployment.yaml").read_text())
        cls.pod = manifest["spec"]["template"]["spec"]
        cls.settings = {each["name"]: each["value"] for each in cls.pod["containers"][0]["env"]}

    def blocks(self, language):
        return [text for _, blocks in self.sections.values() for each, text in blocks if each == language]

    def test_commands_for_docker_or_a_cluster_are_marked_and_have_the_form_of_commands(self):
        self.assertGreater(len(self.shell), 2)
        for title, text in self.shell:
            with self.subTest(text):
                needed = bool(re.search(r"^(docker|kubectl) ", text, re.MULTILINE))
                self.assertEqual(text.startswith(MARKS[title]), needed)
                subprocess.run(["bash", "-n"], input=text, text=True, check=True)

    def test_commands_name_files_profiles_and_services_that_exist(self):
        services = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())["services"]
        profiles = {profile for service in services.values() for profile in service.get("profiles", ())}
        text = "".join(text for _, text in self.shell)
        self.assertEqual(set(re.findall(r"--profile (\S+)", text)) - profiles, set())
        self.assertEqual(set(re.findall(r"compose -f \S+ run --rm (\S+)", text)) - set(services), set())
        for path in re.findall(r" (?:compose -f|-k) (\S+)", text) + re.findall(r"`(docker/[\w./]+)`", self.prose):
            if "/mine" not in path:  # the reader's own
                self.assertTrue((ROOT / path).exists(), path)

    def test_names_only_flags_and_settings_that_exist(self):
        known = {flag for program in ("kldiv-server", "kldiv") for flag in deployment.flags(BIN / program)}
        named = re.findall(r"`--(\w+)", self.prose) + [name.lower() for name in re.findall(r"KLDIV_(\w+)", self.prose)]
        self.assertGreater(len(named), 5)
        self.assertEqual(set(named) - known, set())

    def test_tells_the_times_and_the_port_that_the_manifests_have(self):
        told = dict(re.findall(r"`--(drain_\w+)`,\s(\d+ s)", self.prose))
        self.assertEqual(told, {name: self.settings[f"KLDIV_{name.upper()}"].replace("s", " s")
                                for name in ("drain_delay", "drain_timeout")})
        self.assertIn(f"`terminationGracePeriodSeconds`, {self.pod['terminationGracePeriodSeconds']} s", self.prose)
        self.assertIn(f"`--health_listen`, port {deployment.port(self.settings['KLDIV_HEALTH_LISTEN'])},", self.prose)
        probes = self.pod["containers"][0]
        for name, text in (("readiness", "after {} s (readiness)"), ("liveness", "after {} s (liveness)")):
            probe = probes[f"{name}Probe"]
            self.assertIn(text.format(probe["periodSeconds"] * probe["failureThreshold"]), self.prose)
        self.assertEqual(self.settings["KLDIV_MAX_CONNECTION_AGE"], "1m")
        self.assertIn("`--max_connection_age`, here a minute", self.prose)

    def test_shows_the_service_config_that_the_clients_here_have(self):
        shown, = self.blocks("json")
        used = subprocess.run([BIN.parent / "tests/print_service_config", "0", "1"], check=True, capture_output=True)
        self.assertEqual(json.loads(shown), json.loads(used.stdout))

    def adapter_rule(self):
        return yaml.safe_load(next(text for text in self.blocks("yaml") if "seriesQuery" in text))["rules"][0]

    def test_scales_on_a_metric_that_the_server_has(self):
        rule = self.adapter_rule()
        asked = re.findall(r"kldiv_\w+", rule["seriesQuery"] + rule["metricsQuery"])
        self.assertGreater(len(asked), 2)
        server = ServerProcess(BIN / "kldiv-server", "--listen=127.0.0.1:0", "--metrics_listen=127.0.0.1:0",
                               "--backend=cpu", stderr=subprocess.DEVNULL)
        self.addCleanup(server.stop)
        with urllib.request.urlopen(f"http://{server.metrics}/metrics") as answer:
            shown = answer.read().decode()
        for name in asked:
            self.assertRegex(shown, rf"(?m)^{name}[ {{]")

    @unittest.skipUnless(SLOW, "only with KLDIV_SLOW=1")
    def test_asks_prometheus_in_its_own_language(self):
        query = self.adapter_rule()["metricsQuery"].replace("<<.GroupBy>>", "pod").replace("<<.LabelMatchers>>", "")
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
            yaml.safe_dump({"groups": [{"name": "adapter", "rules": [{"record": "wait", "expr": query}]}]}, file)
            subprocess.run(["promtool", "check", "rules", file.name], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    deployment.main()
