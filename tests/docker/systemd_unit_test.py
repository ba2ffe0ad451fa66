#!/usr/bin/env python3
"""Compares the systemd unit and its file of flags with what the server says of itself.

Usage: systemd_unit_test.py BIN_FOLDER"""

import pathlib
import re
import subprocess
import sys
import unittest

import deployment
from deployment import ROOT, SLACK_S, seconds

SERVER = pathlib.Path(sys.argv.pop()) / "kldiv-server"


class SystemdUnit(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        lines = (ROOT / "docker/systemd/kldiv-server.service").read_text().splitlines()
        cls.unit = dict(line.split("=", 1) for line in lines if re.match(r"\w+=", line))
        cls.settings = re.findall(r"^#(KLDIV_(\w+)=(.+))$",
                                  (ROOT / "docker/systemd/kldiv-server.default").read_text(), re.MULTILINE)
        cls.defaults = deployment.flags(SERVER)

    def test_stops_by_force_only_what_outlasted_the_longest_drain(self):
        drain = seconds(self.defaults["drain_delay"]) + seconds(self.defaults["drain_timeout"])
        self.assertEqual(seconds(self.unit["TimeoutStopSec"]), drain + SLACK_S)
        self.assertEqual(self.unit["KillSignal"], "SIGTERM")

    def test_lets_in_as_many_connections_as_the_server_may_have(self):
        self.assertEqual(self.unit["LimitNOFILE"], "65536")

    def test_reads_the_file_that_the_package_installs(self):
        self.assertEqual(self.unit["EnvironmentFile"], "-/etc/default/kldiv-server")
        self.assertEqual((ROOT / "docker/deb/conffiles").read_text().split(), ["/etc/default/kldiv-server"])

    def test_shows_only_flags_that_exist_with_values_that_are_valid(self):
        self.assertGreater(len(self.settings), 3)
        for setting, name, value in self.settings:
            with self.subTest(setting):
                self.assertIn(name.lower(), self.defaults)
                if not value.startswith("/"):  # a file that the reader has to make
                    subprocess.run([SERVER, "--check_config", "--max_memory=4GiB", f"--{name.lower()}={value}"],
                                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    unittest.main()
