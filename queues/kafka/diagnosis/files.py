"""What the setting `kafka` says by itself, before any broker is asked."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from forebay.queues.findings import Finding, State
from forebay.queues.kafka.named_files import unreadable
from forebay.queues.kafka.properties import Properties, mechanism, uses_sasl, uses_tls

#: A certificate is renewed by people: they need some days.
_SOON = timedelta(days=14)

_SWITCHES = {
    "enable.ssl.certificate.verification": ("false", "anybody can pose as a broker"),
    "ssl.endpoint.identification.algorithm": ("none", "whoever has any certificate can pose as a broker"),
    "enable.sasl.oauthbearer.unsecure.jwt": ("true", "tokens that nobody signed: for tests only"),
}


def examined(properties: Properties, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Iterator[Finding]:
    """Files that can't be read, a certificate of ours that has expired, properties without effect or unsafe."""
    for name, detail in unreadable(properties):
        yield _finding(name, "fail", detail, f"set {name} in the setting kafka to a file that this user can read")
    for name, value in properties.items():
        if name in _SWITCHES and str(value).lower() == _SWITCHES[name][0]:
            yield _finding(name, "warn", f"{value}: {_SWITCHES[name][1]}", "leave it out")
    yield from _without_effect(properties)
    yield from _bearer(properties)
    yield from _validity(properties, now())


def _without_effect(properties: Properties) -> Iterator[Finding]:
    for prefix, is_used, protocols in (
        ("sasl.", uses_sasl(properties), "SASL_SSL or SASL_PLAINTEXT"),
        ("ssl.", uses_tls(properties), "SSL or SASL_SSL"),
    ):
        idle = [name for name in properties if name.startswith(prefix)]
        if idle and not is_used:
            detail = f"{properties.get('security.protocol', 'not set')}, so {', '.join(idle)} have no effect"
            yield _finding("security.protocol", "warn", detail, f"set security.protocol to {protocols}")
    if uses_sasl(properties) and not uses_tls(properties) and mechanism(properties) == "PLAIN":
        detail = "SASL_PLAINTEXT with PLAIN: the password travels in clear"
        yield _finding("security.protocol", "warn", detail, "use SASL_SSL, or SCRAM-SHA-512 inside a closed network")


def _bearer(properties: Properties) -> Iterator[Finding]:
    gets_one = str(properties.get("sasl.oauthbearer.method", "")).lower() == "oidc"
    signs_one = str(properties.get("enable.sasl.oauthbearer.unsecure.jwt", "")).lower() == "true"
    if uses_sasl(properties) and mechanism(properties) == "OAUTHBEARER" and not gets_one and not signs_one:
        remedy = (
            "set it to oidc in the setting kafka, with sasl.oauthbearer.token.endpoint.url, .client.id, .client.secret"
        )
        yield _finding("sasl.oauthbearer.method", "fail", "not set, so that nobody gets a token", remedy)


def _validity(properties: Properties, now: datetime) -> Iterator[Finding]:
    path = Path(str(properties.get("ssl.certificate.location", "")))
    try:
        ends = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    except (OSError, ValueError):
        # It can't be read, which was told already, or is no certificate, which librdkafka will tell.
        return
    remedy = "have it renewed"
    if ends < now:
        yield _finding("ssl.certificate.location", "fail", f"{path} has expired on {ends:%Y-%m-%d}", remedy)
    elif ends < now + _SOON:
        yield _finding("ssl.certificate.location", "warn", f"{path} expires on {ends:%Y-%m-%d}", remedy)


def _finding(name: str, state: State, detail: str, remedy: str) -> Finding:
    return Finding(check=f"kafka {name}", state=state, detail=detail, remedy=remedy)
