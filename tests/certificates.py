"""Certificates of the tests' own authority, in PEM files as Kafka and librdkafka read them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_YEAR = timedelta(days=365)
_HOUR = timedelta(hours=1)

#: Python 3.13 takes no authority that does not say that it is one, and no certificate that does not name the key of who
#: signed it (RFC 5280, sections 4.2.1.3 and 4.2.1.1).
_SIGNS = x509.KeyUsage(
    key_cert_sign=True,
    crl_sign=True,
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """Files: the certificate, its key, and both in one, the key first."""

    certificate: Path
    key: Path
    both: Path


class Authority:
    """Signs certificates with a key of its own."""

    def __init__(self, folder: Path, name: str = "forebay test authority") -> None:
        self._folder = folder / name.replace(" ", "-")
        self._folder.mkdir(parents=True)
        self._key, self._name = generate_private_key(SECP256R1()), _named(name)
        now = datetime.now(UTC)
        self._certificate = (
            _builder(self._name, self._name, self._key, (now - 2 * _YEAR, now + _YEAR))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_SIGNS, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, SHA256())
        )
        self.certificate = self._folder / "ca.pem"
        self.certificate.write_bytes(self._certificate.public_bytes(Encoding.PEM))

    def signed(
        self, name: str, hosts: Sequence[str] = (), *, valid_until: datetime | None = None, file: str = ""
    ) -> Certificate:
        """A certificate for these hosts, which servers and clients may use."""
        key = generate_private_key(SECP256R1())
        until = valid_until or datetime.now(UTC) + _YEAR
        builder = _builder(_named(name), self._name, key, (until - _YEAR - _HOUR, until))
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = builder.add_extension(usage, critical=False)
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(signer, critical=False)
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName(list(map(_general, hosts))), critical=False)
        return self._written(file or name, builder.sign(self._key, SHA256()), key)

    def _written(self, name: str, certificate: x509.Certificate, key: EllipticCurvePrivateKey) -> Certificate:
        public = certificate.public_bytes(Encoding.PEM)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        place = self._folder / name
        made = Certificate(
            certificate=place.with_suffix(".crt"), key=place.with_suffix(".key"), both=place.with_suffix(".pem")
        )
        made.certificate.write_bytes(public)
        made.key.write_bytes(private)
        made.both.write_bytes(private + public)
        return made


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    name: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey, valid: tuple[datetime, datetime]
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(valid[0])
        .not_valid_after(valid[1])
    )


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
