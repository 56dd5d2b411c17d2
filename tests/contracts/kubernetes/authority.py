# Copyright (c) 2026, Stoker contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An authority of its own for each double: certificates of the server and of its users."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class Authority:
    """Signs certificates. ``pem`` is its own."""

    def __init__(self, name: str = "kubernetes-ca of the tests") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        self.pem = self._sign(self._name, self._key, [x509.BasicConstraints(ca=True, path_length=None)])

    def server(self) -> tuple[bytes, bytes]:
        """Certificate and key of a server on 127.0.0.1, also called kubernetes.test."""
        names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("kubernetes.test")]
        return self._issue("kube-apiserver", [x509.SubjectAlternativeName(names)])

    def user(self, name: str) -> tuple[bytes, bytes]:
        """Certificate and key of a user: the common name is the user, as Kubernetes has it."""
        return self._issue(name, [x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH])])

    def _issue(self, name: str, extensions: list[Any]) -> tuple[bytes, bytes]:
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return self._sign(_named(name), key, extensions), pem

    def _sign(self, name: x509.Name, key: ec.EllipticCurvePrivateKey, extensions: list[Any]) -> bytes:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder().subject_name(name).issuer_name(self._name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=2))
        )  # fmt: skip
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
