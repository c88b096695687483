"""TLS certificates that nobody vouches for: made here, and pinned by their hash."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_YEARS = 10


def make_certificate(url: str) -> bytes:
    """Key and self-signed certificate in PEM: pinned by hash through the directory, so nobody else vouches for it."""
    host = urlsplit(url).hostname or "localhost"
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
    try:
        alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        alternative = x509.DNSName(host)
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=365 * _YEARS))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + private


def certificate_hash(path: Path) -> bytes:
    """SHA-256 of the certificate in a PEM file, as a directory pins it."""
    certificate = x509.load_pem_x509_certificates(path.read_bytes())[0]
    return hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).digest()
