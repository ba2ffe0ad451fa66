"""Images made and containers run without a container engine: by buildah in chroots, and by unshare."""

import contextlib
import json
import os
import pathlib
import signal
import stat
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "testing"))
from server_process import ServerProcess  # noqa: E402  # the folder has just been named

PATIENCE_S = 60
# $1: the container's root, $2: its user, $3: a folder to show at /data; then the program. As in a container, it is the
# first process, its root is read-only, and its network its own: a loopback.
START = """
set -e
mount --bind "$1" "$1"
mkdir -p "$1/data"
mount --bind -o ro "$3" "$1/data"
mount -t proc proc "$1/proc"
mount -o remount,bind,ro "$1"
ip link set lo up
exec /usr/sbin/chroot --userspec="$2" "$1" "${@:4}"
"""


class Storage:
    """Where buildah keeps images and layers."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.command = ["buildah", "--root", self.folder / "images", "--runroot", self.folder / "run",
                        "--storage-driver", "vfs"]

    def run(self, *arguments, prefix=()):
        """What it prints, also into the log; AssertionError with the log's end: it failed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / "log", "a+") as log:
            start = log.tell()
            code = subprocess.run([*prefix, *self.command, *arguments], stdin=subprocess.DEVNULL, stdout=log,
                                  stderr=subprocess.STDOUT).returncode
            log.seek(start)
            told = log.read()
        if code:
            raise AssertionError(f"buildah {arguments[0]} ended with {code}:\n{told[-4000:]}")
        return told

    def has(self, name):
        return subprocess.run([*self.command, "inspect", "--type=image", name], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL).returncode == 0

    def add(self, name, folder):
        """Makes an image of what the folder holds."""
        container = self.run("from", "scratch").strip()
        self.run("add", "--quiet", container, folder, "/")
        self.run("commit", "--quiet", "--rm", container, name)

    def build(self, dockerfile, context, target, arguments, network=True):
        """The image is named after its target. Without network, what it needs of one must be a layer already."""
        return self.run(
            "build", "--isolation=chroot", "--layers", "--format=docker", "--pull-never", f"--file={dockerfile}",
            f"--ignorefile={dockerfile}.dockerignore", f"--target={target}", f"--tag=localhost/kldiv:{target}",
            *(f"--build-arg={name}={value}" for name, value in arguments.items()), context,
            prefix=() if network else ("unshare", "--net"))

    @contextlib.contextmanager
    def opened(self, name):
        container = self.run("from", "--pull-never", name).strip()
        try:
            told = json.loads(self.run("inspect", "--type=image", name))
            yield Image(pathlib.Path(self.run("mount", container).strip()), told["Docker"]["config"])
        finally:
            self.run("rm", container)


class Image:
    """root: a copy of its files; the rest is its configuration."""

    def __init__(self, root, config):
        self.root = root
        self.user = config["User"]
        self.environment = dict(setting.split("=", 1) for setting in config["Env"])
        self.entrypoint = config["Entrypoint"]
        self.labels = config["Labels"]
        self.health_check = config["Healthcheck"]["Test"]
        self.stop_signal = signal.Signals[config["StopSignal"]]
        # As it was built: containers come later.
        self.files = {f"/{path.relative_to(root)}": path.lstat() for path in root.rglob("*")}

    @property
    def bytes(self):
        return sum(status.st_size for status in self.files.values() if not stat.S_ISDIR(status.st_mode))


class Container:
    """A server from an image, from its ready line until it is stopped."""

    def __init__(self, image, data, environment={}, **options):
        self.image = image
        self.environment = image.environment | environment
        self.server = ServerProcess(
            "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "bash", "-c", START, "start", image.root,
            image.user, data, *image.entrypoint, env=self.environment | {"PATH": os.environ["PATH"]}, **options)
        outside = self.server.process.pid
        self.pid = int(pathlib.Path(f"/proc/{outside}/task/{outside}/children").read_text())

    def run(self, *command):
        """Runs one of the image's programs beside the server."""
        user, group = self.image.user.split(":")
        return subprocess.run(
            ["/usr/bin/nsenter", f"--target={self.pid}", "--mount", "--net", "--pid", "--root", f"--setuid={user}",
             f"--setgid={group}", *command], env=self.environment, text=True, capture_output=True, timeout=PATIENCE_S)

    def run_in_its_network(self, *command):
        """Runs a program of this machine where the server can be reached."""
        return subprocess.run(["nsenter", f"--target={self.pid}", "--net", *command], text=True, capture_output=True,
                              timeout=PATIENCE_S)

    def is_healthy(self):
        kind, *command = self.image.health_check
        assert kind == "CMD", "a shell would be needed"
        return self.run(*command).returncode == 0

    def send_stop_signal(self):
        os.kill(self.pid, self.image.stop_signal)

    def wait(self):
        """The exit code."""
        return self.server.process.wait(timeout=PATIENCE_S)

    def close(self):
        if self.server.process.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
        self.server.stop(signal.SIGKILL)
