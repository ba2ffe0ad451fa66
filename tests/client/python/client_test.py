"""The Python client with NumPy's arrays against the real server.

Usage: client_test.py PROGRAMS_FOLDER [unittest's arguments]
"""

import itertools
import os
import threading
import unittest

import numpy

import kldiv
import server
from server import REDUCTIONS, RealServer, Server, bits, distributions

NUMPY_DTYPES = ("float16", "float32", "float64")


class Numpy(RealServer):
    def test_every_dtype_reduction_and_target_gives_the_bits_of_the_command_line_tool(self):
        for (dtype, target), reduction, log_target in itertools.product(
                itertools.product(NUMPY_DTYPES, NUMPY_DTYPES), REDUCTIONS, (False, True)):
            with self.subTest(dtype=dtype, target=target, reduction=reduction, log_target=log_target):
                x = distributions((3, 5, 7), dtype)[0]
                t = distributions((3, 5, 7), target, seed=2)[0 if log_target else 1]
                flags = [f"--reduction={reduction}"] + ["--log_target"] * log_target
                expected = self.server.eval(x, t, *flags)
                answer = self.client.kl_div(x, t, reduction, log_target)
                if reduction == "none":
                    self.assert_same(answer, expected)
                else:
                    self.assertEqual(bits(answer), bits(expected))

    def test_byte_order_and_layout_make_no_difference(self):
        for dtype in NUMPY_DTYPES:
            x, t = distributions((4, 6), dtype)
            expected = self.client.kl_div(x, t, "none")
            wide = numpy.zeros((8, 12), dtype)
            wide[::2, ::-2] = x
            for name, same in {"big-endian": x.astype(x.dtype.newbyteorder(">")), "fortran": numpy.asfortranarray(x),
                               "strided": wide[::2, ::-2]}.items():
                with self.subTest(dtype=dtype, layout=name):
                    numpy.testing.assert_array_equal(same, x)
                    self.assert_same(self.client.kl_div(same, t, "none"), expected)
                    self.assert_same(self.client.kl_div(x, t, "none"), expected)

    def test_zero_dimensional_and_empty_arrays_keep_their_shapes(self):
        one = numpy.float32(1)
        self.assertEqual(self.client.kl_div(numpy.float32(-2), one), 2)
        pointwise = self.client.kl_div(numpy.array(-2, "f4"), numpy.array(1, "f4"), "none")
        self.assert_same(pointwise, numpy.array(2, "f4"))
        empty = numpy.zeros((0, 3))
        self.assertEqual(self.client.kl_div(empty, empty, "none").shape, (0, 3))
        self.assertEqual(self.client.kl_div(empty, empty, "sum"), 0)
        self.assertTrue(numpy.isnan(self.client.kl_div(empty, empty, "mean")))

    def test_pointwise_losses_can_be_written_to(self):
        x, t = distributions((2, 3), "float32")
        answer = self.client.kl_div(x, t, "none")
        answer += 1
        self.assertTrue(answer.flags.writeable)

    def test_skips_zero_targets_when_asked(self):
        x, t = numpy.array([-numpy.inf, -1.0]), numpy.array([0.0, 1.0])
        self.assertTrue(numpy.isnan(self.client.kl_div(x, t)))
        self.assertEqual(self.client.kl_div(x, t, zero_target="skip"), 0.5)

    def test_takes_messages_and_answers_of_many_megabytes(self):
        x, t = numpy.full(5 << 20, -1.0, "f4"), numpy.ones(5 << 20, "f4")
        self.assert_same(self.client.kl_div(x, t, "none"), numpy.ones(5 << 20, "f4"))

    def test_refuses_arrays_that_have_no_dtype_on_the_wire(self):
        good = numpy.zeros(2, "f4")
        for bad in (numpy.zeros(2, int), numpy.zeros(2, complex), numpy.zeros(2, "g"), numpy.zeros(2, object),
                    numpy.ma.masked_array(good, [True, False]), [0.0, 0.0], 1.0, None):
            for pair in ((bad, good), (good, bad)):
                with self.subTest(bad=bad), self.assertRaises(TypeError):
                    self.client.kl_div(*pair)


class Calls(RealServer):
    def test_raises_the_servers_code_and_text(self):
        with self.assertRaises(kldiv.InvalidArgument) as raised:
            self.client.kl_div(numpy.zeros((2, 3)), numpy.zeros(3))
        self.assertEqual(raised.exception.code.name, "INVALID_ARGUMENT")
        self.assertIn("target.shape is [3], expected input.shape, [2, 3]", raised.exception.message)
        self.assertIn("INVALID_ARGUMENT: target.shape", str(raised.exception))

    def test_refuses_other_arguments_that_make_no_sense(self):
        x = numpy.zeros(2)
        for wrong in ({"reduction": "max"}, {"reduction": "unspecified"}, {"zero_target": "keep"}, {"timeout": 0},
                      {"timeout": float("nan")}, {"timeout": -1}):
            with self.subTest(**wrong), self.assertRaises(ValueError):
                self.client.kl_div(x, x, **wrong)

    def test_refuses_a_message_beyond_the_servers_limit_before_it_is_sent(self):
        server = Server(self.programs, "--max_message_bytes=2MiB")
        self.addCleanup(server.stop)
        with kldiv.Client(server.address) as client:
            x = numpy.zeros(1 << 18)
            for refuse in (lambda: client.kl_div(x, x), lambda: client.kl_div_batch([kldiv.Pair(x, x)]),
                           lambda: list(client.kl_div_stream([kldiv.Pair(x, x)]))):
                with self.assertRaises(kldiv.InvalidArgument) as raised:
                    refuse()
                self.assertIn("the server takes at most 2097152", raised.exception.message)

    def test_a_server_that_is_away_is_unavailable(self):
        server = Server(self.programs)
        self.assertEqual(server.stop(), 0)
        with kldiv.Client(server.address) as client, self.assertRaises(kldiv.Unavailable):
            client.kl_div(numpy.zeros(2), numpy.zeros(2))

    def test_goes_around_a_proxy_that_does_not_exist(self):
        os.environ["http_proxy"] = "http://127.0.0.1:1"
        self.addCleanup(os.environ.pop, "http_proxy")
        with kldiv.Client(self.server.address, retry=False) as client:
            self.assertEqual(client.server_info().numerics_version, 1)

    def test_server_info_has_the_limits(self):
        info = self.client.server_info()
        self.assertEqual((info.backend, info.max_message_bytes, info.max_dimensions), ("cpu", 64 << 20, 64))
        self.assertEqual(len(info.devices), 1)

    def test_many_threads_share_a_client(self):
        answers = []

        def ask(number):
            answers.append((number, self.client.kl_div(numpy.float64(-number), numpy.float64(1))))

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(answers), [(number, number) for number in range(16)])


class BatchesAndStreams(RealServer):
    def pairs(self):
        """Pairs of every kind, one of them faulty, and what kl_div answers."""
        x, t = distributions((2, 3), "float32")
        pairs = [kldiv.Pair(x, t), kldiv.Pair(x, t[0]), kldiv.Pair(x.astype("f8"), t, "none"),
                 kldiv.Pair(x, x, "sum", log_target=True), kldiv.Pair(numpy.array([-numpy.inf]), numpy.zeros(1),
                                                                      zero_target="skip")]
        return pairs, [None if index == 1 else self.client.kl_div(p.input, p.target, p.reduction, p.log_target,
                                                                  p.zero_target) for index, p in enumerate(pairs)]

    def assert_answers(self, answers, expected):
        self.assertEqual(len(answers), len(expected))
        for answer, right in zip(answers, expected):
            if right is None:
                self.assertIsInstance(answer, kldiv.InvalidArgument)
                self.assertIn("target.shape", answer.message)
            elif isinstance(right, float):
                self.assertEqual(bits(answer), bits(right))
            else:
                self.assert_same(answer, right)

    def test_a_batch_has_a_result_for_each_pair_in_order(self):
        pairs, expected = self.pairs()
        self.assert_answers(self.client.kl_div_batch(iter(pairs)), expected)
        self.assertEqual(self.client.kl_div_batch([]), [])

    def test_a_stream_has_a_numbered_result_for_each_pair(self):
        pairs, expected = self.pairs()
        self.assert_answers([answer for _, answer in sorted(self.client.kl_div_stream(pairs), key=lambda r: r[0])],
                            expected)
        self.assertEqual(list(self.client.kl_div_stream([])), [])

    def test_a_stream_takes_far_more_pairs_than_may_be_in_flight(self):
        count = 5000
        answers = dict(self.client.kl_div_stream(kldiv.Pair(numpy.float64(-n), numpy.float64(1))
                                                 for n in range(count)))
        self.assertEqual(answers, {n: n for n in range(count)})

    def test_the_next_pair_of_a_stream_may_depend_on_the_last_answer(self):
        answered, results = threading.Semaphore(1), []

        def pairs():
            for _ in range(10):
                self.assertTrue(answered.acquire(timeout=60))
                last = results[-1] if results else 0.0
                yield kldiv.Pair(numpy.float64(-last - 1), numpy.float64(1))

        for _, result in self.client.kl_div_stream(pairs()):
            results.append(result)
            answered.release()
        self.assertEqual(results, [float(n + 1) for n in range(10)])

    def test_what_ends_the_iterator_is_raised_after_the_answers_before(self):
        good = kldiv.Pair(numpy.float64(-2), numpy.float64(1))

        def failing():
            yield good
            raise KeyError("mine")

        for pairs, kind in ((failing(), KeyError), ([good, kldiv.Pair([1], [1])], TypeError)):
            results = []
            with self.assertRaises(kind):
                for number, result in self.client.kl_div_stream(pairs):
                    results.append((number, result))
            self.assertEqual(results, [(0, 2)])

    def test_a_stream_may_be_left_before_its_end(self):
        drawn = []

        def endless():
            while True:
                drawn.append(1)
                yield kldiv.Pair(numpy.float64(-2), numpy.float64(1))

        stream = self.client.kl_div_stream(endless())
        self.assertEqual(next(stream)[1], 2)
        stream.close()
        for thread in threading.enumerate():
            if thread.name.startswith("kldiv-"):
                thread.join(timeout=60)
                self.assertFalse(thread.is_alive())
        self.assertLess(len(drawn), 2000)


if __name__ == "__main__":
    server.main()
