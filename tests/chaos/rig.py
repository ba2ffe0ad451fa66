"""What the scripts of this folder share: their flags, the server under test, and load through the client library."""

import argparse
import atexit
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "bench"), str(HERE.parent / "bench/memory")]
from load import Bars  # noqa: E402,F401  # the folders have just been named
from server import Server as MeasuredServer  # noqa: E402

PATIENCE_S = 60
WATCH = "/grpc.health.v1.Health/Watch"


def flags_of(name, description):
    """A parser of the flags that all these scripts have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--bin", type=pathlib.Path, default=pathlib.Path("build/release/bin"), help="folder of programs")
    parser.add_argument("--quick", action="store_true", help="see in less than 20 s that everything runs")
    parser.add_argument("--json", default=f"build/{name}.json")
    return parser


def wait_until(condition, what, seconds=PATIENCE_S):
    """How many seconds it took. TimeoutError: too many."""
    begin = time.monotonic()
    while not condition():
        if time.monotonic() - begin > seconds:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(0.01)
    return time.monotonic() - begin


def spawn(*command, **options):
    """A process that does not outlive this one."""
    process = subprocess.Popen([str(part) for part in command], **options)
    atexit.register(process.kill)
    return process


class Server(MeasuredServer):
    """A kldiv-server on free ports that does not outlive this process."""

    def __init__(self, *command, **options):
        super().__init__(*command, **options)
        atexit.register(self.process.kill)

    def metrics_now(self):
        """Name, with labels -> value. OSError: it answers no more."""
        with urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}

    def descriptors(self):
        return len(list(pathlib.Path(f"/proc/{self.process.pid}/fd").iterdir()))


class Helper:
    """A process of a script here that says when it is ready and stays until it is told to end."""

    def __init__(self, script, *arguments, prefix=()):
        self.process = spawn(*prefix, sys.executable, HERE / script, *arguments, stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "ready\n":
            raise RuntimeError(f"{script} {arguments} did not begin")

    def end(self):
        """What it says last."""
        said, _ = self.process.communicate(timeout=2 * PATIENCE_S)
        return said

    def kill(self):
        self.process.kill()
        self.process.wait()


class Load:
    """kldiv-load at work, until `finish`; every answer is compared with the right one."""

    def __init__(self, programs, server, *flags):
        self.folder = tempfile.TemporaryDirectory()
        self.document = pathlib.Path(self.folder.name) / "report.json"
        self.log = pathlib.Path(self.folder.name) / "log"
        with open(self.log, "w", encoding="utf-8") as log:
            self.process = spawn(programs / "kldiv-load", f"--server={server}", "--warmup=0s", "--duration=1h",
                                 "--progress", f"--json={self.document}", *flags, stdout=subprocess.DEVNULL, stderr=log)

    def wait_until_begun(self):
        """Until its first second is over, which it reports."""
        wait_until(lambda: self.log.stat().st_size > 0, "kldiv-load begins")

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()

    def finish(self):
        """Ends it and waits for the calls under way: the run's part of its report."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(timeout=PATIENCE_S)
        if code not in (0, 1):
            raise RuntimeError(f"kldiv-load ended with {code}: {self.log.read_text()}")
        run = json.loads(self.document.read_text())["runs"][0]
        self.folder.cleanup()
        return run
