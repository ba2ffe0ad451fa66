"""The Python client's streams when the server ends them.

Usage: stream_test.py PROGRAMS_FOLDER [unittest's arguments]
"""

import sys
import threading
import unittest

import grpc

import kldiv
from double import PAIR, WithDouble, answer_all, answer_then_fail, result_of
from kldiv import _messages


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

    def test_streams_that_bring_an_answer_each_may_fail_for_ever(self):
        double = self.double(stream=[answer_then_fail(1, grpc.StatusCode.UNAVAILABLE)] * 9 + [answer_all])
        self.assert_all_answered(self.client(double))
        self.assertEqual(len(double.calls), 10)

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


if __name__ == "__main__":
    sys.argv.pop(1)
    unittest.main()
