"""Certificates for a server on this machine, made by openssl."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """A CA, and a server's certificate that it signed."""

    ca: Path
    certificate: Path
    key: Path


def certificates(folder: Path) -> Certificates:
    """New ones, in a folder that is made."""
    folder.mkdir(parents=True)
    (folder / "ext").write_text("subjectAltName=IP:127.0.0.1\n", "utf-8")
    new_key = ("-newkey", "rsa:2048", "-nodes")
    _openssl(folder, "req", "-x509", *new_key, "-subj", "/CN=Test CA", "-keyout", "ca.key", "-out", "ca.pem")
    _openssl(folder, "req", *new_key, "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr")
    signed_by = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "ext")
    _openssl(folder, "x509", "-req", "-in", "server.csr", *signed_by, "-out", "server.pem")
    return Certificates(ca=folder / "ca.pem", certificate=folder / "server.pem", key=folder / "server.key")


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
