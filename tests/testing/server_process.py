"""A server's process, as tests and benchmarks start it."""

import re
import signal
import subprocess


class ServerProcess:
    """From the ready line until `stop`. RuntimeError: it did not start.

    command: the program and its flags; options: subprocess.Popen's.
    """

    def __init__(self, *command, **options):
        self.process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True, **options)
        line = self.process.stdout.readline()
        ready = re.match(r"listening on (\S+)(?: metrics=(\S+))?", line)
        if not ready:
            self.stop()
            raise RuntimeError(f"{command[0]} did not start: {line!r}")
        self.addresses = ready[1].split(",")
        self.metrics = ready[2]  # its address; "off" or None: it has none

    @property
    def address(self):
        return self.addresses[0]

    def stop(self, with_signal=signal.SIGTERM):
        """Ends it; its exit code."""
        self.process.send_signal(with_signal)
        code = self.process.wait(timeout=60)
        self.process.stdout.close()
        return code
