#!/usr/bin/python3
"""From a rate of calls and their size to servers; and what grows with them, on paper and by simulation, up to 1,000.

Nothing is measured here: the costs of a call come from ./dev bench replicas (build/replicas.json, else those below, of
the machine in README.md), and everything else from the formulae and the sources that are named beside each. The same
seed prints the same figures.

usage: fleet.py [--rate 20000] [--elements 32000] [--clients 1000] [--seed 1] [--quick] [--json build/fleet.json]
"""
import argparse
import json
import math
import pathlib
import random
import sys

import fleet_model as model

# Elements of an fp32 tensor -> CPU us of a call at a low rate: of the polling thread (connections, and all the work for
# messages of up to 64 KiB), of the lanes, of the whole server.
MEASURED = {1_000: {"polling": 42, "lanes": 0, "all": 42},
            32_000: {"polling": 125, "lanes": 47, "all": 174},
            250_000: {"polling": 407, "lanes": 173, "all": 629}}
CONNECTION_KIB = 64  # what the server reserves for one: server/options.h
BASE_MIB = 120  # and for itself: the same
PCIE_BYTES = 25e9  # a second: PCIe 4 x 16, after its headers
BUSY = 0.6  # the share of its time that the busiest thread may work; the queueing table says why
BURST_SECONDS = 0.1  # of a replica's work, that its queue should hold
LOOKUP_SECONDS = 10  # between a client's lookups: in that time it finds a new replica
READS = 64  # messages that a replica may be reading at a time
KEEPALIVE_SECONDS = 20  # client/connection.cc
FLEETS = (3, 30, 300, 1000)
NAME = "kldiv.default.svc.cluster.local"


def costs_from(report):
    """What ./dev bench replicas has measured on this machine, and where it is from; not its quick form."""
    if report.exists():
        measured = json.loads(report.read_text())["server_cpu_us"]
        if len(measured) == len(MEASURED):
            return {int(elements): cost["open"] for elements, cost in measured.items()}, str(report)
    return MEASURED, "those in fleet.py"


def interpolated(costs, elements, part):
    """Of a call of so many elements: straight lines between the sizes that were measured, the last one prolonged."""
    sizes = sorted(costs)
    if elements <= sizes[0]:
        return costs[sizes[0]][part]
    upper = next((i for i, size in enumerate(sizes) if size >= elements), len(sizes) - 1)
    low, high = sizes[upper - 1], sizes[upper]
    slope = (costs[high][part] - costs[low][part]) / (high - low)
    return costs[low][part] + slope * (elements - low)


def sizing(rate, elements, clients, costs):
    """What so many calls a second of two fp32 tensors of so many elements each need."""
    call_bytes = 2 * 4 * elements
    message_mib = math.ceil(1.01 * call_bytes / 2**20)
    cost = {part: interpolated(costs, elements, part) * 1e-6 for part in ("polling", "lanes", "all")}
    lanes = max(1, math.ceil(cost["lanes"] / cost["polling"]))  # so that the polling thread stays the busiest
    capacity = BUSY / cost["polling"]  # of a server with one polling thread, the default below 16 cores
    replicas = math.ceil(rate / capacity) + 1  # one may fail, or be replaced
    each = rate / (replicas - 1)
    queue_mib = max(2 * message_mib, BURST_SECONDS * each * call_bytes / 2**20)
    return [
        ("tensors in a call, KiB", call_bytes / 1024, "2 tensors x 4 bytes x elements"),
        ("CPU us of a call: polling thread", cost["polling"] * 1e6, "./dev bench replicas, low rate"),
        ("CPU us of a call: lanes", cost["lanes"] * 1e6, "the same"),
        ("CPU us of a call: the whole server", cost["all"] * 1e6, "the same"),
        ("core-seconds for a million calls", cost["all"] * 1e6, "1 us = 1 s / 1,000,000"),
        ("cores busy in all, at most", rate * cost["all"], "rate x CPU of a call"),
        ("calls/s that a replica should get at most", capacity, f"{BUSY:g} / CPU of its polling thread"),
        ("lanes (--cpu_threads) of a replica", lanes, "CPU of the lanes / CPU of the polling thread, rounded up"),
        ("replicas", replicas, "rate / calls/s of one, rounded up, + 1"),
        ("cores of a replica", math.ceil(cost["all"] / cost["polling"]),
         "CPU of the whole / CPU of the polling thread, rounded up"),
        ("network, Gbit/s in all", rate * call_bytes * 8e-9, "rate x bytes of a call x 8"),
        ("queue of a replica, MiB", queue_mib, f"bytes/s of a replica x {BURST_SECONDS:g} s"),
        ("network, Gbit/s each, one missing", each * call_bytes * 8e-9, "/ (replicas - 1)"),
        ("memory of a replica, MiB", memory_mib(clients, queue_mib, message_mib),
         f"{BASE_MIB} + {CONNECTION_KIB} KiB x 1.25 clients + the queue + {READS} messages being read"),
        ("GPUs, if their hosts have them", math.ceil(rate * call_bytes / PCIE_BYTES),
         f"bytes/s / {PCIE_BYTES / 1e9:g} GB/s of PCIe 4, rounded up"),
        ("cores that they would free at most", rate * cost["lanes"], "rate x CPU of the lanes; not measured on a GPU"),
    ], [f"--cpu_threads={lanes}", f"--max_memory={math.ceil(memory_mib(clients, queue_mib, message_mib))}MiB",
        f"--max_queue_bytes={math.ceil(queue_mib)}MiB", f"--max_message_bytes={message_mib}MiB",
        f"--max_connections={clients + clients // 4}", f"--max_connection_age={max(60, LOOKUP_SECONDS * replicas)}s"]


def memory_mib(clients, queue_mib, message_mib):
    """Connections: a quarter more than clients, because old ones have 30 s to end."""
    connections_mib = (clients + clients // 4) * CONNECTION_KIB / 1024
    return BASE_MIB + connections_mib + math.ceil(queue_mib) + READS * message_mib


def connections(clients):
    """Each client has a connection to each replica (round_robin), with one health watch on it (gRFC A17)."""
    rows = []
    for servers in FLEETS:
        in_all = clients * servers
        # A watch is silent while nothing changes. A connection without traffic for 20 s has a PING and its answer:
        # 17 bytes of HTTP/2 each (RFC 9113, 6.7) in TCP/IP packets with 52 bytes of headers, and an empty one.
        pings = in_all / KEEPALIVE_SECONDS
        rows.append((servers, clients, clients * CONNECTION_KIB / 1024, in_all, in_all * CONNECTION_KIB / 2**20,
                     clients / KEEPALIVE_SECONDS, pings * (2 * (17 + 52) + 52) * 8e-6, clients))
    return ("replicas", "connections each", "MiB each", "connections in all", "GiB in all", "pings/s each, all idle",
            "Mbit/s of them in all", "messages when one drains"), rows


def dns_bytes(addresses):
    """Of an answer with so many A records: header, question, and 16 bytes a record, its name being a pointer
    (RFC 1035, 4.1)."""
    return 12 + len(NAME) + 2 + 4 + 16 * addresses


def dns(clients, ages):
    """gRPC 1.51 with c-ares 1.18 sends no EDNS, so that a UDP answer has 512 bytes at most, and asks again over TCP if
    it is cut (tests/cluster/thousand_addresses_test.py), as glibc's getaddrinfo does, and musl's since 1.2.4. TCP's
    limit is 65,535 bytes. A headless service has all its ready pods in DNS, for CoreDNS reads EndpointSlices (100
    endpoints each) and not the Endpoints object, which ends at 1,000."""
    rows = []
    for servers in FLEETS:
        size = dns_bytes(servers)
        for age in ages:
            rate = clients * model.lookups_a_second(servers, age)
            rows.append((servers, size, "UDP" if size <= 512 else "TCP", age, clients / age, rate, rate * size * 8e-6))
    return ("replicas", "bytes of an answer", "over", "connection age, s", "new connections/s each", "lookups/s in all",
            "Mbit/s of them"), rows


def evenness(seed, clients, load, calls):
    """p99 of a call's time in the queue, in service times (CPU us of the polling thread), and the busiest server, of
    `calls` for each server."""
    rows = []
    for servers in FLEETS:
        for name, policy in (("one queue for all", model.one_queue), ("at random", model.at_random),
                             ("round_robin on all", model.round_robin),
                             ("round_robin on 10 of them", lambda *a: model.round_robin(*a, subset=min(10, servers)))):
            figures = []
            for service in (model.fixed, model.mixed):
                rng = random.Random(seed)  # the same arrivals for all
                figures += model.queueing(rng, policy, servers, clients, load, service, max(100, servers) * calls)
            rows.append((servers, name, figures[0], figures[2], "-" if policy is model.one_queue else figures[1]))
    return ("replicas", "clients send", "p99 wait, calls alike", "p99 wait, calls mixed", "busiest / mean"), rows


# What passes between a doubling of the load and the new servers' being in DNS: seconds, each at random in its bounds.
STEPS = {
    "metrics-server has a whole window of the new load (--metric-resolution=15s)": (15, 30),
    "HPA looks (--horizontal-pod-autoscaler-sync-period=15s) and doubles": (0, 15),
    "the pod is scheduled and started (assumed: its image is there; the server takes 0.1 s)": (2, 5),
    "the probe sees it (periodSeconds: 5) and CoreDNS its endpoint (assumed: 1 s)": (1, 6),
    "CoreDNS' cache forgets the old answer (kubeadm: 30 s)": (0, 30),
}


def autoscaling(seed, ages, trials):
    """Seconds from a doubling of the load until clients know of twice the servers. Without --max_connection_age they
    look only when a connection ends otherwise, which may be never."""
    rows, rng = [], random.Random(seed)
    for servers in FLEETS:
        for age in ages:
            told = [sum(rng.uniform(*bounds) for bounds in STEPS.values()) for _ in range(trials)]
            found = [model.finds_new_servers(rng, servers, age, moment) for moment in told]
            rows.append((servers, age, model.percentile(told, 0.5), model.percentile(found, 0.5),
                         model.percentile(found, 0.9), age / (servers + 1)))
    return ("replicas before", "connection age, s", "in DNS after s, p50", "a client knows, p50", "p90",
            "age / (replicas + 1)"), rows


def cell(value):
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 999.5 else f"{value:.3g}"


def print_table(title, heads, rows):
    print(f"\n{title}")
    cells = [heads] + [[cell(value) for value in row] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(heads))]
    for line in cells:
        print("  " + "  ".join(text.rjust(width) for text, width in zip(line, widths)))


def positive(number):
    def parse(text):
        value = number(text)
        if not value > 0:
            raise ValueError
        return value
    parse.__name__ = f"{number.__name__} over 0"  # what argparse says was expected
    return parse


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=positive(float), default=20_000, help="calls a second")
    parser.add_argument("--elements", type=positive(int), default=32_000, help="of each of the two fp32 tensors")
    parser.add_argument("--clients", type=positive(int), default=1_000, help="processes that call")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="short simulations")
    parser.add_argument("--costs", type=pathlib.Path, default=pathlib.Path("build/replicas.json"))
    parser.add_argument("--json", default="build/fleet.json")
    options = parser.parse_args()
    calls, trials = (20, 50) if options.quick else (1_000, 2_000)
    ages = (60, 300, 3600)

    costs, source = costs_from(options.costs)
    rows, flags = sizing(options.rate, options.elements, options.clients, costs)
    print(f"{options.rate:,.0f} calls/s of two fp32 tensors of {options.elements:,} elements from {options.clients:,} "
          f"clients; costs: {source}")
    for what, value, formula in rows:
        print(f"  {what:<44} {cell(value):>10}   {formula}")
    print("  kldiv-server " + " ".join(flags))

    tables = {
        "connections": connections(options.clients),
        "DNS": dns(options.clients, ages),
        f"queueing, servers busy for {BUSY:g} of their time": evenness(options.seed, options.clients, BUSY, calls),
        "autoscaling: the load and the servers double": autoscaling(options.seed, ages, trials),
    }
    for title, (heads, lines) in tables.items():
        print_table(title, heads, lines)
    for step, bounds in STEPS.items():
        print(f"  {bounds[0]} to {bounds[1]} s: {step}")
    pathlib.Path(options.json).write_text(json.dumps({"sizing": rows, "flags": flags, **tables}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
