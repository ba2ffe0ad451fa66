#!/usr/bin/python3
"""A long time of everything at once: all methods, dtypes and errors, deadlines, cancels, and connections that die.

A mixed client checks every answer and every status, and kldiv-load, started over and over with other pairs and killed
every third time, does so too. usage: soak.py [--minutes 30] [--bin build/dev/bin] [--quick] [--json build/soak.json]
"""
import json
import os
import pathlib
import random
import re
import statistics
import sys
import tempfile
import time

import rig
from mixed_pairs import MESSAGE_BYTES

MIB = 1 << 20
BACK_S = 15  # until TCP's and gRPC's own closing is over
FULL = {"pairs": 120, "threads": 4, "load_s": 20, "sample_s": 10}
QUICK = {"pairs": 25, "threads": 3, "load_s": 2.5, "sample_s": 0.5}
QUICK_MINUTES = 0.15
# A build with AddressSanitizer keeps freed memory to see who uses it: 256 MiB, which would take long to be full.
ASAN_OPTIONS = "quarantine_size_mb=16"
SANITIZER = re.compile(r"Sanitizer|runtime error:")


def some_load(flags, server, dice):
    mode = dice.choice(("unary", "batch", "stream"))
    shape, pairs = dice.choice((("1000", 16), ("32x1000", 4), ("1000:5,100000:1", 2), ("17", 100), ("7x11x13", 16)))
    dtype = dice.choice(("fp16", "bf16", "fp32", "fp64"))
    return rig.Load(flags.bin, server.ipv4, f"--mode={mode}", f"--shape={shape}", f"--dtype={dtype}",
                    f"--concurrency={dice.choice((10, 30))}", f"--connections={dice.choice((1, 3, 10))}",
                    f"--reduction={dice.choice(('none', 'mean', 'batchmean', 'sum'))}", f"--batch_pairs={pairs}",
                    f"--log_target={dice.choice(('true', 'false'))}", "--timeout=120s")


class Loads:
    """kldiv-load, one run after the other."""

    def __init__(self, flags, server, seconds):
        self.flags, self.server, self.seconds = flags, server, seconds
        self.dice = random.Random(flags.seed)
        self.runs = self.killed = self.right = self.wrong = 0
        self.errors = {}
        self._start()

    def _start(self):
        self.load, self.end = some_load(self.flags, self.server, self.dice), time.monotonic() + self.seconds

    def turn(self):
        if time.monotonic() > self.end:
            self.finish(kill=self.runs % 3 == 2)
            self._start()

    def finish(self, kill=False):
        self.runs += 1
        if kill:
            self.killed += 1
            self.load.kill()
            return
        self.load.wait_until_begun()
        run = self.load.finish()
        self.right += run["ok"]
        self.wrong += run["wrong_answers"]
        for code, count in run["errors"].items():
            self.errors[code] = self.errors.get(code, 0) + count


def soak(flags, server, size, seconds):
    """The samples of resident memory, what the mixed client says, and the loads."""
    mixed = rig.Helper("mixed_client.py", server.ipv4, f"--bin={flags.bin}", f"--pairs={size['pairs']}",
                       f"--threads={size['threads']}", f"--seed={flags.seed}")
    loads, samples = Loads(flags, server, size["load_s"]), []
    begin = time.monotonic()
    while time.monotonic() < begin + seconds and server.process.poll() is None:
        time.sleep(size["sample_s"])
        samples.append(server.resident() / MIB)
        loads.turn()
    loads.finish()
    return samples, json.loads(mixed.end()), loads


def judge_memory(bars, samples, quick):
    """A short run ends while the server still warms up."""
    third = len(samples) // 3
    first, last = statistics.median(samples[:third]), statistics.median(samples[-third:])
    bars.report("resident memory, MiB, median of the last third of the time", last,
                most=None if quick else round(1.05 * first + 8, 1),
                note=f"the first third's {first:.1f}, the highest {max(samples):.1f}, {len(samples)} samples")


def judge(bars, server, descriptors, mixed, loads):
    ended = sum(mixed["ended"].values())
    bars.report("calls and connections of the mixed client", ended, least=1)
    bars.report("answers that were right to the bit", sum(mixed["right"].values()) + loads.right, least=1,
                note=f"{loads.right} of them kldiv-load's, in {loads.runs} runs, {loads.killed} killed")
    bars.report("wrong answers", sum(mixed["wrong"].values()) + loads.wrong, most=0, note=mixed["wrong"] or "")
    unexpected = {**mixed["unexpected"], **loads.errors}
    bars.report("unexpected codes", sum(unexpected.values()), most=0, note=unexpected or "")
    try:
        rig.wait_until(lambda: server.descriptors() <= descriptors, "descriptors", BACK_S)
    except TimeoutError:
        pass
    bars.report("descriptors more than before", server.descriptors() - descriptors, most=0)
    metrics = server.metrics_now()
    admitted, completed = metrics["kldiv_pairs_admitted_total"], metrics["kldiv_pairs_completed_total"]
    bars.report("admitted pairs that are not completed", admitted - completed, most=0, note=f"of {admitted:.0f}")
    bars.report("calls in flight", metrics["kldiv_calls_in_flight"], most=0)


def main():
    parser = rig.flags_of("soak", __doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    flags = parser.parse_args()
    size, minutes = (QUICK, QUICK_MINUTES) if flags.quick else (FULL, flags.minutes)
    os.environ.setdefault("ASAN_OPTIONS", ASAN_OPTIONS)
    bars = rig.Bars()
    with tempfile.TemporaryDirectory() as folder:
        log = pathlib.Path(folder) / "log"
        with open(log, "w", encoding="utf-8") as stderr:
            server = rig.Server(flags.bin / "kldiv-server", f"--max_message_bytes={MESSAGE_BYTES}", stderr=stderr)
        server.metrics_now()  # Its connection stays open.
        descriptors = server.descriptors()
        samples, mixed, loads = soak(flags, server, size, 60 * minutes)
        bars.report("the server's end before its time", server.process.poll() is not None, most=0)
        judge(bars, server, descriptors, mixed, loads)
        judge_memory(bars, samples, flags.quick)
        bars.report("exit code after SIGTERM", server.stop(), most=0)
        reports = SANITIZER.findall(log.read_text(errors="replace"))
        bars.report("sanitizer reports in the log", len(reports), most=0)
        if reports:
            print(log.read_text(errors="replace")[-20_000:])
    for what, count in sorted(mixed["ended"].items()):
        print(f"  {what:<40} {count:>9}")
    return bars.finish(flags.json, minutes=minutes, size=size, mixed=mixed, resident_mib=samples)


if __name__ == "__main__":
    sys.exit(main())
