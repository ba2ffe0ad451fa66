#!/usr/bin/python3
"""kldiv-server beside an empty gRPC server, its own twin that computes nothing, and Python servers.

All servers are up all the time and take turns: in each round every one of them answers the same client and the
same bytes for a fraction of a second, in another order each time. The figures are medians, over the rounds, of
ratios within a round. The null server is measured twice in each round: how far null/null is from 1 is what the
machine's noise makes of a difference that does not exist. Every answer is verified. README.md says how to read it.

usage: side_by_side.py [--rounds 11] [--seconds 0.4] [--quick] [--only SUBSTRING] [--json build/bench.json]
"""
import argparse
import dataclasses
import os
import statistics
import sys
import time

from load import BUILD, PEERS, PYTHON, Bars, Server, call, kldiv_server

NULLS = ("null", "null again")
PYTHONS = ("torch", "numpy", "numpy x 2")


@dataclasses.dataclass
class Subject:
    server: str
    flags: dict = dataclasses.field(default_factory=dict)
    per_call: int = 1  # pairs


@dataclasses.dataclass
class Group:
    """Subjects that are compared with one another, and the bars."""
    name: str
    flags: dict
    subjects: dict
    calls: float = None  # against the null server
    p50: float = None
    python: float = None


def peers(*names):
    return {name: Subject(name.split(" again")[0]) for name in names}


def groups():
    every = NULLS + ("kldiv", "twin") + PYTHONS
    # Like with like: a client of the library has one connection and one thread, as the raw client's loop has.
    library = {"raw x 1": Subject("kldiv", {"channels": 1}),
               "library": Subject("kldiv", {"channels": 1, "via": "library"})}
    made = []
    for elements, outstanding, channels, calls, p50, python in (
            (1_000, 1, 1, 1.15, 0.92, 3), (1_000, 64, 4, 0.80, 1.4, 5), (32_000, 8, 2, 1.1, 1.0, 3),
            (250_000, 8, 2, 1.2, 1.0, 2.2), (2_000_000, 8, 2, 0.92, 1.15, 1.9)):
        subjects = {**peers(*every), **library}
        if outstanding == 64:
            subjects["batch"] = Subject("kldiv", {"method": "batch", "pairs": 64, "outstanding": 8, "channels": 2}, 64)
            subjects["stream"] = Subject("kldiv", {"method": "stream"})
        made.append(Group(f"{elements:,} floats, {outstanding} outstanding, {channels} channels",
                          {"elements": elements, "outstanding": outstanding, "channels": channels}, subjects, calls,
                          p50, python))
    for channels in (1, 4, 16, 64, 256):
        made.append(Group(f"1,000 floats, 256 outstanding, {channels} channels",
                          {"elements": 1_000, "outstanding": 256, "channels": channels}, peers(*NULLS, "kldiv"), 0.90))
    return made


def start_servers():
    return {
        "null": Server(BUILD / "bench/null_server"),
        "kldiv": kldiv_server(),
        "twin": kldiv_server(binary="bench/twin_server"),
        "torch": Server(PYTHON, PEERS / "torch_server.py"),
        "numpy": Server(PYTHON, PEERS / "numpy_server.py"),
        "numpy x 2": Server(PYTHON, PEERS / "numpy_server.py", 2),
    }


def verification(server):
    return "status" if server in ("null", "twin") else "bits" if server == "kldiv" else "close"


def measure(group, servers, rounds, seconds):
    """Subject -> its results, one a round."""
    results = {name: [] for name in group.subjects}
    for turn in range(rounds):
        names = list(group.subjects)
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            subject = group.subjects[name]
            flags = {**group.flags, **subject.flags, "verify": verification(subject.server), "seconds": seconds}
            result = call(servers[subject.server], **flags)
            result["pairs_per_second"] = result["calls_per_second"] * subject.per_call
            results[name].append(result)
    return results


def ratio(results, name, base, what="pairs_per_second"):
    """Median over the rounds. The null server counts by the mean of its two turns."""
    def value(name, turn):
        turns = NULLS if name == "null" and NULLS[1] in results else (name,)
        return statistics.mean(results[n][turn][what] for n in turns)
    rounds = range(len(results["null"]))
    return statistics.median(value(name, turn) / value(base, turn) for turn in rounds)


def print_details(results):
    print(f"  {'':<12}{'calls/s':>10}{'p50 us':>10}{'p99 us':>10}{'server CPU us':>15}{'client CPU us':>15}")
    for name, rounds in results.items():
        median = lambda what: statistics.median(r[what] for r in rounds)
        print(f"  {name:<12}{median('calls_per_second'):>10,.0f}{median('p50_us'):>10,.0f}{median('p99_us'):>10,.0f}"
              f"{median('server_cpu_us'):>15,.1f}{median('client_cpu_us'):>15,.1f}")


def judge(group, results, bars):
    name = group.name
    again = statistics.median(b["calls_per_second"] / a["calls_per_second"]
                              for a, b in zip(results["null"], results["null again"]))
    bars.report(f"{name}: null/null", again)
    bars.report(f"{name}: kldiv/null", ratio(results, "kldiv", "null"), least=group.calls)
    if group.p50 is None:
        return
    bars.report(f"{name}: p50 kldiv/null", ratio(results, "kldiv", "null", "p50_us"), most=group.p50)
    bars.report(f"{name}: p99 kldiv/null", ratio(results, "kldiv", "null", "p99_us"))
    bars.report(f"{name}: kldiv/twin", ratio(results, "kldiv", "twin"), least=0.85)
    against = {peer: ratio(results, "kldiv", peer) for peer in PYTHONS}
    best = min(against, key=against.get)
    bars.report(f"{name}: kldiv/best Python", against[best], least=group.python, note=f"({best})")
    bars.report(f"{name}: library/raw client", ratio(results, "library", "raw x 1"), least=0.95)
    if "batch" in results:
        bars.report("EvaluateBatch, 64 pairs of 1,000 floats: pairs/null's calls", ratio(results, "batch", "null"), least=4)
        bars.report("EvaluateStream, 1,000 floats: messages/null's calls", ratio(results, "stream", "null"), least=1.2)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=0.4, help="of each measurement")
    parser.add_argument("--quick", action="store_true", help="one short round, to see that it runs")
    parser.add_argument("--only", default="", help="groups whose name has this in it")
    parser.add_argument("--json", default="build/bench.json")
    options = parser.parse_args()
    rounds, seconds = (1, 0.1) if options.quick else (options.rounds, options.seconds)

    began, load = time.monotonic(), os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f} before it began; {rounds} rounds")
    bars, details = Bars(), {}
    servers = start_servers()
    try:
        for group in groups():
            if options.only in group.name:
                details[group.name] = results = measure(group, servers, rounds, seconds)
                judge(group, results, bars)
                print_details(results)
    finally:
        codes = {name: server.stop() for name, server in servers.items()}
    if any(codes.values()):
        sys.exit(f"a server did not end cleanly: {codes}")
    print(f"{time.monotonic() - began:.0f} s")
    return bars.finish(options.json, rounds=rounds, load_before=load, measurements=details)


if __name__ == "__main__":
    sys.exit(main())
