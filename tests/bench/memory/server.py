"""A kldiv-server under measurement."""

import os
import pathlib
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "testing"))
from server_process import ServerProcess  # noqa: E402  # the folder has just been named


class Server(ServerProcess):
    """A kldiv-server on free ports of 127.0.0.1 and ::1."""

    def __init__(self, binary, *flags, preexec=None, stderr=subprocess.DEVNULL):
        super().__init__(binary, "--listen=127.0.0.1:0,[::1]:0", "--metrics_listen=127.0.0.1:0", *flags,
                         stderr=stderr, preexec_fn=preexec)
        self.ipv4, self.ipv6 = self.addresses
        self.peak = 0
        self._watching = threading.Event()
        self._watcher = None

    def resident(self):
        """Bytes in physical memory."""
        with open(f"/proc/{self.process.pid}/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    def watch_peak(self):
        """Begins to sample resident memory every 5 ms into `peak`."""
        self.peak = self.resident()

        def sample():
            while not self._watching.wait(0.005):
                self.peak = max(self.peak, self.resident())

        self._watching.clear()
        self._watcher = threading.Thread(target=sample, daemon=True)
        self._watcher.start()

    def stop_watching(self):
        self._watching.set()
        self._watcher.join()

    def settle(self, seconds):
        """Resident bytes after so long."""
        time.sleep(seconds)
        return self.resident()
