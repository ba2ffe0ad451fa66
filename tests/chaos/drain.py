#!/usr/bin/python3
"""SIGTERM under full load, again and again: what was accepted is answered, what was not is refused cleanly.

usage: drain.py [--rounds 20] [--bin build/release/bin] [--quick] [--json build/drain.json]

Each round starts a server and gives it calls, batches and streams through the client library without retries, raw gRPC
clients that call again at once on the same connection whatever they are told, health watchers, and streams that are
open and say nothing. A second server is there for clients that retry. Nothing accepted is lost when the answers that
the clients have counted are as many as the pairs that the server has admitted.
"""
import collections
import statistics
import sys
import threading
import time

import grpc
import numpy

import rig
from messages import EVALUATE, STREAM, pair

SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"  # HealthCheckResponse
DRAIN_TIMEOUT_S, WELL_BEFORE_S = 30, 10
CONNECTIONS = 8  # of the watchers and the idle streams
FULL = {"hammers": 4, "watchers": 300, "streams": 100}
QUICK = {"hammers": 2, "watchers": 20, "streams": 10}
WATCHERS_END = (NOT_SERVING, "UNAVAILABLE", "shutting down")  # as they are told one after the other
STREAMS_END = ("UNAVAILABLE", "draining")
LOADS = {  # what kldiv-load does, without retries
    "calls": ("--concurrency=32", "--connections=4", "--shape=32x1000"),
    "batches": ("--mode=batch", "--batch_pairs=16", "--concurrency=4", "--shape=1000"),
    "streams": ("--mode=stream", "--concurrency=64", "--connections=4", "--shape=1000"),
}
PAIRS_A_CALL = {"calls": 1, "batches": 16, "streams": 1}
RETRIED = {
    "calls": ("--retry", "--concurrency=16", "--connections=4", "--shape=32x1000"),
    "streams": ("--retry", "--mode=stream", "--concurrency=32", "--connections=4", "--shape=1000"),
}


def channel(address, number):
    # A number of its own gives each channel a connection of its own.
    return grpc.insecure_channel(address, options=[("grpc.enable_retries", 0), ("kldiv.channel", number)])


class Hammer:
    """Threads that call without a pause, each on a connection of its own, until the server cannot be reached."""

    def __init__(self, address, threads):
        self.outcomes = collections.Counter()  # (code, text)
        self.lock = threading.Lock()
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(channel(address, n),)) for n in range(threads)]
        for thread in self.threads:
            thread.start()

    def _run(self, connection):
        call = connection.unary_unary(EVALUATE, request_serializer=bytes, response_deserializer=bytes)
        message, seen = pair(1000, numpy.float32), collections.Counter()
        while not self.stopped.is_set():
            try:
                call(message, timeout=30)
                seen["OK", ""] += 1
            except grpc.RpcError as error:
                seen[error.code().name, error.details()] += 1
        connection.close()
        with self.lock:
            self.outcomes.update(seen)

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join()


class Quiet:
    """Health watchers, and streams that are open and say nothing."""

    def __init__(self, address, watchers, streams):
        self.over = threading.Event()
        self.channels = [channel(address, 100 + n) for n in range(CONNECTIONS)]
        self.watchers = [self.channels[n % CONNECTIONS].unary_stream(rig.WATCH)(b"") for n in range(watchers)]
        self.streams = [self.channels[n % CONNECTIONS].stream_stream(STREAM)(self._nothing()) for n in range(streams)]
        for watcher in self.watchers:
            assert next(watcher) == SERVING

    def _nothing(self):
        self.over.wait()
        yield from ()

    def finish(self):
        """How each watcher and each stream ended: (what it was told, code, text) -> how many."""
        ends = [collections.Counter(self._end(call) for call in calls) for calls in (self.watchers, self.streams)]
        self.over.set()
        for each in self.channels:
            each.close()
        return ends

    @staticmethod
    def _end(call):
        told = []
        try:
            told.extend(call)
        except grpc.RpcError as error:
            return (*told, error.code().name, error.details())
        return (*told, "OK", "")


class LastScrape:
    """The server's metrics as they were when it last showed them."""

    def __init__(self, server):
        self.server, self.metrics = server, {}
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        try:
            while self.server.process.poll() is None:
                self.metrics = self.server.metrics_now()
                time.sleep(0.05)
        except OSError:
            pass  # it is gone

    def join(self):
        self.thread.join()
        return self.metrics


def drain_once(programs, other, size):
    """One round: what was seen."""
    server = rig.Server(programs / "kldiv-server", f"--drain_timeout={DRAIN_TIMEOUT_S}s")
    admitted_by_other = -other.metrics_now()["kldiv_pairs_admitted_total"]
    loads = {name: rig.Load(programs, server.ipv4, *flags) for name, flags in LOADS.items()}
    both = f"ipv4:{server.ipv4},{other.ipv4}"
    retried = {name: rig.Load(programs, both, *flags) for name, flags in RETRIED.items()}
    hammer = Hammer(server.ipv4, size["hammers"])
    quiet = Quiet(server.ipv4, size["watchers"], size["streams"])
    for load in (*loads.values(), *retried.values()):
        load.wait_until_begun()
    rig.wait_until(lambda: server.metrics_now()["kldiv_calls_in_flight"] > size["streams"], "all streams are open")

    scrape = LastScrape(server)
    begin = time.monotonic()
    code = server.stop()
    seconds = time.monotonic() - begin
    last = scrape.join()
    hammer.stop()
    watchers, streams = quiet.finish()
    runs = {name: load.finish() for name, load in loads.items()}
    retried_runs = {name: load.finish() for name, load in retried.items()}
    admitted_by_other += other.metrics_now()["kldiv_pairs_admitted_total"]
    return {
        "exit_code": code, "seconds": seconds, "admitted": last["kldiv_pairs_admitted_total"],
        "completed": last["kldiv_pairs_completed_total"], "refused": last["kldiv_calls_refused_total"],
        "admitted_by_other": admitted_by_other, "hammer": hammer.outcomes, "watchers": watchers, "streams": streams,
        "loads": runs, "retried": retried_runs}


def answers(seen):
    """Of all clients of both servers, in pairs."""
    of_loads = sum(run["ok"] * PAIRS_A_CALL[name] for kind in ("loads", "retried") for name, run in seen[kind].items())
    return of_loads + seen["hammer"]["OK", ""]


def unclean(seen):
    """Ends other than an answer or UNAVAILABLE, of clients that do not retry."""
    codes = collections.Counter()
    for run in seen["loads"].values():
        codes.update({code: count for code, count in run["errors"].items() if code != "UNAVAILABLE"})
    for (code, _), count in seen["hammer"].items():
        if code not in ("OK", "UNAVAILABLE"):
            codes[code] += count
    return codes


def report(rounds, size, path):
    bars = rig.Bars()

    def total(value):
        return sum(map(value, rounds))

    bars.report("rounds", len(rounds))
    bars.report("exit codes other than 0", total(lambda seen: seen["exit_code"] != 0), most=0)
    seconds = [seen["seconds"] for seen in rounds]
    bars.report("seconds from SIGTERM to the end: the longest", max(seconds), most=WELL_BEFORE_S,
                note=f"of --drain_timeout={DRAIN_TIMEOUT_S}s; median {statistics.median(seconds):.2f}")
    admitted = total(lambda seen: seen["admitted"])
    bars.report("pairs that the server admitted", admitted, least=1)
    bars.report("  and had not completed at the end", admitted - total(lambda seen: seen["completed"]), most=0)
    by_both = admitted + total(lambda seen: seen["admitted_by_other"])
    bars.report("pairs that it or the other server admitted", by_both)
    bars.report("  and no client has an answer to",
                total(lambda seen: abs(seen["admitted"] + seen["admitted_by_other"] - answers(seen))), most=0)
    bars.report("wrong answers", total(lambda seen: sum(
        run["wrong_answers"] for kind in ("loads", "retried") for run in seen[kind].values())), most=0)
    bars.report("calls refused as it drains, the fewest in a round", min(seen["refused"] for seen in rounds), least=1)
    codes = sum(map(unclean, rounds), collections.Counter())
    bars.report("ends other than an answer or UNAVAILABLE", codes.total(), most=0, note=str(dict(codes) or ""))
    for kind, end in (("watchers", WATCHERS_END), ("streams", STREAMS_END)):
        ends = sum((seen[kind] for seen in rounds), collections.Counter())
        bars.report(f"idle {kind}", ends.total(), least=1)
        bars.report(f"  that did not end with {', '.join(map(str, end))}", ends.total() - ends[end], most=0,
                    note=str({how: count for how, count in ends.items() if how != end} or ""))
    retried = [run for seen in rounds for run in seen["retried"].values()]
    bars.report("calls of clients that retry, with a second server", sum(run["calls"] for run in retried), least=1)
    bars.report("  that failed", sum(sum(run["errors"].values()) for run in retried), most=0)
    return bars.finish(path, size=size, seconds=seconds)


def main():
    parser = rig.flags_of("drain", __doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    flags = parser.parse_args()
    size = QUICK if flags.quick else FULL
    other = rig.Server(flags.bin / "kldiv-server")
    rounds = [drain_once(flags.bin, other, size) for _ in range(2 if flags.quick else flags.rounds)]
    if other.stop() != 0:
        raise RuntimeError("the other server did not end cleanly")
    return report(rounds, size, flags.json)


if __name__ == "__main__":
    sys.exit(main())
