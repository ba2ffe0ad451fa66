"""Servers under measurement, and the client that measures them."""

import json
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "testing"))
from server_process import ServerProcess  # noqa: E402  # the folder has just been named

BUILD = pathlib.Path("build/release")
PEERS = pathlib.Path(__file__).parent / "peers"
PYTHON = "/usr/bin/python3"
OURS = ("--listen=127.0.0.1:0", "--metrics_listen=")


class Server(ServerProcess):
    """A server on a free port of this machine."""

    def __init__(self, *command):
        super().__init__(*command, stderr=subprocess.DEVNULL)

    def cpu_seconds(self):
        """Of all its threads, and of the processes that it has forked."""
        pids = [self.process.pid]
        for pid in pids:
            children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            pids += [int(child) for child in children]
        return sum(int(schedstat.read_text().split()[0])
                   for pid in pids for schedstat in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")) * 1e-9

    def resident(self):
        """KiB in physical memory."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1))


def kldiv_server(*flags, binary="bin/kldiv-server"):
    return Server(BUILD / binary, *OURS, *flags)


def call(server, **flags):
    """What bench_client measures with these flags, and the server's CPU time for each call."""
    before = server.cpu_seconds()
    command = [BUILD / "bench/bench_client", f"--server={server.address}"]
    command += [f"--{name}={value}" for name, value in flags.items()]
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if run.returncode != 0:
        raise RuntimeError(run.stderr or f"bench_client: exit code {run.returncode}")
    result = json.loads(run.stdout)
    result["server_cpu_us"] = (server.cpu_seconds() - before) * 1e6 / max(1, result["calls_in_all"])
    return result


class Bars:
    """Prints figures beside what is asked of them, and keeps them for the JSON file."""

    def __init__(self):
        self.rows = []

    def report(self, what, value, least=None, most=None, note=""):
        met = (least is None or value >= least) and (most is None or value <= most)  # false for NaN
        bar = f">= {least:g}" if least is not None else f"<= {most:g}" if most is not None else ""
        verdict = "" if not bar else "met" if met else "MISSED"
        self.rows.append({"what": what, "value": value, "bar": bar, "met": met, "note": note})
        print(f"{what:<66} {value:>10.3f}  {bar:<9} {verdict:<6} {note}", flush=True)

    def finish(self, path, **more):
        """Writes the file; the exit code of the script."""
        missed = sum(not row["met"] for row in self.rows)
        pathlib.Path(path).write_text(json.dumps({"rows": self.rows, **more}, indent=1))
        print(f"{missed} bars missed; all figures are in {path}")
        return 1 if missed else 0
