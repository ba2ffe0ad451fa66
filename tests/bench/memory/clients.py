"""Clients as processes of their own: `python clients.py KIND ADDRESS SECONDS [...]`. Each prints one JSON line."""

import collections
import json
import sys
import threading
import time

import grpc
import numpy

from messages import EVALUATE, STREAM, pair

UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def channel(address, number=0):
    # A number of its own gives each channel a connection of its own.
    return grpc.insecure_channel(address, options=[*UNLIMITED, ("kldiv.channel", number)])


def unary(connection):
    return connection.unary_unary(EVALUATE, request_serializer=bytes, response_deserializer=bytes)


def small(address, seconds):
    """One pair of 1,000 floats after the other."""
    message = pair(1000, numpy.float32)
    call, errors, latencies = unary(channel(address)), collections.Counter(), []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.monotonic()
        try:
            call(message, timeout=30)
            latencies.append((time.monotonic() - start) * 1e3)
        except grpc.RpcError as error:
            errors[error.code().name] += 1
        time.sleep(0.002)
    p = [float(v) for v in numpy.percentile(latencies, [50, 99, 100])] if latencies else [float("nan")] * 3
    return {"calls": len(latencies), "errors": errors, "p50_ms": p[0], "p99_ms": p[1], "max_ms": p[2]}


def push(address, seconds, connections):
    """Pairs of 2 x 15 MiB, one after the other on each of so many connections."""
    message = pair(15 << 18, numpy.float32)
    answers, errors, lock = [0], collections.Counter(), threading.Lock()
    end = time.monotonic() + seconds

    def run(number):
        call = unary(channel(address, number))
        while time.monotonic() < end:
            try:
                call(message, timeout=60)
                with lock:
                    answers[0] += 1
            except grpc.RpcError as error:
                with lock:
                    errors[error.code().name] += 1
                time.sleep(0.1)  # as the pushback asks

    threads = [threading.Thread(target=run, args=(n,)) for n in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"answers": answers[0], "errors": errors}


def never_read(address, seconds, connections):
    """`none` answers of 30 MiB that nobody takes."""
    message = pair(15 << 19, numpy.float16, target=numpy.float32, reduction=1)
    calls = []
    for number in range(connections):
        stub = channel(address, number).unary_stream(EVALUATE, request_serializer=bytes, response_deserializer=bytes)
        calls.append(stub(message, timeout=600))
    time.sleep(seconds)
    return {"calls": len(calls)}


def idle_streams(address, seconds, streams):
    """Streams that are open and say nothing."""
    connection, quiet = channel(address), threading.Event()

    def nothing():
        quiet.wait()
        yield from ()

    calls = [connection.stream_stream(STREAM, request_serializer=bytes, response_deserializer=bytes)(nothing())
             for _ in range(streams)]
    time.sleep(seconds)
    quiet.set()
    return {"streams": len(calls)}


if __name__ == "__main__":
    kind, where, duration, *more = sys.argv[1:]
    print(json.dumps(globals()[kind](where, float(duration), *map(int, more))), flush=True)
