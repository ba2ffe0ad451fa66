"""The Python client's tokens and certificates.

Usage: security_test.py PROGRAMS_FOLDER [unittest's arguments]
"""

import pathlib
import subprocess
import sys
import tempfile
import unittest

import grpc

import kldiv
from double import PAIR, WithDouble, answer_all, succeed


class Tokens(WithDouble):
    def test_a_token_is_sent_with_every_call(self):
        double = self.double(evaluate=[succeed], stream=[answer_all])
        client = self.client(double, token="secret")
        client.kl_div(PAIR.input, PAIR.target)
        list(client.kl_div_stream([PAIR]))
        self.client(double).kl_div(PAIR.input, PAIR.target)
        self.assertEqual([call.get("authorization") for call in double.calls], ["Bearer secret"] * 2 + [None])

    def test_a_token_file_is_read_again_at_every_call(self):
        double = self.double(evaluate=[succeed])
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "token"
            client = self.client(double, token_file=file)
            for token in ("first", "second"):
                file.write_text(f"{token}\n")
                client.kl_div(PAIR.input, PAIR.target)
            file.unlink()
            with self.assertRaises(OSError):
                client.kl_div(PAIR.input, PAIR.target)
        self.assertEqual([call["authorization"] for call in double.calls], ["Bearer first", "Bearer second"])

    def test_no_token_goes_to_another_machine_in_plaintext_unless_that_is_wanted(self):
        with self.assertRaises(ValueError):
            kldiv.Client("example.invalid:50051", token="secret")
        for address in ("127.0.0.1.example.invalid:1", "localhost.example.invalid:1", "ipv4:127.0.0.1:1,192.0.2.1:1",
                        "dns:///localhost:1"):
            with self.subTest(address=address), self.assertRaises(ValueError):
                kldiv.Client(address, token="secret")
        for address in ("unix:/socket", "localhost:1", "[::1]:1", "ipv4:127.0.0.1:1,127.0.0.2:1"):
            kldiv.Client(address, token="secret").close()
        kldiv.Client("example.invalid:50051", token="secret", allow_plaintext_tokens=True).close()
        kldiv.Client("example.invalid:50051", token="secret", tls=True).close()

    def test_refuses_options_that_contradict_each_other(self):
        for options in ({"token": "a", "token_file": "b"}, {"server_ca": "a"}, {"tls": True, "client_cert": "a"},
                        {"timeout": 0}):
            with self.subTest(**options), self.assertRaises(ValueError):
                kldiv.Client("127.0.0.1:1", **options)


class Tls(WithDouble):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        for name in ("server", "client", "stranger"):
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                            "-nodes", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2",
                            "-keyout", cls.folder / f"{name}.key", "-out", cls.folder / f"{name}.pem"],
                           check=True, capture_output=True)

    def read(self, name):
        return (self.folder / name).read_bytes()

    def tls_double(self, client_ca=None):
        credentials = grpc.ssl_server_credentials([(self.read("server.key"), self.read("server.pem"))],
                                                  client_ca, client_ca is not None)
        return self.double(evaluate=[succeed], credentials=credentials)

    def test_a_server_is_trusted_by_the_given_authority_alone(self):
        double = self.tls_double()
        client = self.client(double, tls=True, server_ca=self.folder / "server.pem", token="secret")
        self.assertEqual(client.kl_div(PAIR.input, PAIR.target), 2)
        self.assertEqual(double.calls[0]["authorization"], "Bearer secret")
        for options in ({"server_ca": self.folder / "stranger.pem"}, {}):
            with self.assertRaises(kldiv.Unavailable):
                self.client(double, tls=True, retry=False, **options).kl_div(PAIR.input, PAIR.target)

    def test_a_client_shows_its_certificate(self):
        double = self.tls_double(client_ca=self.read("client.pem"))
        ca = {"tls": True, "retry": False, "server_ca": self.folder / "server.pem"}
        own = {"client_cert": self.folder / "client.pem", "client_key": self.folder / "client.key"}
        client = self.client(double, **own, **ca)
        self.assertEqual(client.kl_div(PAIR.input, PAIR.target), 2)
        with self.assertRaises(kldiv.Unavailable):
            self.client(double, **ca).kl_div(PAIR.input, PAIR.target)

    def test_a_certificate_that_cannot_be_read_is_an_os_error(self):
        with self.assertRaises(OSError):
            kldiv.Client("127.0.0.1:1", tls=True, server_ca=self.folder / "missing.pem")


if __name__ == "__main__":
    sys.argv.pop(1)
    unittest.main()
