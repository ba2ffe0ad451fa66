#!/usr/bin/python3
"""What a server does when it is offered twice as much as it can take.

The server's only lane takes 5 ms for a batch of at most four pairs, so that its capacity is known and the rest of
the machine is not what limits it. usage: overload.py [--seconds 5] [--json build/overload.json]
"""
import argparse
import sys

from load import Bars, call, kldiv_server

ELEMENTS = 32_000
PAIR_BYTES = 8 * ELEMENTS
QUEUE_BYTES = 16 << 20
RESOURCE_EXHAUSTED = "8"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--json", default="build/overload.json")
    options = parser.parse_args()

    server = kldiv_server("--cpu_threads=1", f"--max_batch_bytes={4 * PAIR_BYTES}", f"--max_queue_bytes={QUEUE_BYTES}",
                          binary="bench/slow_server")
    flags = {"elements": ELEMENTS, "channels": 4, "seconds": options.seconds, "warm_up": 0.5}
    try:
        closed = call(server, outstanding=32, **flags)
        capacity = closed["calls_per_second"]
        opened = call(server, outstanding=4, rate=2 * capacity, **flags)
    finally:
        code = server.stop()
    if code != 0:
        sys.exit(f"the server ended with {code}")

    goodput = opened["calls_per_second"]
    refused = sum(opened["refused"].values())
    drained_ms = QUEUE_BYTES / (PAIR_BYTES * goodput) * 1e3
    bars = Bars()
    bars.report("capacity, calls/s (800 by the lane's time)", capacity)
    bars.report("offered / capacity", (opened["answered"] + refused) / opened["seconds"] / capacity, least=1.9)
    bars.report("goodput / capacity", goodput / capacity, least=0.9)
    bars.report(f"p99 of accepted calls / time to drain the queue ({drained_ms:.0f} ms)",
                opened["p99_us"] / 1e3 / drained_ms, most=1.5)
    bars.report("refused with RESOURCE_EXHAUSTED / refused", opened["refused"].get(RESOURCE_EXHAUSTED, 0) / refused,
                least=1)
    bars.report("refused with pushback / refused", opened["refused_with_pushback"] / refused, least=1)
    return bars.finish(options.json, closed=closed, open=opened)


if __name__ == "__main__":
    sys.exit(main())
