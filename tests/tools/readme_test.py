"""Runs what the README shows, against a built tree.

Usage: readme_test.py BUILD_FOLDER

Every fenced block of the README is used here, and a `text` block is the exact output of the block before it:
  sh       run as it is, but for lines of two kinds: `./dev COMMAND` must be in ./dev's own usage text, and
           `kldiv-server FLAGS &` is the server that all blocks talk to
  cmake, cpp   built together against the installed package and run
  python   run with the package that an sh block before it has installed into ~/venv, without network
The server's real port takes the place of 50051, the build folder that of build/release, and a temporary folder
that of /opt/kldiv and of the home folder.
"""

import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "testing"))
from server_process import ServerProcess  # noqa: E402  # the folder has just been named

ROOT = pathlib.Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
KNOWN_LANGUAGES = {"sh", "cmake", "cpp", "python", "text"}


class Server(ServerProcess):
    """The server that the README starts, but on a free port and without metrics."""

    def __init__(self, shell, binary):
        line = re.search(r"^build/release/bin/kldiv-server(.*) &$", shell, re.MULTILINE)
        flags = shlex.split(line.group(1).replace("127.0.0.1:50051", "127.0.0.1:0"))
        super().__init__(binary, *flags, "--metrics_listen=")


class Readme(unittest.TestCase):
    build = None

    @classmethod
    def setUpClass(cls):
        cls.blocks = BLOCK.findall((ROOT / "README.md").read_text())
        cls.shell = "".join(text for language, text in cls.blocks if language == "sh")
        cls.server = Server(cls.shell, cls.build / "bin" / "kldiv-server")
        cls.folder = tempfile.TemporaryDirectory()
        cls.places = {"127.0.0.1:50051": cls.server.address, "build/release": str(cls.build),
                      "/opt/kldiv": f"{cls.folder.name}/installed"}
        cls.environment = {k: v for k, v in os.environ.items() if not k.startswith("KLDIV_")}
        cls.environment |= {"KLDIV_SERVER": cls.server.address, "HOME": cls.folder.name,
                            # The system's packages are what the client's package is built with: pip reads 0 as
                            # "no isolation".
                            "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0",
                            "PATH": "/usr/bin:/bin:" + os.environ["PATH"]}

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()
        if cls.server.stop() != 0:
            raise RuntimeError("the server did not end cleanly")

    def run_in_tree(self, *command, **keywords):
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=600,
                              **keywords)
        self.assertEqual(done.returncode, 0, f"{command}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def placed(self, text):
        for written, real in self.places.items():
            text = text.replace(written, real)
        return text

    def run_shell(self, text):
        usage = self.run_in_tree("./dev", "help")
        lines = []
        for line in text.splitlines():
            words = line.split("#")[0].split()
            if words and words[0] == "./dev":
                self.assertRegex(usage, rf"(?m)^  {re.escape(words[1])}\b", line)
            elif not words or not words[0].endswith("bin/kldiv-server"):
                lines.append(line)
        return self.run_in_tree("bash", "-euc", self.placed("\n".join(lines)))

    def run_cpp(self, text, cmake):
        source = pathlib.Path(self.folder.name) / "example"
        source.mkdir()
        (source / "CMakeLists.txt").write_text("cmake_minimum_required(VERSION 3.24)\nproject(example)\n" + cmake)
        (source / "example.cc").write_text(self.placed(text))
        self.run_in_tree("cmake", "-S", str(source), "-B", f"{source}/build",
                         f"-DCMAKE_PREFIX_PATH={self.places['/opt/kldiv']}")
        self.run_in_tree("cmake", "--build", f"{source}/build")
        return self.run_in_tree(f"{source}/build/example")

    def test_every_block_runs_and_says_what_is_written_below_it(self):
        output = cmake = None
        for language, text in self.blocks:
            with self.subTest(language=language, text=text):
                self.assertIn(language, KNOWN_LANGUAGES)
                if language == "text":
                    self.assertEqual(output, text)
                elif language == "sh":
                    output = self.run_shell(text)
                elif language == "cmake":
                    cmake, output = text, None
                elif language == "cpp":
                    output = self.run_cpp(text, cmake)
                elif language == "python":
                    output = self.run_in_tree(f"{self.folder.name}/venv/bin/python", "-c", self.placed(text))

    def test_shows_both_commands_and_all_languages(self):
        shown = {language for language, _ in self.blocks}
        self.assertEqual(shown, KNOWN_LANGUAGES)
        for command in ("./dev demo", "./dev test"):
            self.assertIn(command, self.shell)

    def test_names_files_that_exist(self):
        text = BLOCK.sub("", (ROOT / "README.md").read_text())
        for name in re.findall(r"`((?:proto|server|client|tests)/[\w/.-]+)`", text):
            self.assertTrue((ROOT / name).exists(), name)


if __name__ == "__main__":
    Readme.build = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main()
