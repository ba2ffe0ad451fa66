"""Clients that behave: `python visitors.py ADDRESS [--ca FILE] [--token TOKEN]`, until stdin ends.

One client calls again and again on one connection; newcomers come one after the other, each with a connection of its
own, make a call and leave. Prints "ready" when the first of both have been answered, and at the end a JSON line."""

import argparse
import collections
import json
import select
import threading
import time

import rig  # names the folders of the next imports
import grpc
import numpy
from messages import EVALUATE, pair

PAUSE_S = 0.002
NEWCOMERS_PAUSE_S = 0.25
GIVE_UP_S = 60
MESSAGE = pair(1000, numpy.float32)


class Visitors:
    def __init__(self, options):
        self.address = options.address
        self.ca = options.ca and open(options.ca, "rb").read()
        self.metadata = [("authorization", f"Bearer {options.token}")] if options.token else []
        self.over = threading.Event()
        self.errors = collections.Counter()  # of all of them
        self.number = 0

    def channel(self):
        self.number += 1
        # A number of its own gives each channel a connection of its own.
        options = [("kldiv.channel", self.number), ("grpc.ssl_target_name_override", "localhost")]
        if self.ca:
            return grpc.secure_channel(self.address, grpc.ssl_channel_credentials(self.ca), options)
        return grpc.insecure_channel(self.address, options[:1])

    def ask(self, channel):
        """Seconds until the answer; None: an error."""
        begin = time.monotonic()
        try:
            channel.unary_unary(EVALUATE)(MESSAGE, timeout=GIVE_UP_S, wait_for_ready=True,
                                                      metadata=self.metadata)
            return time.monotonic() - begin
        except grpc.RpcError as error:
            self.errors[f"{error.code().name}: {error.details()}"] += 1
            return None

    def settled(self, times):
        with self.channel() as channel:
            times.append(self.ask(channel))
            while not self.over.wait(PAUSE_S):
                times.append(self.ask(channel))

    def newcomers(self, times):
        while not self.over.is_set():
            with self.channel() as channel:
                times.append(self.ask(channel))
            self.over.wait(NEWCOMERS_PAUSE_S)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("--ca")
    parser.add_argument("--token")
    visitors, calls, visits = Visitors(parser.parse_args()), [], []
    threads = [threading.Thread(target=visitors.settled, args=(calls,)),
               threading.Thread(target=visitors.newcomers, args=(visits,))]
    for thread in threads:
        thread.start()
    rig.wait_until(lambda: calls and visits, "the first answers")
    print("ready", flush=True)
    select.select([0], [], [])
    visitors.over.set()
    for thread in threads:
        thread.join()

    def longest(times):
        return max((seconds for seconds in times if seconds is not None), default=float("nan"))

    print(json.dumps({"calls": len(calls), "longest_s": longest(calls), "newcomers": len(visits),
                      "longest_newcomer_s": longest(visits), "errors": visitors.errors}), flush=True)


if __name__ == "__main__":
    main()
