"""A kldiv-server under measurement."""

import os
import re
import signal
import subprocess
import threading
import time


class Server:
    """Starts the server on free ports of 127.0.0.1 and ::1; `stop` ends it and checks its exit code."""

    def __init__(self, binary, *flags, preexec=None):
        self.process = subprocess.Popen([binary, "--listen=127.0.0.1:0,[::1]:0", "--metrics_listen=127.0.0.1:0", *flags],
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, preexec_fn=preexec)
        line = self.process.stdout.readline()
        match = re.match(r"listening on (\S+),(\S+) metrics=(\S+) ", line)
        if not match:
            raise RuntimeError(f"the server did not start: {line!r}")
        self.ipv4, self.ipv6, self.metrics = match.groups()
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

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)
