#!/usr/bin/python3
"""One client floods the server with pairs of 30 MiB while another calls with 1,000 floats, one call after the other.

They come from different addresses, so that they have a share each. gRPC's own empty server has the same flood, in
turns, to show what of the wait is the machine's. usage: flood.py [--runs 5] [--bin build/release/bin] [--quick]
"""
import json
import statistics
import subprocess
import sys

import rig
import load

ELEMENTS = 15 << 18  # two tensors of 15 MiB
FLOOD = 7  # connections, and calls under way: all that the queue takes of one client by default
WAIT_MS = 50
FLOOD_FIRST_S, FLOOD_LAST_S = 1.5, 1  # before and after what is measured


def batch_ms(flags, server):
    """How long one pair of the flood is computed, on a server that has nothing else to do."""
    alone = rig.Load(flags.bin, server.addresses[-1], f"--shape={ELEMENTS}", "--concurrency=1")
    alone.wait_until_begun()
    return alone.finish()["server_us"]["compute"]["p50"] / 1e3


def small_calls(server, verify, seconds):
    """What a client with 1,000 floats measures while the flood goes on, and what the flood does."""
    command = [load.BUILD / "bench/bench_client", f"--server={server.addresses[-1]}", f"--elements={ELEMENTS}",
               f"--channels={FLOOD}", f"--outstanding={FLOOD}", f"--verify={verify}",
               f"--seconds={FLOOD_FIRST_S + seconds + FLOOD_LAST_S}"]
    flood = rig.spawn(*command, stdout=subprocess.PIPE, text=True)
    small = load.call(server, elements=1000, verify=verify, warm_up=FLOOD_FIRST_S, seconds=seconds)
    said, _ = flood.communicate(timeout=rig.PATIENCE_S)
    return small, json.loads(said)


def judge(flags, bars, batch, ours, others, code):
    def p99_ms(small, flood):
        return small["p99_us"] / 1e3

    def median(results, what):
        return statistics.median(what(small, flood) for small, flood in results)

    bars.report("one batch's computing, ms", batch)
    for name, results in (("the flood: pairs/s", ours), ("  at the null server", others)):
        bars.report(name, median(results, lambda small, flood: flood["calls_per_second"]), least=1)
    bars.report("the small client's p99, ms", median(ours, p99_ms),
                most=None if flags.quick else round(WAIT_MS + batch, 1),
                note=", ".join(f"{p99_ms(*run):.1f}" for run in ours))
    bars.report("  its p50, ms", median(ours, lambda small, flood: small["p50_us"] / 1e3))
    bars.report("  calls/s", median(ours, lambda small, flood: small["calls_per_second"]), least=1)
    bars.report("with the null server: p99, ms", median(others, p99_ms),
                note=", ".join(f"{p99_ms(*run):.1f}" for run in others))
    bars.report("  p50, ms", median(others, lambda small, flood: small["p50_us"] / 1e3))
    bars.report("exit code", code, most=0)
    return bars.finish(flags.json, batch_ms=batch, ours=ours, null=others)


def main():
    parser = rig.flags_of("flood", __doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    flags = parser.parse_args()
    load.BUILD = flags.bin.parent
    runs, seconds = (1, 0.5) if flags.quick else (flags.runs, 5)
    server = load.Server(flags.bin / "kldiv-server", "--listen=[::1]:0,127.0.0.1:0", "--metrics_listen=")
    null = load.Server(flags.bin.parent / "bench/null_server")
    ours, others = [], []
    try:
        batch = batch_ms(flags, server)
        for _ in range(runs):
            ours.append(small_calls(server, "bits", seconds))
            others.append(small_calls(null, "status", seconds))
    finally:
        code = server.stop()
        null.stop()
    return judge(flags, rig.Bars(), batch, ours, others, code)


if __name__ == "__main__":
    sys.exit(main())
