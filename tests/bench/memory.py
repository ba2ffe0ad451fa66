#!/usr/bin/python3
"""What memory the server needs, idle and under clients that ask for too much or misbehave.

usage: memory.py [SERVER_BINARY]   prints a table; exit code 1 when a bar is missed
"""

import json
import os
import pathlib
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "memory"))
from http2 import Call  # noqa: E402
from messages import EVALUATE  # noqa: E402
from server import Server  # noqa: E402

BINARY = sys.argv[1] if len(sys.argv) > 1 else str(HERE.parent.parent / "build/release/bin/kldiv-server")
MIB = 1 << 20
SMALL_MEMORY = ["--max_memory=640MiB", "--max_connections=512", "--read_timeout=2s"]
missed = []


def report(what, figure, bar, good):
    print(f"{what:<66} {figure:>22}   {bar:<22} {'' if good else 'MISSED'}", flush=True)
    if not good:
        missed.append(what)


def client(kind, address, seconds, *more):
    return subprocess.Popen([sys.executable, str(HERE / "memory/clients.py"), kind, address, str(seconds), *map(str, more)],
                            stdout=subprocess.PIPE, text=True)


def result(process, seconds=120):
    out, _ = process.communicate(timeout=seconds)
    return json.loads(out)


def report_small(name, small, p99_bar=None):
    report(f"{name}: the small client's failures", f"{sum(small['errors'].values())} of {small['calls']}", "0",
           not small["errors"] and small["calls"] > 0)
    good = p99_bar is None or small["p99_ms"] < p99_bar
    report(f"{name}: its p50 / p99 / worst", f"{small['p50_ms']:.1f} / {small['p99_ms']:.0f} / {small['max_ms']:.0f} ms",
           f"p99 < {p99_bar} ms" if p99_bar else "", good)


def idle():
    server = Server(BINARY)
    resident = server.settle(1)
    server.stop()
    report("idle, all defaults: resident", f"{resident / MIB:.1f} MiB", "< 40 MB", resident < 40e6)


def push():
    server = Server(BINARY, *SMALL_MEMORY)
    before = server.settle(1)
    server.watch_peak()
    # Eight processes: one Python process cannot fill the server.
    pushers = [client("push", server.ipv4, 20, 8) for _ in range(8)]
    small = result(client("small", server.ipv6, 20))
    results = [result(p) for p in pushers]
    server.stop_watching()
    after = server.settle(5)
    code = server.stop()
    errors = {}
    for r in results:
        for name, count in r["errors"].items():
            errors[name] = errors.get(name, 0) + count
    answers = sum(r["answers"] for r in results)
    report("64 connections push 2 x 15 MiB: peak resident", f"{server.peak / MIB:.0f} MiB", "<= 640 MiB + 10 %",
           server.peak <= 704 * MIB)
    report("  answers; errors other than our shed", f"{answers}; {errors or 'none'}", "only RESOURCE_EXHAUSTED",
           answers > 0 and set(errors) <= {"RESOURCE_EXHAUSTED"})
    report_small("  meanwhile", small)
    report("  resident 5 s later, idle before", f"{after / MIB:.1f}, {before / MIB:.1f} MiB", "+ 20 %",
           after <= 1.2 * before)
    report("  exit code after SIGTERM", str(code), "0", code == 0)


def slow_senders():
    server = Server(BINARY, *SMALL_MEMORY)
    calls = [Call(server.ipv4, EVALUATE) for _ in range(200)]
    for call in calls:
        call.begin_message(60 * MIB)
        call.send(b"\0" * 10_000)
    small = client("small", server.ipv6, 8)
    end = time.monotonic() + 8
    while time.monotonic() < end:
        for call in calls:
            try:
                call.send(b"\0")
            except OSError:
                pass
        time.sleep(1)
    report_small("200 connections send 10 kB of 60 MiB, then a byte a second", result(small), 500)
    for call in calls:
        call.close()
    server.stop()


def idle_streams():
    server = Server(BINARY, *SMALL_MEMORY)
    streams = client("idle_streams", server.ipv4, 8, 12)
    time.sleep(1)
    small = result(client("small", server.ipv4, 6))
    report_small("12 idle streams from the same address", small, 3000)
    report("  the longest of its calls", f"{small['max_ms']:.0f} ms", "< read_timeout + 1 s", small["max_ms"] < 3000)
    result(streams)
    server.stop()


def never_read():
    server = Server(BINARY, *SMALL_MEMORY, "--write_timeout=5s")
    before = server.settle(1)
    server.watch_peak()
    readers = [client("never_read", server.ipv4, 14, 4) for _ in range(4)]
    small = result(client("small", server.ipv6, 6))
    report_small("16 clients never read their 30 MiB answers", small)
    server.stop_watching()
    report("  peak resident", f"{server.peak / MIB:.0f} MiB", "<= 640 MiB + 10 %", server.peak <= 704 * MIB)
    after = server.settle(7)
    report("  resident after --write_timeout, idle before", f"{after / MIB:.1f}, {before / MIB:.1f} MiB", "+ 20 %",
           after <= 1.2 * before)
    for reader in readers:
        result(reader)
    server.stop()


def small_limit():
    group = pathlib.Path("/sys/fs/cgroup/memory/kldiv-bench")
    limit, members = group / "memory.limit_in_bytes", group / "cgroup.procs"
    if not group.parent.exists():
        group = pathlib.Path("/sys/fs/cgroup/kldiv-bench")
        limit, members = group / "memory.max", group / "cgroup.procs"
    try:
        group.mkdir()
        limit.write_text(str(512 * MIB))
    except OSError as error:
        print(f"all defaults under a limit of 512 MiB: not measured, no control group can be made here ({error})")
        return
    try:
        server = Server(BINARY, preexec=lambda: members.write_text(str(os.getpid())))
        pushers = [client("push", server.ipv4, 8, 8) for _ in range(2)]
        small = result(client("small", server.ipv6, 8))
        answers = sum(result(p)["answers"] for p in pushers)
        code = server.stop()
        report("all defaults under a limit of 512 MiB: pushed answers, exit code", f"{answers}, {code}", "some, 0",
               answers > 0 and code == 0)
        report_small("  meanwhile", small)
    finally:
        for _ in range(50):
            try:
                group.rmdir()
                break
            except OSError:
                time.sleep(0.1)


def main():
    threading.stack_size(1 << 20)
    print(f"{'what':<66} {'measured':>22}   bar")
    for scenario in (idle, push, slow_senders, idle_streams, never_read, small_limit):
        scenario()
    print(f"{len(missed)} bars missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
