#!/usr/bin/python3
"""How the server's cost grows with what it is asked for, and that it does not grow with what it has served.

usage: growth.py [--rounds 5] [--calls 1000000] [--json build/growth.json]
"""
import argparse
import statistics
import sys

from load import Bars, call, kldiv_server

# From message sizes that are all overhead to ones that are none, a factor of the square root of ten apart.
ELEMENTS = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
# From here on the bytes cost more than the call. Named, not found, so that a change shows as a missed bar.
CROSSOVER = 100_000
FLAT = 1.5  # the dearest element beyond it / the cheapest
SAMPLES = 10
GROWN_MIB = 2  # after the first tenth of the calls


def costs(server, rounds):
    """elements -> median CPU ns of the server and wall-clock ns of a call, for each element."""
    seen = {elements: [] for elements in ELEMENTS}
    for _ in range(rounds):
        for elements in ELEMENTS:
            result = call(server, elements=elements, seconds=0.5)
            seen[elements].append((result["server_cpu_us"] * 1e3 / elements, result["p50_us"] * 1e3 / elements))
    return {elements: [statistics.median(column) for column in zip(*rows)] for elements, rows in seen.items()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--json", default="build/growth.json")
    options = parser.parse_args()

    bars = Bars()
    server = kldiv_server("--max_message_bytes=128MiB")
    try:
        table = costs(server, options.rounds)
        for elements, (cpu, wall) in table.items():
            bars.report(f"{elements:,} elements: server CPU ns an element", cpu, note=f"p50 {wall:.2f} ns an element")
        beyond = [cpu for elements, (cpu, _) in table.items() if elements >= CROSSOVER]
        bars.report(f"from {CROSSOVER:,} elements on: dearest / cheapest", max(beyond) / min(beyond), most=FLAT)
    finally:
        codes = [server.stop()]

    server = kldiv_server()
    try:
        resident = []
        for _ in range(SAMPLES):
            call(server, calls=options.calls // SAMPLES, outstanding=64, channels=4)
            resident.append(server.resident() / 1024)
    finally:
        codes.append(server.stop())
    if any(codes):
        sys.exit(f"a server did not end cleanly: {codes}")
    bars.report(f"resident MiB after {options.calls // SAMPLES:,} calls", resident[0])
    bars.report(f"resident MiB more after {options.calls:,} calls", resident[-1] - resident[0], most=GROWN_MIB)
    return bars.finish(options.json, resident_mib=resident)


if __name__ == "__main__":
    sys.exit(main())
