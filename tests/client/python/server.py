"""What the tests of the Python client talk to: the real server, and its tool."""

import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest

import numpy

import kldiv

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "testing"))
from server_process import ServerProcess  # noqa: E402  # the folder has just been named

REDUCTIONS = ("none", "mean", "batchmean", "sum")


class Server(ServerProcess):
    """A kldiv-server on a free port, from the programs in `folder`."""

    def __init__(self, folder, *flags):
        self.folder = pathlib.Path(folder)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("KLDIV_")}
        super().__init__(self.folder / "kldiv-server", "--listen=127.0.0.1:0", "--metrics_listen=", "--backend=cpu",
                         *flags, env=environment)

    def eval(self, x, t, *flags):
        """What `kldiv eval` answers for two NumPy arrays: a float, or with --reduction=none an array."""
        with tempfile.TemporaryDirectory() as folder:
            for name, array in (("x", x), ("t", t)):
                numpy.save(f"{folder}/{name}.npy", array)
            output = [f"--output={folder}/out.npy"] if "--reduction=none" in flags else []
            done = subprocess.run([self.folder / "kldiv", "eval", f"--server={self.address}", *flags, *output,
                                   f"{folder}/x.npy", f"{folder}/t.npy"], capture_output=True, text=True, timeout=60)
            if done.returncode != 0:
                raise RuntimeError(done.stderr)
            return numpy.load(f"{folder}/out.npy") if output else float(done.stdout)


def bits(value):
    return struct.pack("<d", value)


def distributions(shape, dtype, seed=1):
    """(log-probabilities, probabilities) of random distributions over the last dimension."""
    random = numpy.random.default_rng(seed)
    x, t = (random.dirichlet(numpy.ones(shape[-1]), shape[:-1]) + 1e-4 for _ in range(2))
    return numpy.log(x).astype(dtype), t.astype(dtype)


class RealServer(unittest.TestCase):
    programs = None

    @classmethod
    def setUpClass(cls):
        cls.server = Server(cls.programs)
        cls.addClassCleanup(cls.server.stop)
        cls.client = kldiv.Client(cls.server.address)
        cls.addClassCleanup(cls.client.close)

    def assert_same(self, a, b):
        """Of one type and shape, and the same to the bit; any NaN equals any."""
        self.assertEqual((a.dtype, a.shape), (b.dtype, b.shape))
        nan = numpy.isnan(a)
        numpy.testing.assert_array_equal(nan, numpy.isnan(b))
        self.assertEqual(a[~nan].tobytes(), b[~nan].tobytes())


def main():
    """Runs the tests of the program: PROGRAMS_FOLDER [unittest's arguments]."""
    RealServer.programs = sys.argv.pop(1)
    unittest.main()
