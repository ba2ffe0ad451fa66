#!/usr/bin/env python3
"""Calls that the tools here do not make, over TLS.

Usage: raw_calls.py ADDRESS CA_FILE COMMAND

evaluate HEADER MESSAGE: a call with a header and a message of so many bytes; prints its status.
codes COUNT: so many health checks at a time; prints how many ended with which status.
watch SECONDS: a health watch, held so long; prints what it was told, and "open" or the status that ended it."""

import collections
import queue
import sys

import grpc

HEALTH = "/grpc.health.v1.Health/"
SERVING = b"\x08\x01"


def evaluate(channel, header, message):
    call = channel.unary_unary("/kldiv.v1.KlDivergence/Evaluate")
    try:
        call(bytes(message), metadata=[("x-header", "x" * header)], timeout=20)
        return "OK"
    except grpc.RpcError as error:
        return error.code().name


def codes(channel, count):
    calls = [channel.unary_unary(HEALTH + "Check").future(b"", timeout=20) for _ in range(count)]
    counted = collections.Counter(call.code().name for call in calls)
    return ", ".join(f"{number} {code}" for code, number in sorted(counted.items()))


def watch(channel, seconds):
    call = channel.unary_stream(HEALTH + "Watch")(b"")
    if next(call) != SERVING:
        return "not serving"
    ended = queue.Queue()
    if call.add_callback(lambda: ended.put(True)):
        try:
            ended.get(timeout=seconds)
        except queue.Empty:
            call.cancel()
            return "open"
    return f"{call.code().name}: {call.details()}"


def main():
    address, ca, what = sys.argv[1:4]
    with open(ca, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    calls = {"evaluate": evaluate, "codes": codes, "watch": watch}
    options = [("grpc.enable_http_proxy", 0)]
    with grpc.secure_channel(address, credentials, options) as channel:
        print(calls[what](channel, *map(int, sys.argv[4:])))


if __name__ == "__main__":
    main()
