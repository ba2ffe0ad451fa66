"""A client that does all there is to do, right and wrong: `mixed_client.py ADDRESS --bin FOLDER`, until stdin ends.

Its threads make all kinds of calls at random. What each kind may end with is known, and every answer is compared, bit
for bit, with what `kldiv eval --local` computed beforehand. Prints "ready", and at the end a JSON line."""

import argparse
import collections
import json
import pathlib
import random
import select
import socket
import struct
import threading
import time

import rig  # names the folders of the next imports
import grpc
from grpc import StatusCode
from http2 import Call
from messages import EVALUATE, STREAM
from mixed_pairs import BATCH, MESSAGE_BYTES, invalid_messages, make_pairs, messages

TIMEOUT_S = 120
PAUSE_S = 0.005  # of a thread, between two operations
INFO = "/kldiv.v1.KlDivergence/GetServerInfo"
HEALTH = "/grpc.health.v1.Health/Check"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
LIST_SERVICES = b"\x3a\x00"
SERVING = b"\x08\x01"


class Tally:
    """What happened, over all threads."""

    def __init__(self):
        self.lock = threading.Lock()
        self.counts = {name: collections.Counter() for name in ("ended", "right", "wrong", "unexpected")}

    def count(self, kind, what):
        with self.lock:
            self.counts[kind][what] += 1


class Client:
    """One thread's: a channel, changed for a new one now and then."""

    number = 0

    def __init__(self, address, pairs, invalid, tally, seed):
        self.address, self.pairs, self.invalid, self.tally = address, pairs, invalid, tally
        self.random = random.Random(seed)
        self.channel = None
        self.reconnect()

    def reconnect(self):
        if self.channel:
            self.channel.close()
        Client.number += 1
        # A number of its own gives each channel a connection of its own.
        self.channel = grpc.insecure_channel(self.address, [("kldiv.channel", Client.number),
                                                            ("grpc.max_receive_message_length", -1)])

    def run(self, over):
        while not over.wait(self.random.uniform(0, 2 * PAUSE_S)):
            self.random.choice(OPERATIONS)(self)
            if self.random.random() < 0.02:
                self.reconnect()
        self.channel.close()

    # What is sent, and how an answer is judged.

    def some_pair(self):
        """A pair and the number of a request with it."""
        return self.random.choice(self.pairs), self.random.getrandbits(64)

    def some_pairs(self, most):
        """As many as one message holds."""
        pairs, size = [], 0
        for _ in range(self.random.randint(1, most)):
            pairs.append(self.some_pair())
            size += len(pairs[-1][0].message) + 100
            if size > MESSAGE_BYTES:
                return pairs[:-1]
        return pairs

    def judge(self, what, pair, request_id, response):
        wrong = pair.wrong(response) or (response.request_id != request_id and "request_id")
        self.tally.count("wrong" if wrong else "right", f"{what}: {wrong}" if wrong else what)

    def ended(self, what, code, *allowed):
        self.tally.count("ended", f"{what}: {code.name}")
        if code not in allowed:
            self.tally.count("unexpected", f"{what}: {code.name}")

    def ask(self, what, path, message, *allowed, answer=bytes, timeout=TIMEOUT_S, **options):
        """The answer of a unary call that has to end as `allowed`; None: a status."""
        try:
            response = self.channel.unary_unary(path, response_deserializer=answer)(message, timeout=timeout, **options)
            self.ended(what, StatusCode.OK, *allowed)
            return response
        except grpc.RpcError as error:
            self.ended(what, error.code(), *allowed)
            return None

    # The operations.

    def evaluate(self):
        pair, request_id = self.some_pair()
        response = self.ask("Evaluate", EVALUATE, pair.request(request_id), StatusCode.OK,
                            answer=messages.EvaluateResponse.FromString)
        if response is not None:
            self.judge("Evaluate", pair, request_id, response)

    def deadline(self):
        pair, request_id = self.some_pair()
        response = self.ask("short deadline", EVALUATE, pair.request(request_id), StatusCode.OK,
                            StatusCode.DEADLINE_EXCEEDED, answer=messages.EvaluateResponse.FromString,
                            timeout=self.random.uniform(0.0002, 0.02))
        if response is not None:
            self.judge("short deadline", pair, request_id, response)

    def cancel(self):
        pair, request_id = self.some_pair()
        call = self.channel.unary_unary(EVALUATE, response_deserializer=messages.EvaluateResponse.FromString)
        future = call.future(pair.request(request_id), timeout=TIMEOUT_S)
        time.sleep(self.random.uniform(0, 0.005))
        future.cancel()
        code = future.code()
        self.ended("cancelled", code, StatusCode.OK, StatusCode.CANCELLED)
        if code == StatusCode.OK:
            self.judge("cancelled", pair, request_id, future.result())

    def batch(self):
        """Some of its pairs have too little time, some are invalid."""
        sent, requests = self.some_pairs(12), messages.EvaluateBatchRequest()
        for pair, request_id in sent:
            one = requests.requests.add()
            one.ParseFromString(pair.request(request_id))
            if self.random.random() < 0.1:
                one.timeout_ns = self.random.randint(1, 5_000_000)
            if self.random.random() < 0.1:
                one.target.shape.append(3)
        answer = self.ask("EvaluateBatch", BATCH, requests.SerializeToString(), StatusCode.OK,
                          answer=messages.EvaluateBatchResponse.FromString)
        if answer is None:
            return
        if len(answer.results) != len(sent):
            self.tally.count("wrong", "EvaluateBatch: number of results")
        for (pair, request_id), one, result in zip(sent, requests.requests, answer.results):
            self.judge_result("EvaluateBatch", pair, request_id, result, one.timeout_ns,
                              len(one.target.shape) != len(pair.shape))

    def judge_result(self, what, pair, request_id, result, hurried, invalid):
        if result.request_id != request_id:
            self.tally.count("wrong", f"{what}: a result's request_id")
        elif result.HasField("response"):
            if invalid:
                self.tally.count("wrong", f"{what}: an invalid pair was answered")
            self.judge(what, pair, request_id, result.response)
        elif not (invalid and result.error.code == StatusCode.INVALID_ARGUMENT.value[0] or
                  hurried and result.error.code == StatusCode.DEADLINE_EXCEEDED.value[0]):
            self.tally.count("unexpected", f"{what}: a pair's error {result.error.code}")

    def stream(self):
        sent = {request_id: pair for pair, request_id in self.some_pairs(30)}
        call = self.open_stream(sent)
        try:
            for result in call:
                self.judge_result("EvaluateStream", sent.pop(result.request_id), result.request_id, result, 0, False)
        except grpc.RpcError:
            pass  # Its code is judged below.
        self.ended("EvaluateStream", call.code(), StatusCode.OK)
        if sent and call.code() == StatusCode.OK:
            self.tally.count("wrong", "EvaluateStream: pairs without an answer")

    def broken_stream(self):
        """Ends with bytes that are no message: the pairs before them are answered."""
        sent = {request_id: pair for pair, request_id in self.some_pairs(5)}
        call = self.open_stream(sent, b"\xff\xff")
        try:
            for result in call:
                self.judge_result("broken stream", sent.pop(result.request_id), result.request_id, result, 0, False)
        except grpc.RpcError:
            pass
        self.ended("broken stream", call.code(), StatusCode.INVALID_ARGUMENT)
        if sent:
            self.tally.count("wrong", "broken stream: pairs without an answer")

    def cancelled_stream(self):
        sent = {request_id: pair for pair, request_id in self.some_pairs(30)}
        call, wanted = self.open_stream(sent), self.random.randint(0, len(sent) - 1)
        try:
            for _ in range(wanted):
                result = next(call)
                self.judge_result("cancelled stream", sent[result.request_id], result.request_id, result, 0, False)
        except grpc.RpcError:
            pass
        call.cancel()
        self.ended("cancelled stream", call.code(), StatusCode.CANCELLED)

    def open_stream(self, sent, *last):
        requests = [*(pair.request(request_id) for request_id, pair in sent.items()), *last]
        return self.channel.stream_stream(STREAM, response_deserializer=messages.EvaluateResult.FromString)(
            iter(requests), timeout=TIMEOUT_S)

    def refused(self):
        what, path, message, code = self.random.choice(self.invalid)
        self.ask(what, path, message, StatusCode[code])

    def compressed(self):
        pair, request_id = self.some_pair()
        # gRPC sends what compressing makes no shorter as it is.
        self.ask("compressed", EVALUATE, pair.request(request_id) + bytes(10_000), StatusCode.UNIMPLEMENTED,
                 compression=grpc.Compression.Gzip)

    def facts(self):
        self.ask("GetServerInfo", INFO, b"", StatusCode.OK)
        if self.ask("health", HEALTH, b"", StatusCode.OK) != SERVING:
            self.tally.count("wrong", "health")
        watch = self.channel.unary_stream(rig.WATCH)(b"", timeout=TIMEOUT_S)
        if next(watch) != SERVING:
            self.tally.count("wrong", "health's Watch")
        watch.cancel()
        reflected = self.channel.stream_stream(REFLECTION)(iter([LIST_SERVICES]), timeout=TIMEOUT_S)
        if not any(b"kldiv.v1.KlDivergence" in answer for answer in reflected):
            self.tally.count("wrong", "reflection")

    def killed_connection(self):
        """Dies in mid-message, in mid-stream, or before the answer, by a reset or without a word."""
        pair, request_id = self.some_pair()
        message = pair.request(request_id)
        call = Call(self.address, self.random.choice((EVALUATE, BATCH, STREAM)))
        call.begin_message(len(message))
        call.send(message[:min(16_000, self.random.randint(0, len(message)))])
        if self.random.random() < 0.5:
            call.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        call.close()
        self.tally.count("ended", "killed connection")


OPERATIONS = (4 * [Client.evaluate] + 2 * [Client.batch] + 2 * [Client.stream] + 2 * [Client.refused] +
              [Client.deadline, Client.cancel, Client.cancelled_stream, Client.broken_stream, Client.compressed,
               Client.facts, Client.killed_connection])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    tally, over = Tally(), threading.Event()
    pairs, invalid = make_pairs(options.bin, options.pairs, options.seed), invalid_messages()
    threads = [threading.Thread(target=Client(options.address, pairs, invalid, tally, (options.seed << 8) + number).run,
                                args=(over,)) for number in range(options.threads)]
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    select.select([0], [], [])
    over.set()
    for thread in threads:
        thread.join()
    print(json.dumps(tally.counts), flush=True)


if __name__ == "__main__":
    main()
