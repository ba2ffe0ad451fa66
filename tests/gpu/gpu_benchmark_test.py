"""./dev gpu-check without a GPU: that it says so, and that its benchmark, executed on the CPU, prints its table and
writes its JSON file.

Usage: gpu_benchmark_test.py BENCHMARK
"""

import json
import math
import pathlib
import subprocess
import sys
import tempfile
import unittest

BENCHMARK = sys.argv.pop(1)
COMPARISON = pathlib.Path(__file__).with_name("torch_comparison.py")
DTYPES = ("fp16", "bf16", "fp32", "fp64")


def run(*arguments, **environment):
    return subprocess.run([BENCHMARK, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, check=False)


class Report(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "report.json"
            cls.ended = run("--tiny", f"--json={file}")
            cls.report = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None

    def test_ends_well(self):
        self.assertEqual((self.ended.returncode, self.ended.stderr), (0, ""))

    def test_marks_timings_of_an_emulated_device_as_meaningless(self):
        self.assertIs(self.report["timings_are_meaningful"], False)
        self.assertEqual(self.report["device"], "cuda:0 emulated on the CPU")
        self.assertEqual(self.ended.stdout.count("TIMINGS ARE MEANINGLESS"), 2)

    def test_holds_the_kernel_beside_a_copy_for_every_dtype_and_formula(self):
        subjects = [row["subject"] for row in self.report["kernel"]]
        self.assertEqual(subjects, [dtype + formula for dtype in DTYPES for formula in ("", ".log", ".skip", ".none")]
                         + ["fp16+fp64"])

    def test_holds_lanes_and_batches(self):
        self.assertEqual([row["lanes"] for row in self.report["end_to_end"]], [1, 3])
        self.assertEqual([(row["pairs"], row["launches"]) for row in self.report["short_batches"]], [(1, 1), (20, 1)])
        self.assertEqual([row["elements"] for row in self.report["crossover"]["rows"]], [1024, 2048])
        self.assertIn(self.report["crossover"]["threshold_elements"], (None, 1024, 2048))

    def test_holds_finite_positive_numbers(self):
        for section in ("kernel", "end_to_end", "short_batches"):
            for row in self.report[section]:
                for name, value in row.items():
                    if name != "subject":
                        self.assertTrue(math.isfinite(value) and value > 0, f"{section}: {name} = {value}")

    def test_prints_every_row_of_the_report(self):
        first_words = [line.split()[0] for line in self.ended.stdout.splitlines() if line]
        for row in self.report["kernel"]:
            self.assertIn(row["subject"], first_words)
        for heading in ("kernel", "end", "pairs", "elements"):
            self.assertIn(heading, first_words)


class PyTorch(unittest.TestCase):
    def test_is_put_beside_the_kernel(self):
        try:
            import torch  # noqa: F401
        except ImportError:
            self.skipTest("there is no PyTorch")
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "report.json"
            run("--tiny", f"--json={file}")
            subprocess.run([sys.executable, COMPARISON, file, "--device=cpu", "--tiny"], stdout=subprocess.PIPE,
                           check=True)
            report = json.loads(file.read_text(encoding="utf-8"))
        self.assertEqual(len(report["kernel"]), 17)  # all else is kept
        rates = {row["subject"]: row["gb_per_s"] for row in report["pytorch"]["rows"]}
        self.assertGreater(rates["fp32"], 0)
        self.assertGreater(rates["fp64"], 0)


@unittest.skipIf(any(pathlib.Path(device).exists() for device in ("/dev/nvidiactl", "/dev/dxg")), "there is a GPU")
class Command(unittest.TestCase):
    def test_says_at_once_that_there_is_no_gpu(self):
        ended = subprocess.run(["./dev", "gpu-check"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               timeout=60, check=False)
        self.assertEqual(ended.returncode, 1)
        self.assertEqual(ended.stdout, "")
        self.assertEqual(ended.stderr, "dev: no GPU here: neither /dev/nvidiactl nor /dev/dxg exists\n")


class Names(unittest.TestCase):
    def test_are_all_devices(self):
        ended = run("--names", KLDIV_CUDA_HOST_DEVICES="2")
        self.assertEqual((ended.returncode, ended.stdout, ended.stderr),
                         (0, "cuda:0 emulated on the CPU\ncuda:1 emulated on the CPU\n", ""))


class Refusal(unittest.TestCase):
    def test_names_the_call_that_found_no_device(self):
        ended = run("--tiny", KLDIV_CUDA_HOST_DEVICES="0")
        self.assertEqual(ended.returncode, 1)
        self.assertRegex(ended.stderr, r"\Agpu_benchmark: cudaGetDeviceCount.*\n\Z")

    def test_names_the_call_that_failed(self):
        ended = run("--tiny", KLDIV_CUDA_HOST_FAIL="cudaMalloc:1:2")
        self.assertEqual(ended.returncode, 1)
        self.assertRegex(ended.stderr, r"\Agpu_benchmark: .*cudaMalloc.*\n\Z")

    def test_shows_its_usage(self):
        self.assertEqual(run("--huge").returncode, 2)

    def test_says_that_it_cannot_write(self):
        ended = run("--tiny", "--json=/nowhere/report.json")
        self.assertEqual(ended.returncode, 1)
        self.assertIn("/nowhere/report.json", ended.stderr)


if __name__ == "__main__":
    unittest.main()
