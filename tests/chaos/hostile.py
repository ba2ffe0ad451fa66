#!/usr/bin/python3
"""Input that lies about its size, its shape or its form, in messages, in gRPC's frames and in HTTP/2's headers.

Each is sent 20 times; the code has to be the right one, soon, and the server's memory may not follow the lie. All the
time a client calls and newcomers come and go beside it. usage: hostile.py [--bin build/release/bin] [--quick]
"""
import json
import pathlib
import re
import statistics
import sys
import time

import rig
import grpc
import hostile_frames
from hostile_messages import STREAM, lying_messages

MIB = 1 << 20
TIMES, QUICK_TIMES = 20, 2
MEDIAN_MS, LONGEST_MS, HEADERS_MS = 10, 200, 100
# All messages here are at most 2 MiB, and at most 1 MB of headers is sent: what a lie claims is far more.
GROWTH_MIB = 8
# A batch of as many pairs as are allowed really has them, and each takes 256 bytes while it is under way.
BATCH_MIB = 16
READ_TIMEOUT_S = 1


class Peak:
    """How far resident memory has risen since."""

    def __init__(self, server):
        self.folder = pathlib.Path(f"/proc/{server.process.pid}")
        (self.folder / "clear_refs").write_text("5")  # The highest is now what it is.
        self.begin = self._highest()

    def mib(self):
        return (self._highest() - self.begin) / 1024

    def _highest(self):
        return int(re.search(r"VmHWM:\s+(\d+) kB", (self.folder / "status").read_text()).group(1))


class Group:
    """Cases that are judged alike; how long they take only when it was measured often enough."""

    def __init__(self, bars, server, name, times, median_ms, longest_ms):
        self.bars, self.server, self.name, self.times = bars, server, name, times
        self.median_ms, self.longest_ms = (None, None) if times == QUICK_TIMES else (median_ms, longest_ms)
        self.longest, self.grown, self.others = (0, ""), {}, {}

    def judge(self, what, send, allowed):
        """`send`: how it ended, and after how many seconds."""
        peak = Peak(self.server)
        outcomes, times = zip(*(send() for _ in range(self.times)))
        growth, times = peak.mib(), [1e3 * seconds for seconds in times]
        self.longest = max(self.longest, (max(times), what))
        if growth > (BATCH_MIB if "empty pairs" in what else GROWTH_MIB):
            self.grown[what] = growth
        if not set(outcomes) <= set(allowed):
            self.others[what] = sorted(set(outcomes))
        self.bars.report(f"{self.name}: {what}: median, ms", statistics.median(times), most=self.median_ms,
                         note=f"longest {max(times):.1f}, {'/'.join(sorted(set(outcomes)))}, memory +{growth:.1f} MiB")

    def finish(self):
        self.bars.report(f"{self.name}: ended otherwise than they have to", len(self.others), most=0,
                         note=self.others or "")
        self.bars.report(f"{self.name}: longest of all, ms", self.longest[0], most=self.longest_ms,
                         note=self.longest[1])
        self.bars.report(f"{self.name}: took more than {GROWTH_MIB} MiB ({BATCH_MIB} MiB: batches of empty pairs)",
                         len(self.grown), most=0, note=self.grown or "")


def sender(channel, path, message):
    """A function that sends it and tells how that ended."""
    if path == STREAM:
        method = channel.stream_stream(path)

        def ask():
            call = method(iter([message]), timeout=rig.PATIENCE_S)
            for _ in call:
                pass
    else:
        method = channel.unary_unary(path)

        def ask():
            method(message, timeout=rig.PATIENCE_S)

    def send():
        begin, code = time.monotonic(), "OK"
        try:
            ask()
        except grpc.RpcError as error:
            code = error.code().name
        return code, time.monotonic() - begin
    return send


def messages(bars, server, times):
    group = Group(bars, server, "message", times, MEDIAN_MS, LONGEST_MS)
    with grpc.insecure_channel(server.ipv4, [("grpc.max_receive_message_length", -1)]) as channel:
        grpc.channel_ready_future(channel).result(rig.PATIENCE_S)
        for what, path, message, code in lying_messages():
            group.judge(what, sender(channel, path, message), {code})
    group.finish()


def frames(bars, server, times):
    group = Group(bars, server, "frame", times, MEDIAN_MS, LONGEST_MS)
    for what, data, allowed in hostile_frames.lying_frames():
        group.judge(what, lambda data=data: hostile_frames.send(server.ipv4, data), allowed)
    group.finish()


def headers(bars, server, times):
    group = Group(bars, server, "header", times, HEADERS_MS, HEADERS_MS)
    for what, data in hostile_frames.lying_headers():
        group.judge(what, lambda data=data: hostile_frames.send(server.ipv4, data), hostile_frames.REFUSED)
    group.finish()


def unfinished(bars, server):
    """gRPC tells nobody how long a message is that has not come: it ends by the time that it may take."""
    group = Group(bars, server, "unfinished", 1, 1e3 * (READ_TIMEOUT_S + 0.5), 1e3 * (READ_TIMEOUT_S + 1))
    for size in ((1 << 32) - 1, (64 << 20) + 1, 60 << 20):
        data = hostile_frames.unfinished(size)
        group.judge(f"4 bytes of {size:,}", lambda data=data: hostile_frames.send(server.ipv4, data),
                    {"DEADLINE_EXCEEDED"})
    group.finish()


def main():
    flags = rig.flags_of("hostile", __doc__.partition("\n")[0]).parse_args()
    bars, times = rig.Bars(), QUICK_TIMES if flags.quick else TIMES
    server = rig.Server(flags.bin / "kldiv-server", f"--read_timeout={READ_TIMEOUT_S}s")
    visitors = rig.Helper("visitors.py", server.ipv4)
    messages(bars, server, times)
    frames(bars, server, times)
    headers(bars, server, times)
    unfinished(bars, server)
    others = json.loads(visitors.end())
    bars.report("failed calls of others", sum(others["errors"].values()), most=0,
                note=f"of {others['calls']} and {others['newcomers']} newcomers'; the longest "
                     f"{others['longest_s']:.2f} s {others['errors'] or ''}")
    bars.report("exit code", server.stop(), most=0)
    return bars.finish(flags.json, times=times)


if __name__ == "__main__":
    sys.exit(main())
