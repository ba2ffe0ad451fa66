#!/usr/bin/python3
"""What a call costs when one, two or three servers share the calls, and what a million of them cost.

The servers have addresses of their own on this machine and a lane each; kldiv-load takes turns on them with the client
library's round_robin. In each round every fleet gets open-loop load, and the figures are medians of ratios within a
round. What a call costs depends on how busy its server is (calls that overlap share wake-ups) and on who else uses the
cores and their caches. So several servers are compared with one that has all of their calls; with one that has as many
as each of them and nothing beside it; and with one that has as many while servers of others have the rest.
Then closed loops show what the machine's cores, shared with kldiv-load, can do in all.

usage: replicas.py [--rounds 11] [--seconds 1] [--quick] [--build FOLDER] [--json build/replicas.json]
"""
import argparse
import contextlib
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

import load

FLEETS = (1, 2, 3)
# Elements of a tensor -> calls a second over all servers: about a tenth of what one server of one lane can do.
RATES = {1_000: 2_400, 32_000: 900, 250_000: 180}
GROWN = 1.10
OUTSTANDING = 16
CONNECTIONS = 400
SETTLED = 0.3  # seconds before a measurement


class Replica(load.Server):
    """One of several servers, at an address of its own, that computes on one thread."""

    def __init__(self, number):
        begin = time.monotonic()
        super().__init__(load.BUILD / "bin/kldiv-server", "--backend=cpu", "--cpu_threads=1",
                         f"--listen=127.0.0.{number}:0", "--metrics_listen=127.0.0.1:0")
        self.started_in = time.monotonic() - begin

    def cpu_by_part(self):
        """Seconds of CPU time: of the threads that serve connections, of those that compute, and of all."""
        seconds = {"polling": 0, "lanes": 0, "all": 0}
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            name, used = (task / "comm").read_text(), int((task / "schedstat").read_text().split()[0]) * 1e-9
            seconds["all"] += used
            seconds["polling"] += used if name.startswith("kldiv-poll") else 0
            seconds["lanes"] += used if name.startswith("cpu-lane") else 0
        return seconds

    def pairs(self):
        with urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return next(int(float(line.split()[1])) for line in lines if line.startswith("kldiv_pairs_completed_total "))


def load_command(servers, elements, *flags):
    addresses = ",".join(server.address for server in servers)
    return [load.BUILD / "bin/kldiv-load", f"--server=ipv4:{addresses}", f"--shape={elements}", "--warmup=0s",
            "--progress=false", *flags]


def cpu_seconds(servers):
    parts = [server.cpu_by_part() for server in servers]
    return {part: sum(seconds[part] for seconds in parts) for part in parts[0]}


def wait_for_pairs(servers, least, tester):
    deadline = time.monotonic() + 60
    while sum(server.pairs() for server in servers) < least:
        if time.monotonic() > deadline or tester.poll() is not None:
            raise RuntimeError("kldiv-load does not get so far within a minute")
        time.sleep(0.02)


def put_under_load(servers, elements, seconds, *flags):
    """One run of kldiv-load. all, polling, lanes: CPU us of the servers' threads for each call, without the run's
    beginning and end, because each connection costs, too; share: of the busiest server, 1 being the mean."""
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        command = load_command(servers, elements, f"--json={report.name}", "--duration=1h", *flags)
        before = sum(server.pairs() for server in servers)
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as tester:
            try:
                wait_for_pairs(servers, before + 1, tester)
                time.sleep(SETTLED)
                pairs = [server.pairs() for server in servers]
                cpu = cpu_seconds(servers)
                time.sleep(seconds)
                cpu_after = cpu_seconds(servers)  # first, for asking costs, too
                pairs = [server.pairs() - earlier for server, earlier in zip(servers, pairs)]
                tester.send_signal(signal.SIGINT)  # ends the run, with its report
                _, said = tester.communicate(timeout=60)
            finally:
                tester.kill()
        if tester.returncode != 0:  # one wrong or failed answer is enough
            raise RuntimeError(f"kldiv-load ended with {tester.returncode}: {said}")
        measured = json.load(report)["runs"][0]
    costs = {part: (cpu_after[part] - cpu[part]) * 1e6 / sum(pairs) for part in cpu}
    return {**costs, "share": max(pairs) * len(pairs) / sum(pairs), "calls_per_second": measured["achieved_rate"],
            "p50_us": measured["latency_us"]["p50"], "p99_us": measured["latency_us"]["p99"]}


def median(runs, what="all"):
    return statistics.median(run[what] for run in runs)


@contextlib.contextmanager
def under_load_of(servers, elements, *flags):
    """Another kldiv-load that has these servers, which may be none, for itself."""
    if not servers:
        yield None
        return
    before = sum(server.pairs() for server in servers)
    tester = subprocess.Popen(load_command(servers, elements, "--duration=1h", *flags), stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    try:
        wait_for_pairs(servers, before + 1, tester)
        yield tester
    finally:
        tester.kill()
        tester.wait()


def measure(servers, elements, rounds, seconds):
    """Open loops and closed loops: {(kind, servers): a run for each round}. Kinds of open loops: `together`, a client's
    calls take turns on all; `alone`, a server has as many calls as each of those has, and the others have none;
    `beside others`, the others have theirs, too, but from another client."""
    rate = RATES[elements]
    kinds = [("together", count) for count in FLEETS]
    kinds += [(kind, count) for kind in ("alone", "beside others") for count in FLEETS[1:]]
    opened, closed = {kind: [] for kind in kinds}, {count: [] for count in FLEETS}
    for turn in range(rounds):
        shift = turn % len(kinds)
        for kind, count in kinds[shift:] + kinds[:shift]:
            own, offered = (servers[:count], rate) if kind == "together" else (servers[:1], rate // count)
            others = servers[1:count] if kind == "beside others" else []
            with under_load_of(others, elements, f"--rate={rate - offered}"):
                opened[kind, count].append(put_under_load(own, elements, seconds, f"--rate={offered}"))
        for count in FLEETS:
            closed[count].append(
                put_under_load(servers[:count], elements, seconds, f"--concurrency={OUTSTANDING}", "--connections=2"))
    return opened, closed


def judge(elements, opened, closed, bars):
    rate, name = RATES[elements], f"{elements:,} floats"

    def ratio(count, *base):
        return statistics.median(many["all"] / one["all"] for many, one in zip(opened["together", count], opened[base]))
    for (kind, count), runs in opened.items():
        who = f"{count} together" if kind == "together" else f"1 {kind}"
        bars.report(f"{name}, {rate // count:,} calls/s each, {who}: CPU us a call", median(runs),
                    note=f"p50 {median(runs, 'p50_us'):,.0f} us, busiest server {median(runs, 'share'):.2f} x the mean")
    for count in FLEETS[1:]:
        bars.report(f"{name}: {count} servers / 1, the same calls/s in all", ratio(count, "together", 1), most=GROWN)
        bars.report(f"{name}: {count} servers / 1, the same calls/s each", ratio(count, "alone", count))
        bars.report(f"{name}: {count} servers / 1 beside others", ratio(count, "beside others", count), most=GROWN)
    for count, runs in closed.items():
        bars.report(f"{name}, {count} servers, {OUTSTANDING} outstanding: calls/s", median(runs, "calls_per_second"),
                    note=f"server CPU {median(runs):,.1f} us a call")
    for what, runs in ((f"{rate:,} calls/s", opened["together", 1]), (f"{OUTSTANDING} outstanding", closed[1])):
        bars.report(f"{name}, {what}: core-seconds for a million evaluations", median(runs),
                    note=f"polling thread {median(runs, 'polling'):,.1f}, lane {median(runs, 'lanes'):,.1f}")


def kib_of_a_connection(server, count):
    """What a client library's connection, with its health watch, keeps of the server's memory."""
    resident, before = server.resident(), server.pairs()
    with under_load_of([server], 1, f"--connections={count}", f"--rate={count}") as tester:
        wait_for_pairs([server], before + 2 * count, tester)  # The calls take turns: each connection has been used.
        return (server.resident() - resident) / count


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=1, help="of each measurement")
    parser.add_argument("--quick", action="store_true", help="one short round, to see that it runs")
    parser.add_argument("--build", type=pathlib.Path, default=load.BUILD, help="folder of the programs")
    parser.add_argument("--json", default="build/replicas.json")
    options = parser.parse_args()
    load.BUILD = options.build
    rounds, seconds, connections = (1, 0.1, 20) if options.quick else (options.rounds, options.seconds, CONNECTIONS)

    began, busy = time.monotonic(), os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {busy:.1f} before it began; {rounds} rounds")
    bars, costs = load.Bars(), {}
    servers = [Replica(number) for number in range(1, FLEETS[-1] + 1)]
    try:
        for elements, rate in list(RATES.items())[:1 if options.quick else None]:
            opened, closed = measure(servers, elements, rounds, seconds)
            judge(elements, opened, closed, bars)
            costs[elements] = {kind: {part: median(runs, part) for part in ("all", "polling", "lanes")}
                               for kind, runs in (("open", opened["together", 1]), ("busy", closed[1]))}
        idle = Replica(FLEETS[-1] + 1)
        servers.append(idle)
        bars.report(f"KiB that each of {connections} connections keeps", kib_of_a_connection(idle, connections))
        bars.report("ms from a server's start to its ready line",
                    statistics.median(server.started_in for server in servers) * 1e3)
    finally:
        codes = [server.stop() for server in servers]
    if any(codes):
        sys.exit(f"a server did not end cleanly: {codes}")
    print(f"{time.monotonic() - began:.0f} s")
    missed = bars.finish(options.json, rounds=rounds, load_before=busy, server_cpu_us=costs)
    return 0 if options.quick else missed  # A tenth of a second is no measurement.


if __name__ == "__main__":
    sys.exit(main())
