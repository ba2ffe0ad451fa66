"""The bundle's `run`, with doubles of its programs; and that make_bundle.sh refuses programs that are not static.

Usage: run_test.py BUILD_FOLDER
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
RIGHT = "0.3992725936154355"

DOUBLES = {
    "kldiv": f"[ $1 = --version ] || echo {RIGHT}",
    "gpu_benchmark": 'if [ $1 = --names ]; then echo a GPU; else echo measured; echo "{}" >"${1#--json=}"; fi',
    "gpu_check_test": 'echo "tested $KLDIV_BACKEND $KLDIV_REQUIRE_GPU $2"',
    "kldiv-load": 'echo "loaded $1"',
    "kldiv-server": """trap 'kill $!; exit 0' TERM
sleep 60 >/dev/null 2>&1 &
echo "listening on 127.0.0.1:1 metrics= backend=cuda"
wait""",
}


class Run(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.temporary = self.folder / "temporary"
        self.temporary.mkdir()

    def run_with(self, **doubles):
        """What `run` made of DOUBLES and of these in their place; nothing may be left in TMPDIR."""
        (self.folder / "bin").mkdir()
        replaced = {name.replace("kldiv_", "kldiv-"): script for name, script in doubles.items()}
        for name, script in {**DOUBLES, **replaced}.items():
            (self.folder / "bin" / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
            (self.folder / "bin" / name).chmod(0o755)
        with tarfile.open(self.folder / "programs.tar.gz", "w:gz") as archive:
            archive.add(self.folder / "bin", "bin")
        shutil.copy(HERE / "run", self.folder)
        environment = {"PATH": os.environ["PATH"], "TMPDIR": str(self.temporary)}
        ended = subprocess.run([self.folder / "run", "report"], cwd=self.folder, env=environment, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False)
        self.assertEqual(list(self.temporary.iterdir()), [])
        return ended

    def assert_fails(self, ended, text):
        self.assertEqual(ended.returncode, 1)
        self.assertEqual(ended.stderr.splitlines()[-1], f"run: {text}")

    def test_tests_measures_and_serves(self):
        ended = self.run_with()
        self.assertEqual((ended.returncode, ended.stderr), (0, ""))
        report = self.folder / "report"
        self.assertEqual(ended.stdout.splitlines(), [
            "== with a GPU", "== testing", "tested cuda 1 --gtest_filter=-",
            "tested auto 1 --gtest_filter=-DeviceIdentity.*", "== measuring", "measured", "== serving",
            "loaded --server=127.0.0.1:1", f"== all passed; the figures are in {report}"])
        self.assertTrue(report.is_file())

    def test_says_at_once_that_there_is_no_gpu(self):
        ended = self.run_with(gpu_benchmark="echo 'gpu_benchmark: cudaGetDeviceCount: no driver' >&2; exit 1")
        self.assert_fails(ended, "no GPU here that can be used: cudaGetDeviceCount: no driver")
        self.assertEqual(ended.stdout, "")

    def test_fails_where_the_programs_do_not_run(self):
        ended = self.run_with(kldiv="exit 126")
        self.assertEqual(ended.returncode, 1)
        self.assertRegex(ended.stderr,
                         r"\Arun: the programs do not run here, or not in \S+: set TMPDIR to another folder\n\Z")

    def test_fails_with_a_test(self):
        ended = self.run_with(gpu_check_test="[ $KLDIV_BACKEND = cuda ]")
        self.assert_fails(ended, "a test failed with --backend=auto")

    def test_fails_with_the_benchmark(self):
        self.assert_fails(self.run_with(gpu_benchmark="[ $1 = --names ]"), "the benchmark failed")

    def test_fails_when_the_server_does_not_start(self):
        self.assert_fails(self.run_with(kldiv_server="echo a reason >&2; exit 1"), "the server did not start: a reason")

    def test_fails_with_a_wrong_answer(self):
        self.assert_fails(self.run_with(kldiv="[ $1 = --version ] || echo 1"), f"the loss should be {RIGHT} and is 1")

    def test_fails_with_a_wrong_answer_under_load(self):
        self.assert_fails(self.run_with(kldiv_load="exit 1"), "under load, the server failed")

    def test_fails_when_the_server_does_not_end_well(self):
        server = DOUBLES["kldiv-server"].replace("exit 0", "exit 3")
        self.assert_fails(self.run_with(kldiv_server=server), "the server ended with 3: ")


class MakeBundle(unittest.TestCase):
    def test_refuses_a_program_that_is_not_static(self):
        with tempfile.TemporaryDirectory() as folder:
            ended = subprocess.run([HERE / "make_bundle.sh", BUILD, f"{folder}/bundle"], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, check=False)
            self.assertEqual(ended.returncode, 1)
            self.assertRegex(ended.stderr, r"\Amake_bundle.sh: kldiv needs lib\S+\n\Z")
            self.assertFalse(pathlib.Path(folder, "bundle").exists())


if __name__ == "__main__":
    BUILD = sys.argv.pop(1)
    unittest.main()
