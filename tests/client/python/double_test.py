"""The Python client against a server that does what a test wants: fails, goes away, wants certificates and tokens.

Usage: double_test.py PROGRAMS_FOLDER [unittest's arguments]
"""

import concurrent.futures
import itertools
import json
import pathlib
import subprocess
import sys
import tempfile
import threading
import unittest

import grpc
import numpy

import kldiv
from kldiv import _channel, _messages

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


class Retries(WithDouble):
    def test_what_a_server_sheds_or_drops_is_tried_again_whatever_its_size(self):
        for code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED):
            with self.subTest(code=code):
                double = self.double(evaluate=[fail(code)] * 4 + [succeed])
                big = numpy.zeros(60_000)  # twice: under the size for which the server's limit is asked
                self.assertEqual(self.client(double).kl_div(big, big), 2)
                self.assertEqual(len(double.calls), 5)

    def test_the_fifth_failure_is_raised_with_its_text_and_pushback(self):
        double = self.double(evaluate=[fail(grpc.StatusCode.RESOURCE_EXHAUSTED, "full: 7 of 7 bytes", pushback=7)])
        with self.assertRaises(kldiv.ResourceExhausted) as raised:
            self.client(double).kl_div(PAIR.input, PAIR.target)
        self.assertEqual((raised.exception.message, raised.exception.retry_after), ("full: 7 of 7 bytes", 0.007))
        self.assertEqual(len(double.calls), 5)

    def test_other_faults_and_all_without_retry_are_raised_at_once(self):
        for code, kind, retry in ((grpc.StatusCode.INVALID_ARGUMENT, kldiv.InvalidArgument, True),
                                  (grpc.StatusCode.UNAUTHENTICATED, kldiv.Unauthenticated, True),
                                  (grpc.StatusCode.DEADLINE_EXCEEDED, kldiv.DeadlineExceeded, True),
                                  (grpc.StatusCode.UNIMPLEMENTED, kldiv.Unimplemented, True),
                                  (grpc.StatusCode.INTERNAL, kldiv.Internal, True),
                                  (grpc.StatusCode.DATA_LOSS, kldiv.Error, True),
                                  (grpc.StatusCode.UNAVAILABLE, kldiv.Unavailable, False)):
            with self.subTest(code=code):
                double = self.double(evaluate=[fail(code, "once"), succeed])
                with self.assertRaises(kldiv.Error) as raised:
                    self.client(double, retry=retry).kl_div(PAIR.input, PAIR.target)
                self.assertEqual((type(raised.exception), raised.exception.code, raised.exception.message),
                                 (kind, code, "once"))
                self.assertEqual(len(double.calls), 1)

    def test_no_answer_within_the_timeout_is_deadline_exceeded(self):
        gone = threading.Event()
        self.addCleanup(gone.set)
        double = self.double(evaluate=[lambda request, context: gone.wait(60) and answer_of(request)])
        for arguments, options in (({}, {"timeout": 0.05}), ({"timeout": 0.05}, {})):
            with self.assertRaises(kldiv.DeadlineExceeded):
                self.client(double, **options).kl_div(PAIR.input, PAIR.target, **arguments)

    def test_an_answer_without_a_loss_is_internal(self):
        double = self.double(evaluate=[lambda request, context: _messages.EvaluateResponse()])
        for reduction in ("mean", "none"):
            with self.assertRaises(kldiv.Internal):
                self.client(double).kl_div(numpy.zeros(2), numpy.zeros(2), reduction)


class Balancing(WithDouble):
    def test_calls_take_turns_on_the_servers_of_a_list(self):
        doubles = [self.double(evaluate=[succeed]) for _ in range(2)]
        with kldiv.Client("ipv4:" + ",".join(double.address for double in doubles)) as client:
            while not all(double.calls for double in doubles):  # until both are connected
                client.kl_div(PAIR.input, PAIR.target)
            before = [len(double.calls) for double in doubles]
            for _ in range(20):
                client.kl_div(PAIR.input, PAIR.target)
        self.assertEqual([len(double.calls) - b for double, b in zip(doubles, before)], [10, 10])

    def test_the_service_config_is_the_cpp_clients(self):
        for retry, balance in itertools.product((False, True), repeat=2):
            printed = subprocess.run([SERVICE_CONFIG_PRINTER, str(int(retry)), str(int(balance))], capture_output=True,
                                     check=True).stdout
            self.assertEqual(json.loads(_channel.service_config(retry, balance)), json.loads(printed))


class Streams(WithDouble):
    def assert_all_answered(self, client, count=20):
        answers = list(client.kl_div_stream([PAIR] * count))
        self.assertEqual(sorted(answers), [(number, 2.0) for number in range(count)])

    def test_pairs_without_a_result_are_sent_again_when_the_server_goes(self):
        for code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
            double = self.double(stream=[answer_then_fail(3, code), answer_then_fail(0, code), answer_all])
            self.assert_all_answered(self.client(double))
            self.assertEqual(len(double.calls), 3)

    def test_an_idle_stream_is_opened_again_even_without_retry(self):
        idle = answer_then_fail(0, grpc.StatusCode.UNAVAILABLE, "idle: other streams wait")
        double = self.double(stream=[idle] * 7 + [answer_all])
        self.assert_all_answered(self.client(double, retry=False))

    def test_the_next_pair_may_depend_on_an_answer_that_comes_from_another_stream(self):
        double = self.double(stream=[answer_then_fail(0, grpc.StatusCode.UNAVAILABLE)] * 2 + [answer_all])
        answered = threading.Semaphore(1)

        def pairs():
            for _ in range(4):
                self.assertTrue(answered.acquire(timeout=60))
                yield PAIR

        answers = []
        for number, answer in self.client(double).kl_div_stream(pairs()):
            answers.append((number, answer))
            answered.release()
        self.assertEqual(answers, [(number, 2.0) for number in range(4)])

    def test_five_streams_in_a_row_without_an_answer_end_it(self):
        double = self.double(stream=[answer_then_fail(0, grpc.StatusCode.UNAVAILABLE, "draining")])
        with self.assertRaises(kldiv.Unavailable) as raised:
            list(self.client(double).kl_div_stream([PAIR] * 3))
        self.assertEqual((raised.exception.message, len(double.calls)), ("draining", 5))

    def test_other_ends_are_raised_after_the_answers_before(self):
        double = self.double(stream=[answer_then_fail(2, grpc.StatusCode.INVALID_ARGUMENT), answer_all])
        answers = []
        with self.assertRaises(kldiv.InvalidArgument):
            for answer in self.client(double).kl_div_stream([PAIR] * 4):
                answers.append(answer)
        self.assertEqual(answers, [(0, 2.0), (1, 2.0)])

    def test_a_server_that_ends_a_stream_early_or_answers_what_was_not_asked_is_internal(self):
        def silent(requests, context):
            next(requests)
            return iter(())

        def twice(requests, context):
            for request in requests:
                yield from [result_of(request)] * 2

        for behaviour, text in ((silent, "unanswered"), (twice, "request_id 0")):
            with self.assertRaises(kldiv.Internal) as raised:
                list(self.client(self.double(stream=[behaviour])).kl_div_stream([PAIR] * 2))
            self.assertIn(text, raised.exception.message)

    def test_a_pair_whose_time_is_over_is_not_sent_again(self):
        def wait_and_fail(requests, context):
            next(requests)
            threading.Event().wait(0.06)  # longer than the pair may take
            context.abort(grpc.StatusCode.UNAVAILABLE, "as scripted")
            yield

        client = self.client(self.double(stream=[wait_and_fail, answer_all]))
        ((number, answer),) = client.kl_div_stream([kldiv.Pair(PAIR.input, PAIR.target, timeout=0.05)])
        self.assertEqual((number, type(answer)), (0, kldiv.DeadlineExceeded))

    def test_pairs_carry_their_own_timeouts(self):
        seen = []

        def note(requests, context):
            for request in requests:
                seen.append(request.timeout_ns)
                yield result_of(request)

        pairs = [PAIR, kldiv.Pair(PAIR.input, PAIR.target, timeout=2)]
        list(self.client(self.double(stream=[note]), timeout=7).kl_div_stream(pairs))
        self.assertEqual(seen, [7_000_000_000, 2_000_000_000])

    def test_an_error_of_a_pair_is_its_result(self):
        def fault(requests, context):
            for request in requests:
                error = _messages.EvaluateResult(request_id=request.request_id)
                error.error.code, error.error.message, error.error.retry_after_ms = 8, "full", 250
                yield error

        ((_, answer),) = self.client(self.double(stream=[fault])).kl_div_stream([PAIR])
        self.assertEqual((type(answer), answer.message, answer.retry_after), (kldiv.ResourceExhausted, "full", 0.25))

    def test_the_timeout_is_that_of_the_whole_stream(self):
        def endless():
            while True:
                yield PAIR

        with self.assertRaises(kldiv.DeadlineExceeded):
            for _ in self.client(self.double(stream=[answer_all])).kl_div_stream(endless(), timeout=0.2):
                pass


class Tokens(WithDouble):
    def test_a_token_is_sent_with_every_call(self):
        double = self.double(evaluate=[succeed], stream=[answer_all])
        client = self.client(double, token="secret")
        client.kl_div(PAIR.input, PAIR.target)
        list(client.kl_div_stream([PAIR]))
        self.client(double).kl_div(PAIR.input, PAIR.target)
        self.assertEqual([call.get("authorization") for call in double.calls], ["Bearer secret"] * 2 + [None])

    def test_a_token_file_is_read_again_at_every_call(self):
        double = self.double(evaluate=[succeed])
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "token"
            client = self.client(double, token_file=file)
            for token in ("first", "second"):
                file.write_text(f"{token}\n")
                client.kl_div(PAIR.input, PAIR.target)
            file.unlink()
            with self.assertRaises(OSError):
                client.kl_div(PAIR.input, PAIR.target)
        self.assertEqual([call["authorization"] for call in double.calls], ["Bearer first", "Bearer second"])

    def test_no_token_goes_to_another_machine_in_plaintext_unless_that_is_wanted(self):
        with self.assertRaises(ValueError):
            kldiv.Client("example.invalid:50051", token="secret")
        for address in ("127.0.0.1.example.invalid:1", "localhost.example.invalid:1", "ipv4:127.0.0.1:1,192.0.2.1:1",
                        "dns:///localhost:1"):
            with self.subTest(address=address), self.assertRaises(ValueError):
                kldiv.Client(address, token="secret")
        for address in ("unix:/socket", "localhost:1", "[::1]:1", "ipv4:127.0.0.1:1,127.0.0.2:1"):
            kldiv.Client(address, token="secret").close()
        kldiv.Client("example.invalid:50051", token="secret", allow_plaintext_tokens=True).close()
        kldiv.Client("example.invalid:50051", token="secret", tls=True).close()

    def test_refuses_options_that_contradict_each_other(self):
        for options in ({"token": "a", "token_file": "b"}, {"server_ca": "a"}, {"tls": True, "client_cert": "a"},
                        {"timeout": 0}):
            with self.subTest(**options), self.assertRaises(ValueError):
                kldiv.Client("127.0.0.1:1", **options)


class Tls(WithDouble):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        for name in ("server", "client", "stranger"):
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                            "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2",
                            "-keyout", cls.folder / f"{name}.key", "-out", cls.folder / f"{name}.pem"],
                           check=True, capture_output=True)

    def read(self, name):
        return (self.folder / name).read_bytes()

    def tls_double(self, client_ca=None):
        credentials = grpc.ssl_server_credentials([(self.read("server.key"), self.read("server.pem"))],
                                                  client_ca, client_ca is not None)
        return self.double(evaluate=[succeed], credentials=credentials)

    def test_a_server_is_trusted_by_the_given_authority_alone(self):
        double = self.tls_double()
        client = self.client(double, tls=True, server_ca=self.folder / "server.pem", token="secret")
        self.assertEqual(client.kl_div(PAIR.input, PAIR.target), 2)
        self.assertEqual(double.calls[0]["authorization"], "Bearer secret")
        for options in ({"server_ca": self.folder / "stranger.pem"}, {}):
            with self.assertRaises(kldiv.Unavailable):
                self.client(double, tls=True, retry=False, **options).kl_div(PAIR.input, PAIR.target)

    def test_a_client_shows_its_certificate(self):
        double = self.tls_double(client_ca=self.read("client.pem"))
        ca = {"tls": True, "retry": False, "server_ca": self.folder / "server.pem"}
        client = self.client(double, client_cert=self.folder / "client.pem", client_key=self.folder / "client.key", **ca)
        self.assertEqual(client.kl_div(PAIR.input, PAIR.target), 2)
        with self.assertRaises(kldiv.Unavailable):
            self.client(double, **ca).kl_div(PAIR.input, PAIR.target)

    def test_a_certificate_that_cannot_be_read_is_an_os_error(self):
        with self.assertRaises(OSError):
            kldiv.Client("127.0.0.1:1", tls=True, server_ca=self.folder / "missing.pem")


if __name__ == "__main__":
    SERVICE_CONFIG_PRINTER = pathlib.Path(sys.argv.pop(1)).parent / "tests" / "print_service_config"
    unittest.main()
