"""A Python gRPC server for Evaluate as one would write it for speed: raw bytes in and out, one generic handler."""

import concurrent.futures
import signal
import threading

import grpc
import messages

EVALUATE = "/kldiv.v1.KlDivergence/Evaluate"
# More only wait for the interpreter's lock; fewer leave the second core idle while numpy or PyTorch computes.
THREADS = 4


class Evaluate(grpc.GenericRpcHandler):
    def __init__(self, evaluate):
        self.handler = grpc.unary_unary_rpc_method_handler(
            lambda request, context: self.answer(evaluate, request))

    @staticmethod
    def answer(evaluate, request):
        x, t = messages.decode_request(request)
        return messages.encode_response(float(evaluate(x, t)), x.size)

    def service(self, details):
        return self.handler if details.method == EVALUATE else None


def serve(evaluate, address):
    """Serves until SIGTERM and prints where. `evaluate`: (x, t) -> the sum of the losses."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(THREADS), (Evaluate(evaluate),),
                         options=(("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 1)))
    port = server.add_insecure_port(address)
    server.start()
    print(f"listening on 127.0.0.1:{port}", flush=True)
    stop.wait()
    server.stop(1).wait()
