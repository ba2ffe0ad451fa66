"""What the Python client does when its server fails or is one of several.

Usage: retry_test.py PROGRAMS_FOLDER [unittest's arguments]
"""

import itertools
import json
import pathlib
import subprocess
import sys
import threading
import unittest

import grpc
import numpy

import kldiv
from double import PAIR, WithDouble, answer_of, fail, succeed
from kldiv import _channel, _messages


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


if __name__ == "__main__":
    SERVICE_CONFIG_PRINTER = pathlib.Path(sys.argv.pop(1)).parent / "tests" / "print_service_config"
    unittest.main()
