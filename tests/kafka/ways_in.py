"""The setting `kafka` for each way into the secured Kafka; docs/kafka-security.md shows the same."""

from collections.abc import Mapping
from dataclasses import dataclass

from .identity_provider import CLIENT, SECRET
from .secured import PASSWORDS, Secured

Setting = dict[str, str | bool | int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A bootstrap address, and the setting `kafka` for it."""

    bootstrap: str
    kafka: Setting

    def but(self, **changed: str | bool | int | None) -> "Way":
        """The same with other properties, `_` for `.`; None leaves one out."""
        named = {name.replace("_", "."): value for name, value in changed.items()}
        merged = {**self.kafka, **named}
        return Way(bootstrap=self.bootstrap, kafka={name: value for name, value in merged.items() if value is not None})

    def at(self, bootstrap: str) -> "Way":
        """The same at another address."""
        return Way(bootstrap=bootstrap, kafka=self.kafka)


def ways_in(secured: Secured) -> Mapping[str, Way]:
    """Every way by its name."""
    password: Setting = {"sasl.username": "forebay", "sasl.password": PASSWORDS["forebay"]}
    tls: Setting = {"security.protocol": "SSL", "ssl.ca.location": str(secured.authority)}
    bearer: Setting = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "OAUTHBEARER"}
    in_clear: Setting = {"security.protocol": "SASL_PLAINTEXT", **password}
    encrypted: Setting = {**tls, "security.protocol": "SASL_SSL", **password}
    own: Setting = {
        "ssl.certificate.location": str(secured.client.certificate),
        "ssl.key.location": str(secured.client.key),
    }
    oidc: Setting = {
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.token.endpoint.url": f"{secured.provider.url}/token",
        "sasl.oauthbearer.client.id": CLIENT,
        "sasl.oauthbearer.client.secret": SECRET,
    }
    unsigned: Setting = {
        "enable.sasl.oauthbearer.unsecure.jwt": True,
        "sasl.oauthbearer.config": "principal=forebay lifeSeconds=3600",
    }
    settings: dict[str, tuple[str, Setting]] = {
        "clear": (secured.clear, {}),
        "plain": (secured.at("SASL"), {**in_clear, "sasl.mechanism": "PLAIN"}),
        "scram": (secured.at("SASL"), {**in_clear, "sasl.mechanism": "SCRAM-SHA-512"}),
        "tls": (secured.at("SSL", "localhost"), tls),
        "plain over tls": (secured.at("SASL_SSL"), {**encrypted, "sasl.mechanism": "PLAIN"}),
        "scram over tls": (secured.at("SASL_SSL"), {**encrypted, "sasl.mechanism": "SCRAM-SHA-512"}),
        "mutual tls": (secured.at("MTLS"), {**tls, **own}),
        "oidc": (secured.at("OIDC"), {**bearer, **oidc}),
        "unsigned tokens": (secured.at("BEARER"), {**bearer, **unsigned}),
    }
    return {name: Way(bootstrap=bootstrap, kafka=setting) for name, (bootstrap, setting) in settings.items()}
