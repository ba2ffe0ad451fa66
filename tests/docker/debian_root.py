"""A Debian of its own for tests: a folder made by debootstrap, in which commands run and systemd can be booted."""

import contextlib
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile

PATIENCE_S = 120
QUIET = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
# Ends with this process, whatever ends that.
NSPAWN = ("setpriv", "--pdeathsig=TERM", "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--console=pipe")


def sources():
    """The mirrors that this machine takes Debian from: lines of a sources.list."""
    told = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN) deb $(REPO_URI) $(CODENAME) $(COMPONENT)",
         "Created-By: Packages"], check=True, capture_output=True, text=True).stdout
    return sorted(set(re.findall(r"^Debian (deb \S+ \S+ main)$", told, re.MULTILINE)))


def run(command, **options):
    """What it prints on stdout; with what it printed on stderr in the error when it fails."""
    ended = subprocess.run(command, text=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=1800, **options)
    if ended.returncode:
        raise AssertionError(f"{command} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}")
    return ended.stdout


def debootstrap(folder, packages=()):
    """Fills the folder with this machine's release of Debian, which knows its mirrors, but not yet what they have."""
    mirrors = sources()
    _, mirror, release, _ = next(line for line in mirrors if "-" not in line.split()[2]).split()
    include = [f"--include={','.join(packages)}"] if packages else []
    run(["debootstrap", "--variant=minbase", *include, release, folder, mirror])
    (pathlib.Path(folder) / "etc/apt/sources.list").write_text("\n".join(mirrors) + "\n")


class DebianRoot:
    """Its commands run as root, apart from this machine's files and processes, over this machine's network."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)

    def bootstrap(self, packages=()):
        debootstrap(self.folder, packages)
        self.run("apt-get", "update")

    def copy_to(self, folder):
        run(["cp", "-a", "--reflink=auto", self.folder, folder])
        return DebianRoot(folder)

    def run(self, *command):
        with control_group() as group:
            return run([*NSPAWN, "--as-pid2", *(f"--setenv={name}={value}" for name, value in QUIET.items()),
                        "--directory", self.folder, *command], preexec_fn=group.enter)

    @contextlib.contextmanager
    def booted(self):
        """A Booted, ended afterwards. Its network is its own loopback alone."""
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            notify = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            notify.bind(f"{folder}/notify")
            notify.settimeout(PATIENCE_S)
            group = stack.enter_context(control_group())
            nspawn = subprocess.Popen(
                [*NSPAWN, "--private-network", "--notify-ready=yes", "--directory", self.folder, "--boot"],
                env=os.environ | {"NOTIFY_SOCKET": f"{folder}/notify", "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=group.enter)
            stack.callback(end, nspawn)
            told = ""
            while "READY=1" not in told:
                told += notify.recv(4096).decode() + "\n"
            yield Booted(re.search(r"^X_NSPAWN_LEADER_PID=(\d+)$", told, re.MULTILINE)[1])


class Booted:
    """A DebianRoot with systemd as its first process."""

    def __init__(self, leader):
        self.leader = leader

    def run(self, *command):
        return run(["nsenter", "--target", self.leader, "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup",
                    *command], env=QUIET)


def end(nspawn):
    nspawn.terminate()  # shuts systemd down in good order
    try:
        nspawn.wait(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        nspawn.kill()
        nspawn.wait()


class ControlGroup:
    def __init__(self, folder):
        self.folder = folder

    def enter(self):
        """In a child, before it executes."""
        (self.folder / "cgroup.procs").write_text(str(os.getpid()))


@contextlib.contextmanager
def control_group():
    """For a process that makes control groups beside its own, as nspawn does; all are removed."""
    mounts = [line.split() for line in pathlib.Path("/proc/self/mounts").read_text().splitlines()]
    hierarchy = next(place for _, place, kind, *_ in mounts if kind == "cgroup2")
    folder = tempfile.mkdtemp(prefix="kldiv-test-", dir=hierarchy)
    try:
        yield ControlGroup(pathlib.Path(folder))
    finally:
        for inner, _, _ in os.walk(folder, topdown=False):
            os.rmdir(inner)


def missing():
    """What keeps this machine from having a DebianRoot; empty when nothing does."""
    if os.geteuid() != 0:
        return "needs root"
    programs = [name for name in ("debootstrap", "systemd-nspawn", "nsenter", "setpriv") if not shutil.which(name)]
    return f"needs {', '.join(programs)}" if programs else ""
