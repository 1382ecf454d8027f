"""Real certificates for a real broker, made by the openssl command."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
OUR_NAMES = "DNS:localhost,IP:127.0.0.1"


class Authority:
    """A certificate authority of the openssl command line."""

    def __init__(self, folder: Path, name: str) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("the openssl command is not installed")
        self.folder = folder
        self.name = name
        self.certificate = folder / f"{name}.crt"
        self.key = folder / f"{name}.key"
        files = ["-keyout", str(self.key), "-out", str(self.certificate)]
        self._openssl("req", "-x509", *EC, *files, "-days", "30", "-subj", f"/CN={name}")

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)

    def issue(self, name: str, alternatives: str = OUR_NAMES, days: int = 30) -> tuple[Path, Path]:
        """Certificate and key; negative ``days`` make one that has expired."""
        key, request = self.folder / f"{name}.key", self.folder / f"{name}.csr"
        certificate, extensions = self.folder / f"{name}.crt", self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={alternatives}\n")
        self._openssl("req", *EC, "-keyout", str(key), "-out", str(request), "-subj", f"/CN={name}")
        signing = ["-CA", str(self.certificate), "-CAkey", str(self.key), "-CAcreateserial"]
        files = ["-in", str(request), "-out", str(certificate), "-extfile", str(extensions)]
        self._openssl("x509", "-req", *files, *signing, "-days", str(days))
        return certificate, key


def listener(certificate: Path, key: Path, more: str = "allow_anonymous true") -> str:
    return f"certfile {certificate}\nkeyfile {key}\n{more}"
