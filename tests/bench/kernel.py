#!/usr/bin/python3
"""How fast the CPU kernel is, beside PyTorch's kl_div and numpy. Prints one table.

Times are medians of interleaved rounds: CPU time of the one thread, so that a busy machine matters less; wall time
where two threads are compared with one. Every answer is verified before it is timed; a wrong one ends the run.
Exits with 1 where a bar is missed (the bars hold for AVX-512).

usage: kernel.py [--binary build/release/bin/kernel_benchmark] [--rounds 9] [--instruction_set AVX2]
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import numpy
import torch

SIZES = [10, 1_000, 32_000, 1_000_000, 16_000_000]
SLICE_SECONDS = 0.03  # one measurement of one subject in one round

# At least so many times as fast, by size.
PEER_BARS = {
    "PyTorch": {1_000: 8, 32_000: 4, 1_000_000: 4, 16_000_000: 8},
    "numpy": {1_000: 4, 32_000: 1.2, 1_000_000: 1.2, 16_000_000: 1.8},
}
# `none` and mixed dtypes against the plain sum in the wider dtype, from this size on.
HALF_BAR, HALF_BAR_FROM = 0.5, 1_000
TWO_THREADS_BAR = {16_000_000: 1.35}


def make_pair(elements):
    random = numpy.random.default_rng(1)
    x = numpy.log(random.random(elements, numpy.float32) + numpy.float32(1e-7))
    t = random.random(elements, numpy.float32) + numpy.float32(1e-7)
    return x, t


class Peer:
    """Another implementation of the plain fp32 sum, on one thread."""

    def __init__(self, name, evaluate):
        self.name, self.evaluate = name, evaluate

    def verify(self, x, t):
        wide_x, wide_t = x.astype(numpy.float64), t.astype(numpy.float64)
        terms = wide_t * (numpy.log(wide_t) - wide_x)
        error = abs(float(self.evaluate(x, t)) - terms.sum())
        if not error <= 1e-4 * abs(terms).sum():  # false for NaN
            sys.exit(f"{self.name}: wrong answer at {len(x)} elements, not timed")

    def seconds(self, x, t):
        runs, end = 0, time.perf_counter() + SLICE_SECONDS
        start = time.thread_time()
        while runs == 0 or time.perf_counter() < end:
            self.evaluate(x, t)
            runs += 1
        return (time.thread_time() - start) / runs


def pytorch_peer():
    torch.set_num_threads(1)
    tensors = {}

    def evaluate(x, t):
        # from_numpy shares memory; kept, so that it is not timed.
        if id(x) not in tensors:
            tensors[id(x)] = torch.from_numpy(x), torch.from_numpy(t)
        return torch.nn.functional.kl_div(*tensors[id(x)], reduction="sum")

    return Peer("PyTorch", evaluate)


def numpy_peer():
    return Peer("numpy", lambda x, t: numpy.sum(t * (numpy.log(t) - x)))


class Kernel:
    def __init__(self, binary, instruction_set):
        self.binary = binary
        self.environment = dict(os.environ)
        if instruction_set:
            self.environment["KLDIV_INSTRUCTION_SET"] = instruction_set
        self.instruction_set = None

    def seconds(self, elements, verified):
        """Subject -> (CPU seconds, wall seconds) of one evaluation."""
        environment = dict(self.environment)
        if verified:
            environment["KLDIV_BENCH_VERIFIED"] = "1"
        command = [self.binary, f"--benchmark_filter=/{elements}(/real_time)?$", "--benchmark_format=json",
                   f"--benchmark_min_time={SLICE_SECONDS}"]
        run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if run.returncode != 0:
            sys.exit(run.stderr or f"{self.binary}: exit code {run.returncode}")
        report = json.loads(run.stdout)
        self.instruction_set = report["context"]["instruction_set"]
        return {
            b["name"].split("/")[0]: (b["cpu_time"] * 1e-9, b["real_time"] * 1e-9)
            for b in report["benchmarks"]
        }


def measure(kernel, peers, elements, rounds):
    """Subject or peer -> (CPU seconds, wall seconds), medians."""
    x, t = make_pair(elements)
    for peer in peers:
        peer.verify(x, t)
    samples = {}
    for turn in range(rounds):
        for name, times in kernel.seconds(elements, verified=turn > 0).items():
            samples.setdefault(name, []).append(times)
        for peer in peers:
            samples.setdefault(peer.name, []).append((peer.seconds(x, t), 0))
    return {
        name: tuple(statistics.median(column) for column in zip(*times)) for name, times in samples.items()
    }


class Bars:
    def __init__(self, binding):
        self.binding, self.missed = binding, []

    def judge(self, what, ratio, bar):
        if bar is None:
            return f"{ratio:.2f}"
        if ratio >= bar:
            return f"{ratio:.2f} (>= {bar})"
        self.missed.append(what)
        return f"{ratio:.2f} MISSED {bar}"


def width(subject):
    """The plain sum that a subject is measured against."""
    if "+" not in subject:
        return subject.split(".")[0]
    dtypes = subject.split("+")
    return max(dtypes, key=lambda dtype: (int(dtype[2:]), dtype))


def print_table(results, bars):
    row = lambda cells: print(f"{cells[0]:<26}" + "".join(f"{cell:>18}" for cell in cells[1:]))
    row(["elements"] + [f"{size:,}" for size in SIZES])
    subjects = [name for name in results[SIZES[0]] if name not in PEER_BARS]
    for name in subjects:
        cells = []
        for size in SIZES:
            seconds = results[size][name][0]
            cells.append(f"{seconds * 1e9:.1f} ns" if size == SIZES[0] else f"{size / seconds * 1e-9:.2f} Gelem/s")
        row([name] + cells)
    print()
    for peer, peer_bars in PEER_BARS.items():
        row([f"fp32 x {peer}"] + [
            bars.judge(peer, results[size][peer][0] / results[size]["fp32"][0], peer_bars.get(size)) for size in SIZES
        ])
    for name in subjects:
        if "+" not in name and not name.endswith(".none"):
            continue
        plain = width(name)
        row([f"{name} x {plain}"] + [
            bars.judge(name, results[size][plain][0] / results[size][name][0],
                       HALF_BAR if size >= HALF_BAR_FROM else None) for size in SIZES
        ])
    row(["2 threads x 1 (wall)"] + [
        bars.judge("2 threads", results[size]["fp32"][1] / results[size]["fp32.2threads"][1], TWO_THREADS_BAR.get(size))
        if "fp32.2threads" in results[size] else "" for size in SIZES
    ])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--binary", default="build/release/bin/kernel_benchmark")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--instruction_set", help="instead of the best one of this machine")
    options = parser.parse_args()

    kernel = Kernel(options.binary, options.instruction_set)
    peers = [pytorch_peer(), numpy_peer()]
    results = {size: measure(kernel, peers, size, options.rounds) for size in SIZES}
    bars = Bars(kernel.instruction_set == "AVX-512")
    print(f"{kernel.instruction_set}, one thread, medians of {options.rounds} rounds; "
          f"PyTorch {torch.__version__}, numpy {numpy.__version__}")
    print_table(results, bars)
    if bars.missed and bars.binding:
        sys.exit("missed: " + ", ".join(sorted(set(bars.missed))))


main()
