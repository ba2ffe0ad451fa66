"""Certificates as an authority issues them, made with openssl."""

import pathlib
import subprocess

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


class Authority:
    """Keeps what it makes in `folder`; its own certificate is at `ca`."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.ca, self.key = self.folder / "ca.pem", self.folder / "ca.key"
        openssl("req", "-x509", *KEY, "-subj", "/CN=authority", "-days", 2, "-keyout", self.key, "-out", self.ca)

    def issue(self, name):
        """A certificate for localhost: the paths of it and of its key."""
        cert, key, request = (self.folder / f"{name}.{end}" for end in ("pem", "key", "csr"))
        extensions = self.folder / "extensions"
        extensions.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        openssl("req", "-new", *KEY, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.key, "-days", 2, "-extfile", extensions,
                "-out", cert)
        return cert, key
