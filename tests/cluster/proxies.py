"""nginx and HAProxy on a machine of a network, with the configurations of docker/ and this network's addresses."""

import pathlib
import re
import shutil
import signal
import subprocess

DOCKER = pathlib.Path(__file__).resolve().parents[2] / "docker"


def available():
    return all(shutil.which(program) for program in ("nginx", "haproxy"))


class Proxy:
    """What the shipped file `name` makes of `program`, on machine i.

    replacements: what stands there for what is here. folder: for its files."""

    program = checks = serves = reloads = None

    def __init__(self, net, i, name, folder, replacements):
        self.net, self.i, self.process = net, i, None
        self.file = folder / pathlib.Path(name).name
        self.log = folder / f"{self.file.name}.log"
        self.write((DOCKER / name).read_text(), replacements)

    def write(self, text, replacements):
        for shipped, here in replacements.items():
            if shipped not in text:
                raise ValueError(f"{shipped!r} is not in {self.file.name}")
            text = text.replace(shipped, here)
        self.file.write_text(text)
        check = subprocess.run([self.program, *self.checks, self.file], check=False, capture_output=True, text=True)
        if check.returncode != 0:
            raise ValueError(f"{self.program} does not take {self.file.name}: {check.stderr}")

    def start(self):
        with self.log.open("w") as log:
            self.process = subprocess.Popen(self.net.command(self.i, self.program, *self.serves, self.file),
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=60)

    def reload(self, text, replacements):
        self.write(text, replacements)
        self.process.send_signal(self.reloads)

    def add_server(self, name, address):
        """As one does it: one line more, like the last, and a reload."""
        text = self.file.read_text()
        last = re.findall(r"^ *server .*:\d+.*\n", text, re.MULTILINE)[-1]
        self.reload(text, {last: last + re.sub(r"\d+\.\d+\.\d+\.\d+", address, last).replace("kldiv3", name)})


class Nginx(Proxy):
    program = "nginx"
    checks = ("-q", "-t", "-c")
    serves = ("-g", "daemon off;", "-c")
    reloads = signal.SIGHUP

    def mark(self, address, down):
        states = [f"server {address}:50051 max_fails", f"server {address}:50051 down max_fails"]
        self.reload(self.file.read_text(), dict([states if down else states[::-1]]))


class Haproxy(Proxy):
    program = "haproxy"
    checks = ("-c", "-q", "-f")
    serves = ("-W", "-db", "-f")  # -W: as Debian starts it, so that it can be reloaded
    reloads = signal.SIGUSR2
