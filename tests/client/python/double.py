"""A server that does what a test wants: fails, goes away, wants certificates."""

import concurrent.futures
import threading
import unittest

import grpc
import numpy

import kldiv
from kldiv import _messages

PAIR = kldiv.Pair(numpy.float64(-2), numpy.float64(1))
SERVICE = "/kldiv.v1.KlDivergence/"


def answer_of(request, loss=2.0):
    return _messages.EvaluateResponse(request_id=request.request_id, loss=loss, element_count=1)


def result_of(request):
    return _messages.EvaluateResult(response=answer_of(request), request_id=request.request_id)


class Double(grpc.GenericRpcHandler):
    """A server whose calls of a method are answered by the functions in `script`, in turn, and then by the last.

    evaluate(request, context) answers Evaluate, stream(requests, context) EvaluateStream. `calls` has the metadata of
    each call.
    """

    def __init__(self, evaluate=(), stream=(), credentials=None):
        self.script = {"Evaluate": list(evaluate), "EvaluateStream": list(stream)}
        self.calls, self.lock = [], threading.Lock()
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(16), handlers=[self],
                                  options=[("grpc.max_receive_message_length", -1)])
        if credentials is None:
            self.port = self.server.add_insecure_port("127.0.0.1:0")
        else:
            self.port = self.server.add_secure_port("127.0.0.1:0", credentials)
        self.address = f"127.0.0.1:{self.port}"
        self.server.start()

    def service(self, details):
        method = details.method.removeprefix(SERVICE)
        if method not in self.script:  # Such a server counts as healthy.
            return None
        with self.lock:
            self.calls.append(dict(details.invocation_metadata))
            script = self.script[method]
            behaviour = script.pop(0) if len(script) > 1 else script[0]
        make = grpc.unary_unary_rpc_method_handler if method == "Evaluate" else grpc.stream_stream_rpc_method_handler
        return make(behaviour, request_deserializer=_messages.EvaluateRequest.FromString,
                    response_serializer=lambda message: message.SerializeToString())

    def stop(self):
        self.server.stop(None).wait(60)


def fail(code, text="as scripted", pushback=None):
    """A behaviour for Evaluate: the call ends so."""
    def behaviour(request, context):
        if pushback is not None:
            context.set_trailing_metadata((("grpc-retry-pushback-ms", str(pushback)),))
        context.abort(code, text)
    return behaviour


def succeed(request, context):
    return answer_of(request)


def answer_all(requests, context):
    for request in requests:
        yield result_of(request)


def answer_then_fail(count, code, text="as scripted"):
    """A behaviour for EvaluateStream: reads count + 1 pairs, answers so many, and ends so."""
    def behaviour(requests, context):
        for number, request in enumerate(requests):
            if number == count:
                context.abort(code, text)
            yield result_of(request)
    return behaviour


class WithDouble(unittest.TestCase):
    def double(self, **keywords):
        double = Double(**keywords)
        self.addCleanup(double.stop)
        return double

    def client(self, double, **keywords):
        client = kldiv.Client(double.address, **keywords)
        self.addCleanup(client.close)
        return client
