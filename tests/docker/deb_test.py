#!/usr/bin/env python3
"""Makes the Debian package and lives with it in a Debian of its own, under systemd: installs, uses, breaks, upgrades,
removes and purges it. Prints `N passed, N failed`.

Only with KLDIV_SLOW=1, as root, and with debootstrap and systemd-container; else skipped. Needs Debian's mirror."""

import gzip
import os
import pathlib
import re
import shutil
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import debian_root  # noqa: E402  # the folder has just been named

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = ("kldiv-server", "kldiv", "kldiv-load")
INPUT, TARGET = "/srv/digits_student_logprobs.npy", "/srv/digits_teacher_probs.npy"
LOSS = "0.3992725936154355\n"
DEFAULTS = "/etc/default/kldiv-server"
PATIENCE_S = 60
MAX_EXPOSURE = 2.0  # of 10, as systemd counts
# What apt, dpkg and systemd keep for themselves, whatever is installed.
OTHERS = re.compile(r"/(dev|proc|run|sys|tmp|var/(cache|log|tmp)|var/lib/(apt|dpkg)|var/lib/systemd/(random-seed|timers"
                    r"|catalog|ephemeral-trees)|etc/ld\.so\.cache|etc/resolv\.conf|etc/machine-id|\.autorelabel)\b")
EXAMPLE = """
cmake_minimum_required(VERSION 3.24)
project(example CXX)
find_package(kldiv REQUIRED)
add_executable(example example.cc)
target_link_libraries(example PRIVATE kldiv::client)
"""
EXAMPLE_SOURCE = """
#include <kldiv/client.h>
int main() { return kldiv::Client::Create({.server = "127.0.0.1:1"}).ok() ? 0 : 1; }
"""


def setUpModule():
    debian_root.run([ROOT / "dev", "deb"])
    (package,) = (ROOT / "build/deb").glob("kldiv_*.deb")
    Deb.folder = pathlib.Path(unittest.enterModuleContext(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
    Deb.clean = debian_root.DebianRoot(Deb.folder / "clean")
    Deb.clean.bootstrap(["systemd-sysv"])
    for path in (package, *(ROOT / "tests/data/digits").glob("*.npy")):
        shutil.copy(path, Deb.folder / "clean/srv")
    Deb.package = f"/srv/{package.name}"


class Deb:
    """What both tests share."""

    folder = None
    clean = None  # the Debian that tests copy
    package = None  # its path in there


def files_of(root):
    """The paths of all that is not apt's, dpkg's or systemd's own."""
    paths = (f"{folder}/{name}".removeprefix(str(root.folder))
             for folder, folders, files in os.walk(root.folder) for name in folders + files)
    return {path for path in paths if not OTHERS.match(path)}


class Service(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = Deb.clean.copy_to(Deb.folder / "service")
        cls.root.run("apt-get", "install", "-y", "--no-install-recommends", "--download-only", Deb.package)
        cls.system = cls.enterClassContext(cls.root.booted())
        cls.before = files_of(cls.root)

    def setUp(self):
        self.apt("install", "--no-install-recommends", Deb.package)
        self.addCleanup(self.system.run, "dpkg", "--purge", "kldiv")

    def apt(self, *arguments):
        return self.system.run("apt-get", "-y",
                               "-o", "Dpkg::Options::=--force-confold", *arguments)

    def systemctl(self, *arguments):
        return self.system.run("systemctl", *arguments)

    def property(self, name):
        return self.systemctl("show", "--property", name, "--value", "kldiv-server").strip()

    def evaluate(self, *arguments):
        return self.system.run("kldiv", "eval", "--reduction=batchmean", *arguments, INPUT, TARGET)

    def set_defaults(self, text):
        (self.root.folder / DEFAULTS[1:]).write_text(text)

    def test_serves_as_soon_as_it_is_installed_and_answers_right(self):
        self.assertEqual(self.property("ActiveState"), "active")
        self.assertEqual(self.property("UnitFileState"), "enabled")
        self.assertEqual(self.system.run("kldiv", "health"), "SERVING\n")
        self.assertEqual(self.evaluate(), LOSS)
        self.assertEqual(self.evaluate("--local"), LOSS)

    def test_its_load_tester_finds_every_answer_right(self):
        self.system.run("kldiv-load", "--concurrency=4", "--warmup=0s", "--duration=1s", "--max_error_rate=0")

    def test_runs_as_a_user_of_its_own_with_nothing_that_only_root_may(self):
        self.assertEqual(self.property("DynamicUser"), "yes")
        status = self.system.run("cat", f"/proc/{self.property('MainPID')}/status")
        self.assertNotEqual(re.search(r"^Uid:\t(\d+)", status, re.MULTILINE)[1], "0")
        for line in ("CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"):
            self.assertIn(f"\n{line}\n", status)

    def test_its_unit_is_valid_and_little_exposed(self):
        self.assertEqual(self.system.run("systemd-analyze", "verify", "--man=no", "kldiv-server.service"), "")
        told = self.system.run("systemd-analyze", "security", "--no-pager", "kldiv-server.service")
        exposure = re.search(r"Overall exposure level for kldiv-server\.service: ([\d.]+)", told)[1]
        print(f"exposure {exposure} of 10", file=sys.stderr)
        self.assertLessEqual(float(exposure), MAX_EXPOSURE)

    def test_has_a_man_page_of_every_flag_for_every_program(self):
        for program in PROGRAMS:
            with self.subTest(program):
                path = self.root.folder / f"usr/share/man/man1/{program}.1.gz"
                page = gzip.decompress(path.read_bytes()).decode().replace("\\", "")
                self.assertRegex(page, rf"(?m)^\.TH {program.upper()} \"1\"")
                flags = re.findall(r"^  (--\w+)", self.system.run(program, "--help"), re.MULTILINE)
                self.assertGreater(len(flags), 10)
                self.assertEqual([flag for flag in flags if flag not in page], [])

    def test_stops_cleanly(self):
        self.systemctl("stop", "kldiv-server")
        self.assertEqual([self.property(name) for name in ("ActiveState", "Result", "ExecMainStatus")],
                         ["inactive", "success", "0"])

    def test_is_started_again_after_a_crash(self):
        self.systemctl("kill", "--signal=KILL", "kldiv-server")
        end = time.monotonic() + PATIENCE_S
        while (self.property("NRestarts"), self.property("ActiveState")) != ("1", "active"):
            self.assertLess(time.monotonic(), end)
            time.sleep(0.1)
        self.assertEqual(self.evaluate(), LOSS)

    def test_serves_by_the_flags_in_its_file_which_an_upgrade_keeps(self):
        self.set_defaults("KLDIV_LISTEN=127.0.0.1:7070\n")
        before = self.property("MainPID")
        self.apt("install", "--reinstall", Deb.package)
        self.assertNotEqual(self.property("MainPID"), before)
        self.assertEqual(self.evaluate("--server=127.0.0.1:7070"), LOSS)

    def test_is_not_started_again_and_again_with_bad_flags(self):
        self.set_defaults("KLDIV_CPU_THREADS=many\n")
        with self.assertRaises(AssertionError):
            self.systemctl("restart", "kldiv-server")
        self.assertEqual([self.property(name) for name in ("ActiveState", "ExecMainStatus", "NRestarts")],
                         ["failed", "2", "0"])

    def test_stays_disabled_when_the_administrator_has_disabled_it(self):
        self.systemctl("disable", "kldiv-server")
        self.apt("install", "--reinstall", Deb.package)
        self.assertEqual(self.property("UnitFileState"), "disabled")

    def test_a_removal_stops_it_and_keeps_what_the_administrator_wrote(self):
        self.set_defaults("KLDIV_LISTEN=127.0.0.1:7070\n")
        self.apt("remove", "kldiv")
        self.assertEqual(self.property("ActiveState"), "inactive")
        self.assertEqual(self.system.run("cat", DEFAULTS), "KLDIV_LISTEN=127.0.0.1:7070\n")
        self.apt("install", Deb.package)
        self.assertEqual(self.evaluate("--server=127.0.0.1:7070"), LOSS)

    def test_a_purge_leaves_nothing(self):
        self.apt("autoremove", "--purge", "kldiv")
        self.assertEqual(files_of(self.root) ^ self.before, set())
        self.assertEqual(self.property("LoadState"), "not-found")


class Development(unittest.TestCase):
    def test_a_program_finds_the_library_with_what_the_package_suggests(self):
        root = Deb.clean.copy_to(Deb.folder / "development")
        suggested = root.run("dpkg-deb", "--field", Deb.package, "Suggests").strip().split(", ")
        root.run("apt-get", "install", "-y", "--no-install-recommends", Deb.package, *suggested)
        example = root.folder / "srv/example"
        example.mkdir()
        (example / "CMakeLists.txt").write_text(EXAMPLE)
        (example / "example.cc").write_text(EXAMPLE_SOURCE)
        root.run("cmake", "-S", "/srv/example", "-B", "/srv/example/build")
        root.run("cmake", "--build", "/srv/example/build")
        root.run("/srv/example/build/example")


if __name__ == "__main__":
    reason = debian_root.missing() if os.environ.pop("KLDIV_SLOW", "0") not in ("", "0") else "only with KLDIV_SLOW=1"
    if reason:
        print(f"skipped: {reason}")
        sys.exit(77)
    result = unittest.main(exit=False, verbosity=2).result
    failed = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - failed} passed, {failed} failed")
    sys.exit(0 if result.testsRun and not failed else 1)
