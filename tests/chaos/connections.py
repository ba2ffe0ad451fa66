#!/usr/bin/python3
"""Clients that die, fall silent, or read and write too slowly, under a limit of 256 open files.

usage: connections.py [--bin build/release/bin] [--quick] [--json build/connections.json]

Each attack holds as many connections as it can. Beside it one client calls all the time, and newcomers connect, call
and leave. All of them come from one address, the worst case, for then the server has no heavier peer to take places
from; but attackers who come back at once, slow readers and slow writers have an address of their own, since clients at
one address share their turns.
"""
import contextlib
import json
import resource
import sys
import tempfile
import time

import rig
from certificates import Authority

sys.path.insert(0, str(rig.HERE.parent / "cluster"))
import network  # noqa: E402  # the folder has just been named

DESCRIPTORS = 256
PLACES = 192  # for connections, of these
DURING_S, AFTERWARDS_S = 12, 1
MIB = 1 << 20
# More than once all places have been taken and left: the allocator keeps some of what a busy moment took. An open
# connection takes 30 KiB, so that a thousand which were not given back would show.
RESIDENT_MIB = 6
BACK_S = 30
HALF_OPEN_BACK_S = 60  # the kernel finds a dead peer within a minute


def limit_descriptors():
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))


class Siege:
    """A server and the attacks on it."""

    def __init__(self, bars, server, address, *visitor_flags, fill, prefix=()):
        """`fill`: an attack that takes all places, once, before anything is measured."""
        self.bars, self.server, self.address = bars, server, address
        self.visitor_flags, self.prefix = visitor_flags, prefix
        self.descriptors, idle = server.descriptors(), server.resident()
        fill()
        self.visit()
        self._wait(lambda: server.descriptors() <= self.descriptors, BACK_S)
        self._wait(lambda: server.resident() <= idle + RESIDENT_MIB * MIB, BACK_S)
        self.resident = server.resident()
        bars.report("resident memory, MiB, once all places have been taken", self.resident / MIB,
                    note=f"idle {idle / MIB:.1f}")

    def visitors(self):
        return rig.Helper("visitors.py", self.address, *self.visitor_flags, prefix=self.prefix)

    def visit(self):
        return json.loads(self.visitors().end())

    def endure(self, name, attack, back_s=BACK_S):
        """`attack`, a function that returns when it is over. Reports what it did to the others."""
        visitors = self.visitors()
        attack()
        end = time.monotonic()
        during, after = json.loads(visitors.end()), self.visit()
        self._report_visits(name, during, after)
        self._report_traces(end, back_s)

    def _report_visits(self, name, during, after):
        errors = {text: during["errors"].get(text, 0) + after["errors"].get(text, 0)
                  for text in {*during["errors"], *after["errors"]}}
        self.bars.report(f"{name}: newcomer's longest wait, s", during["longest_newcomer_s"], most=DURING_S,
                         note=f"of {during['newcomers']}")
        self.bars.report("  afterwards", after["longest_newcomer_s"], most=AFTERWARDS_S)
        self.bars.report("  failed calls of others", sum(errors.values()), most=0,
                         note=f"of {during['calls']}, the longest {during['longest_s']:.2f} s {errors or ''}")

    @staticmethod
    def _wait(condition, seconds):
        """For a figure that is reported next, whatever it is."""
        with contextlib.suppress(TimeoutError):
            rig.wait_until(condition, "", seconds)

    def _report_traces(self, end, back_s):
        self._wait(lambda: self.server.descriptors() <= self.descriptors, back_s)
        self.bars.report("  descriptors more than before", self.server.descriptors() - self.descriptors, most=0,
                         note=f"{time.monotonic() - end:.1f} s later")
        self._wait(lambda: self._resident_mib() <= RESIDENT_MIB, BACK_S)
        self.bars.report("  resident memory, MiB more than before", self._resident_mib(), most=RESIDENT_MIB)

    def _resident_mib(self):
        return (self.server.resident() - self.resident) / MIB

    def finish(self):
        metrics = self.server.metrics_now()
        self.bars.report("at the end: admitted pairs that are not completed",
                         metrics["kldiv_pairs_admitted_total"] - metrics["kldiv_pairs_completed_total"], most=0,
                         note=f"{metrics['kldiv_connections_evicted_total']:.0f} connections evicted, "
                              f"{metrics['kldiv_connections_refused_total']:.0f} refused, "
                              f"{metrics['kldiv_accept_errors_total']:.0f} errors of accept")
        self.bars.report("  exit code", self.server.stop(), most=0)


def hold(address, seconds, kind, *rest, prefix=()):
    """An attack that is there for so long; `kind` and `rest` are attackers.py's arguments."""
    def attack():
        attackers = rig.Helper("attackers.py", kind, address, *rest, prefix=prefix)
        time.sleep(seconds)
        attackers.end()
    return attack


def kill(address, times, *kinds):
    """Kills attackers of these kinds, so many times."""
    def attack():
        for _ in range(times):
            attackers = [rig.Helper("attackers.py", kind, address, 80) for kind in kinds]
            time.sleep(1)
            for each in attackers:
                each.kill()
    return attack


def kill_loads(programs, address, times):
    """Kills kldiv-load while large messages and streams are under way."""
    def attack():
        for _ in range(times):
            loads = [rig.Load(programs, address, "--shape=2000000", "--concurrency=8", "--connections=8"),
                     rig.Load(programs, address, "--mode=stream", "--shape=1000", "--connections=8")]
            for load in loads:
                load.wait_until_begun()
                load.kill()
    return attack


def plaintext(bars, flags, size):
    server = rig.Server(flags.bin / "kldiv-server", *size["timeouts"], preexec=limit_descriptors)
    siege = Siege(bars, server, server.ipv4, fill=hold(server.ipv4, 1, "greeting", PLACES))
    many = size["many"]
    siege.endure("killed in mid-message and in mid-stream",
                 kill(server.ipv4, size["kills"], "mid_message", "mid_stream"))
    siege.endure("killed under full load", kill_loads(flags.bin, server.ipv4, size["kills"]))
    siege.endure(f"{many} greet and say nothing", hold(server.ipv4, size["hold_s"], "greeting", many))
    siege.endure("slow writers", hold(server.ipv6, size["slow_s"], "slow_writer", 150))
    siege.endure("slow readers", hold(server.ipv6, size["slow_s"], "slow_reader", 100))
    if not flags.quick:
        siege.endure("a hundred a second greet", hold(server.ipv4, 30, "greeting", many, "--flow"))
        siege.endure(f"{many} greet and come back",
                     hold(server.ipv4, 15, "greeting", many, "--source=127.0.0.2", "--again"))
        siege.endure(f"{many} say nothing", hold(server.ipv4, 25, "silent", many))
    siege.finish()


def encrypted(bars, flags, size):
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(folder)
        cert, key = authority.issue("server")
        server = rig.Server(flags.bin / "kldiv-server", f"--tls_cert={cert}", f"--tls_key={key}",
                            preexec=limit_descriptors)
        siege = Siege(bars, server, server.ipv4, f"--ca={authority.ca}",
                      fill=hold(server.ipv4, 1, "tls_greeting", PLACES))
        many = size["many"]
        siege.endure(f"TLS: {many} begin a handshake", hold(server.ipv4, 15, "tls_hello", many))
        siege.endure("TLS: a hundred a second begin one", hold(server.ipv4, 30, "tls_hello", many, "--flow"))
        siege.endure(f"TLS: {many} greet and say nothing", hold(server.ipv4, 15, "tls_greeting", many))
        siege.endure(f"TLS: {many} say nothing", hold(server.ipv4, 25, "silent", many))
        siege.finish()


def half_open(bars, flags):
    """The server is on the first of three machines, those who behave are on the second, the others on the third."""
    if not network.available():
        print("half-open connections: not measured, no network namespaces can be made here")
        return
    with network.Network(2) as net, open("/proc/self/ns/net", "rb") as before:
        with open(f"/run/netns/{net.machine(0)}", "rb") as first:
            network.set_namespace(first.fileno())
        server = rig.Server(flags.bin / "kldiv-server", f"--listen={network.CLIENT}:0,[::1]:0",
                            preexec=limit_descriptors)
        third = {"prefix": net.command(2)}
        siege = Siege(bars, server, server.ipv4, fill=hold(server.ipv4, 1, "greeting", PLACES, **third),
                      prefix=net.command(1))
        attackers = []

        def attack():
            attackers.extend(rig.Helper("attackers.py", kind, server.ipv4, 45, **third)
                             for kind in ("greeting", "mid_message", "idle_stream", "watcher"))
            net.cut_off(2)
            time.sleep(15)

        siege.endure("180 whose network is gone", attack, HALF_OPEN_BACK_S)
        for each in attackers:
            each.end()
        siege.finish()
        network.set_namespace(before.fileno())


FULL = {"many": 1000, "kills": 5, "hold_s": 15, "slow_s": 35, "timeouts": ()}
QUICK = {"many": 300, "kills": 1, "hold_s": 1, "slow_s": 1, "timeouts": ("--read_timeout=1s", "--write_timeout=1s")}


def main():
    flags = rig.flags_of("connections", __doc__.partition("\n")[0]).parse_args()
    bars, size = rig.Bars(), QUICK if flags.quick else FULL
    if not flags.quick:
        half_open(bars, flags)
    plaintext(bars, flags, size)
    if not flags.quick:
        encrypted(bars, flags, size)
    return bars.finish(flags.json, size=size)


if __name__ == "__main__":
    sys.exit(main())
