#!/usr/bin/env python3
"""Opens pages of kldiv-load in a headless browser: their charts are drawn, without an error, and what they show are
the JSON's numbers. Usage: page_in_browser_test.py BIN_FOLDER; only with KLDIV_SLOW=1 and chromium, else skipped."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import unittest
from html.parser import HTMLParser

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "testing"))
from server_process import ServerProcess  # noqa: E402  # the folder has just been named

BIN = pathlib.Path(sys.argv.pop())
STALL_SECONDS = 1


class Server(ServerProcess):
    def __init__(self):
        super().__init__(BIN / "kldiv-server", "--listen=127.0.0.1:0", "--metrics_listen=", stderr=subprocess.DEVNULL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stall_after(self, seconds):
        def stall():
            self.process.send_signal(signal.SIGSTOP)
            threading.Timer(STALL_SECONDS, self.process.send_signal, [signal.SIGCONT]).start()
        threading.Timer(seconds, stall).start()


class Elements(HTMLParser):
    """Every start tag with its attributes, and the text right after it."""

    def __init__(self, html):
        super().__init__()
        self.all = []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.all.append([tag, dict(attributes), ""])

    def handle_data(self, data):
        if self.all:
            self.all[-1][2] += data

    def having(self, attribute):
        return [(tag, attributes, text) for tag, attributes, text in self.all if attribute in attributes]


def make_page(folder, *flags, stall_after=None, timeout=120):
    """Runs kldiv-load; returns the JSON document and the page's path."""
    page, document = folder / "page.html", folder / "report.json"
    with Server() as server:
        if stall_after is not None:
            server.stall_after(stall_after)
        run = subprocess.run([BIN / "kldiv-load", f"--server={server.address}", f"--html={page}", f"--json={document}",
                              "--shape=1000", *flags], capture_output=True, text=True, timeout=timeout)
    if run.returncode not in (0, 1):
        raise AssertionError(run.stderr)
    return json.loads(document.read_text()), page


def open_page(page):
    """The page's elements after its script has run, and what the browser's console said."""
    with tempfile.TemporaryDirectory() as profile:
        run = subprocess.run(["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
                              "--enable-logging=stderr", "--v=0", "--virtual-time-budget=5000", "--dump-dom",
                              page.as_uri()], capture_output=True, text=True, timeout=120)
    console = [line for line in run.stderr.splitlines() if "CONSOLE" in line]
    return Elements(run.stdout), console


class PageInBrowser(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def check(self, report, page, charts):
        """Charts drawn, no error, and the shown numbers the JSON's. Returns {chart: {series: points}}."""
        elements, console = open_page(page)
        self.assertEqual(console, [])
        self.assertTrue(any(attributes.get("data-drawn") == "true" for _, attributes, _ in elements.all))
        figures = elements.having("data-path")
        self.assertGreater(len(figures), 15)
        for _, attributes, text in figures:
            value = report
            for key in attributes["data-path"].split("/"):
                value = value[int(key)] if isinstance(value, list) else value[key]
            self.assertEqual(json.loads(attributes["data-value"]), value, attributes["data-path"])
            if isinstance(value, (int, float)):
                self.check_shown(value, text, attributes["data-path"])
        drawn, current = {}, None
        for tag, attributes, _ in elements.all:
            if tag == "svg":
                current = attributes.get("id")
            elif "data-series" in attributes:
                points = json.loads(attributes["data-points"])
                self.assertEqual(len(re.findall(r"[ML]", attributes["d"])), len(points))
                self.assertNotIn("NaN", attributes["d"])
                drawn.setdefault(current, {})[attributes["data-series"]] = points
        self.assertEqual(set(drawn), set(charts))
        return drawn

    def check_shown(self, value, text, path):
        """`text` is the number with three digits, or all those before the point, and a unit."""
        number, _, unit = text.replace(",", "").partition(" ")
        factor = {"ns": 1e-3, "µs": 1, "ms": 1e3, "s": 1e6, "B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "": 1}[unit]
        error = max(abs(value) * 0.005, 0.5 if not unit else 0)
        self.assertLessEqual(abs(float(number) * factor - value), error, f"{path}: {text} for {value}")

    CHARTS = {"latency-over-time", "spectrum", "rate-over-time"}

    def test_closed_loop(self):
        report, page = make_page(self.folder, "--concurrency=8", "--warmup=0s", "--duration=3s")
        drawn = self.check(report, page, self.CHARTS)
        run = report["runs"][0]
        self.assertEqual(drawn["spectrum"]["concurrency 8"][-1][1], run["latency_us"]["max"])

    def test_a_stall_shows_in_an_open_loop(self):
        report, page = make_page(self.folder, "--rate=1000", "--warmup=0s", "--duration=5s", stall_after=2.5)
        self.assertGreater(report["latency_us"]["p999"], 0.8e6 * STALL_SECONDS)
        drawn = self.check(report, page, self.CHARTS)
        longest = [us for _, us in drawn["latency-over-time"]["max"]]
        self.assertGreater(max(longest), 0.9e6 * STALL_SECONDS)
        self.assertLess(sorted(longest)[1], 0.1e6)  # In other seconds it does not show.

    def test_a_range(self):
        report, page = make_page(self.folder, "--rate=500:2000:*2", "--warmup=0s", "--duration=2s")
        drawn = self.check(report, page, self.CHARTS | {"rate-against-latency"})
        self.assertEqual(drawn["rate-against-latency"]["p99"],
                         [[run["achieved_rate"], run["latency_us"]["p99"]] for run in report["runs"]])
        self.assertEqual(len(drawn["spectrum"]), 3)

    def test_a_run_in_which_every_call_fails_shows_no_latency(self):
        report, page = make_page(self.folder, "--concurrency=2", "--warmup=0s", "--duration=3s", "--max_error_rate=1",
                                 "--timeout=1ms", "--shape=5000000")  # 40 MB do not arrive in that time.
        self.assertEqual(report["runs"][0]["ok"], 0)
        self.assertEqual(report["failures"], [])
        elements, console = open_page(page)
        self.assertEqual(console, [])
        shown = [text for _, attributes, text in elements.having("data-path") if "/latency_us/" in attributes["data-path"]]
        self.assertGreater(len(shown), 4)
        self.assertEqual(set(shown), {"–"})
        headline = [text.strip() for _, attributes, text in elements.having("id") if attributes["id"] == "headline"]
        self.assertEqual(headline, ["0 calls/s, no right answer"])
        # The seconds with errors are marked next to each other, within the chart.
        marks = [(float(attributes["x"]), float(attributes["x"]) + float(attributes["width"]))
                 for _, attributes, _ in elements.having("x") if attributes.get("class") == "error-mark"]
        self.assertGreater(len(marks), 1)
        for (_, end), (begin, _) in zip(marks, marks[1:]):
            self.assertAlmostEqual(begin, end, places=6)

    def test_hostile_text_and_errors(self):
        report, page = make_page(self.folder, "--concurrency=2", "--warmup=0s", "--duration=1s")
        hostile = "</script><script>console.error('run')</script><img src=x onerror=console.error('run')>"
        report["command"] = [hostile]
        report["failures"] = [hostile]
        report["runs"][0]["errors"] = {"UNAVAILABLE": 7}
        report["runs"][0]["error_texts"] = {"UNAVAILABLE": hostile}
        report["runs"][0]["timeline"][0]["errors"] = 7
        data = json.dumps(report).replace("<", "\\u003c")
        page.write_text(re.sub(r'(id="report">).*?(</script>)', lambda m: m[1] + data + m[2], page.read_text(),
                               flags=re.S))
        drawn = self.check(report, page, self.CHARTS)
        self.assertIn([0, 7], drawn["rate-over-time"]["max"])


if __name__ == "__main__":
    if os.environ.get("KLDIV_SLOW") != "1" or shutil.which("chromium") is None:
        print("skipped: only with KLDIV_SLOW=1 and chromium")
        sys.exit(77)
    del os.environ["KLDIV_SLOW"]  # The programs would warn of it, which names no flag of theirs.
    unittest.main()
