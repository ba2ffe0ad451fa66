"""The Python client with PyTorch's tensors against the real server, and against torch.nn.functional.kl_div.

Usage: torch_test.py PROGRAMS_FOLDER [unittest's arguments]
"""

import itertools
import unittest

import numpy
import torch

import server
from server import REDUCTIONS, RealServer, bits, distributions

# Of the sum of the absolute terms: the bound of the server's error, by the target's type.
BOUND = {"float64": 2.0**-50, "float32": 2.0**-40, "float16": 2.0**-40, "bfloat16": 2.0**-40}


class Torch(RealServer):
    DTYPES = ("float16", "bfloat16", "float32", "float64")

    def tensors(self, dtype, target, log_target):
        x = torch.from_numpy(distributions((4, 33), "float64")[0]).to(getattr(torch, dtype))
        t = torch.from_numpy(distributions((4, 33), "float64", seed=2)[0 if log_target else 1])
        return x, t.to(getattr(torch, target))

    def each_case(self, check):
        for case in itertools.product(self.DTYPES, self.DTYPES, REDUCTIONS, (False, True)):
            with self.subTest(case=case):
                check(*case)

    def test_every_case_is_what_torch_computes_in_binary64(self):
        def check(dtype, target, reduction, log_target):
            x, t = self.tensors(dtype, target, log_target)
            wide_x, wide_t = x.double(), t.double()
            expected = torch.nn.functional.kl_div(wide_x, wide_t, reduction=reduction, log_target=log_target)
            answer = self.client.kl_div(x, t, reduction, log_target)
            p, log_p = (wide_t.exp(), wide_t) if log_target else (wide_t, wide_t.log())
            scale = p.abs() * (log_p.abs() + wide_x.abs())
            # The server's bound, and PyTorch's own: a rounding for each operation of an element and of the sum.
            bound = BOUND[target] + 2.0**-50
            if reduction == "none":
                self.assertEqual((answer.dtype, answer.shape), (torch.promote_types(x.dtype, t.dtype), x.shape))
                rounding = expected.abs() * torch.finfo(answer.dtype).eps + torch.finfo(answer.dtype).tiny
                self.assertTrue(bool(((answer.double() - expected).abs() <= bound * scale + rounding).all()))
            else:
                divisor = {"mean": x.numel(), "batchmean": x.shape[0], "sum": 1}[reduction]
                self.assertLessEqual(abs(answer - expected.item()), bound * scale.sum().item() / divisor)

        self.each_case(check)

    def test_what_rounds_nowhere_and_the_special_values_are_torchs_to_the_bit(self):
        values = {False: ([-0.5, -2.0, -4.0, -0.25, 0.0, -1.0, float("-inf"), float("nan")],
                          [1.0, 0.0, 1.0, 0.0, 1.0, -1.0, 0.0, 1.0]),
                  True: ([-0.5, -2.0, -4.0, -0.25, 0.0, -8.0, float("-inf"), float("nan")],
                         [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, float("-inf")])}

        def check(dtype, target, reduction, log_target):
            for count in (4, 6, 7, 8):
                shape = (2, -1) if count % 2 == 0 else (-1,)
                x, t = (torch.tensor(v[:count], dtype=getattr(torch, d)).reshape(shape)
                        for v, d in zip(values[log_target], (dtype, target)))
                expected = torch.nn.functional.kl_div(x.double(), t.double(), reduction=reduction,
                                                      log_target=log_target)
                answer = self.client.kl_div(x, t, reduction, log_target)
                if reduction == "none":
                    promoted = torch.promote_types(x.dtype, t.dtype)
                    self.assertEqual(answer.dtype, promoted)
                    torch.testing.assert_close(answer, expected.to(promoted), rtol=0, atol=0, equal_nan=True)
                else:
                    torch.testing.assert_close(answer, expected.item(), rtol=0, atol=0, equal_nan=True)

        self.each_case(check)

    def test_bfloat16_gives_the_bits_of_the_same_values_in_float32_by_the_command_line_tool(self):
        for reduction, log_target in itertools.product(REDUCTIONS, (False, True)):
            with self.subTest(reduction=reduction, log_target=log_target):
                x, t = self.tensors("bfloat16", "bfloat16", log_target)
                flags = [f"--reduction={reduction}"] + ["--log_target"] * log_target
                expected = self.server.eval(x.float().numpy(), t.float().numpy(), *flags)
                answer = self.client.kl_div(x, t, reduction, log_target)
                if reduction == "none":
                    once = self.client.kl_div(x.double(), t, "none", log_target)
                    self.assertEqual(answer.dtype, torch.bfloat16)
                    self.assertEqual(once.dtype, torch.float64)
                    numpy.testing.assert_array_equal(once.float().numpy(), expected)
                else:
                    self.assertEqual(bits(answer), bits(expected))

    def test_views_tensors_with_gradients_and_without_dimensions_are_taken(self):
        x, t = self.tensors("bfloat16", "float32", False)
        expected = self.client.kl_div(x, t, "none")
        self.assertTrue(torch.equal(self.client.kl_div(x.t(), t.t(), "none"), expected.t()))
        self.assertTrue(torch.equal(self.client.kl_div(x.float().requires_grad_(), t, "none"), expected))
        for dtype in (torch.bfloat16, torch.float64):
            answer = self.client.kl_div(torch.tensor(-2, dtype=dtype), torch.tensor(1, dtype=dtype), "none")
            self.assertTrue(torch.equal(answer, torch.tensor(2, dtype=dtype)))

    def test_the_answer_is_of_the_inputs_kind(self):
        x, t = self.tensors("float32", "float32", False)
        self.assertIsInstance(self.client.kl_div(x.numpy(), t, "none"), numpy.ndarray)
        self.assertIsInstance(self.client.kl_div(x, t.numpy(), "none"), torch.Tensor)

    def test_refuses_tensors_that_have_no_dtype_on_the_wire_or_no_bytes_here(self):
        good = torch.zeros(2)
        for bad in (torch.zeros(2, dtype=torch.int32), torch.zeros(2, dtype=torch.cfloat), good.to_sparse(),
                    torch.zeros(2, device="meta")):
            with self.subTest(bad=bad.dtype), self.assertRaises(TypeError):
                self.client.kl_div(bad, good)


if __name__ == "__main__":
    server.main()
