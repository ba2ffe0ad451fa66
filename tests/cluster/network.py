"""Machines with their own addresses, made of network namespaces on one bridge, and a name for the servers among them.

Needs root and iproute2. `available()` says whether they can be made here."""

import os
import pathlib
import shutil
import socket
import struct
import subprocess
import threading

NAME = "kldiv.test"
SUBNET = "10.77.0"
CLIENT = f"{SUBNET}.1"
ETC_NETNS = pathlib.Path("/etc/netns")  # what a namespace has in place of files in /etc


def ip(*arguments, netns=None):
    subprocess.run(["ip", *(["-n", netns] if netns else []), *arguments], check=True, capture_output=True, text=True)


def available():
    if os.geteuid() != 0:
        return False
    try:
        ip("netns", "add", "kldiv-probe")
        ip("netns", "del", "kldiv-probe")
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


class Network:
    """A client's machine, CLIENT, and machines 1 to `count` at address(i). A context."""

    def __init__(self, count):
        self.count = count
        self.prefix = f"kldiv{os.getpid()}-"

    def address(self, i):
        return f"{SUBNET}.{10 + i}"

    def machine(self, i):
        """The namespace of machine i; 0 is the client's."""
        return f"{self.prefix}{i}"

    def command(self, i, *arguments):
        """A command as it runs on machine i."""
        return ["ip", "netns", "exec", self.machine(i), *map(str, arguments)]

    def __enter__(self):
        for i in range(self.count + 1):
            ip("netns", "add", self.machine(i))
            ip("link", "set", "lo", "up", netns=self.machine(i))
        client = self.machine(0)
        ip("link", "add", "bridge", "type", "bridge", netns=client)
        ip("addr", "add", f"{CLIENT}/24", "dev", "bridge", netns=client)
        ip("link", "set", "bridge", "up", netns=client)
        for i in range(1, self.count + 1):
            ip("link", "add", f"port{i}", "netns", client, "type", "veth", "peer", "name", "eth0", "netns", self.machine(i))
            ip("addr", "add", f"{self.address(i)}/24", "dev", "eth0", netns=self.machine(i))
            ip("link", "set", "eth0", "up", netns=self.machine(i))
            ip("link", "set", f"port{i}", "master", "bridge", netns=client)
            self.heal(i)
        return self

    def __exit__(self, *_):
        for i in range(self.count + 1):
            subprocess.run(["ip", "netns", "del", self.machine(i)], check=False, capture_output=True)
            shutil.rmtree(ETC_NETNS / self.machine(i), ignore_errors=True)

    def tell_name(self, i, name, address):
        """Machine i resolves the name as this address, by a hosts file of its own."""
        folder = ETC_NETNS / self.machine(i)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "hosts").write_text(f"{address} {name}\n", encoding="ascii")

    def cut_off(self, i):
        """Nothing reaches machine i or comes from it, and nobody is told."""
        ip("link", "set", f"port{i}", "nomaster", netns=self.machine(0))

    def heal(self, i):
        ip("link", "set", f"port{i}", "master", "bridge", netns=self.machine(0))
        ip("link", "set", f"port{i}", "up", netns=self.machine(0))


class Names:
    """A DNS server on the client's machine that knows one name, with the addresses in `addresses`. A context.

    Answers questions for A records of NAME; for everything else it says that there is none."""

    def __init__(self, network):
        self.addresses = []
        self.queries = 0
        self.socket = self._socket_in(network.machine(0))
        self.thread = threading.Thread(target=self._serve, daemon=True)

    @staticmethod
    def _socket_in(machine):
        made = []

        def make():
            with open(f"/run/netns/{machine}", encoding="ascii") as netns:
                set_namespace(netns.fileno())
            made.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            made[0].bind((CLIENT, 53))

        thread = threading.Thread(target=make)  # A namespace is a thread's.
        thread.start()
        thread.join()
        return made[0]

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.socket.close()

    def target(self, port):
        return f"dns://{CLIENT}:53/{NAME}:{port}"

    def _serve(self):
        while True:
            try:
                question, sender = self.socket.recvfrom(512)
                self.socket.sendto(self._answer(question), sender)
            except OSError:
                return

    def _answer(self, question):
        labels, at = [], 12
        while question[at]:
            labels.append(question[at + 1:at + 1 + question[at]].decode())
            at += 1 + question[at]
        kind, = struct.unpack(">H", question[at + 1:at + 3])
        known = ".".join(labels).lower() == NAME
        records = list(self.addresses) if known and kind == 1 else []
        self.queries += kind == 1
        header = question[:2] + struct.pack(">HHHHH", 0x8580 if known else 0x8583, 1, len(records), 0, 0)
        body = question[12:at + 5]
        for address in records:
            body += struct.pack(">HHHIH", 0xC00C, 1, 1, 0, 4) + socket.inet_aton(address)
        return header + body


def set_namespace(descriptor):
    import ctypes  # pylint: disable=import-outside-toplevel
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, 0) != 0:
        raise OSError(ctypes.get_errno(), "setns")
