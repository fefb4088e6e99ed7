"""A Kafka with a listener for each way in (in clear, by password, by certificate, by token) and for usual faults."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from string import Template

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # they are public, but in no __all__
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialUpsertion,
)

from tests.certificates import Authority, Certificate
from tests.ports import free_ports

from .cluster import Cluster, Node
from .identity_provider import IdentityProvider, identity_provider

#: Users of the listeners with a password. Only the first may do anything; the others get their rights in the tests.
PASSWORDS = {
    user: f"pw-7hQz-{user}"
    for user in (
        "forebay",
        "carol",
        "forebay-ingest",
        "forebay-worker",
        "forebay-canary",
        "forebay-web",
        "forebay-operator",
    )
}

_LISTENERS = ("SASL", "SSL", "SASL_SSL", "MTLS", "BEARER", "OIDC", "EXPIRED", "FOREIGN", "LOST", "NAMELESS")
_HERE = Path(__file__).parent
_ANSWER_S = 30
_ALL_ACLS = AclBindingFilter(
    ResourceType.ANY,
    None,  # type: ignore[arg-type]  # any name, user and host, as the client documents; its types don't say so
    ResourcePatternType.ANY,
    None,  # type: ignore[arg-type]
    None,  # type: ignore[arg-type]
    AclOperation.ANY,
    AclPermissionType.ANY,
)


class SecuredNode(Node):
    """A broker with many listeners, each on a port of its own."""

    def __init__(self, number: int, folder: Path, files: Mapping[str, object]) -> None:
        super().__init__(number, folder)
        self._files = files
        self.options = [f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={files['keys']}"]
        self.ports = dict(zip(_LISTENERS, free_ports(len(_LISTENERS)), strict=True))

    def properties(self, values: Mapping[str, object]) -> str:
        """The properties of every node, and after them those of the listeners."""
        [nobody] = free_ports(1)
        own = {"port": self.port, "controller_port": self.controller_port, "nobody": nobody}
        more = Template((_HERE / "secured.properties").read_text("utf-8"))
        return super().properties(values) + "\n" + more.substitute({**self._files, **self.ports, **own})


@dataclass(frozen=True, slots=True, kw_only=True)
class Secured:
    """The running broker, and what its clients need."""

    cluster: Cluster
    ports: Mapping[str, int]
    authority: Path
    other_authority: Path
    client: Certificate
    expired_client: Certificate
    provider: IdentityProvider

    @property
    def clear(self) -> str:
        """Where a client comes in without a password, and may do everything."""
        return self.cluster.bootstrap

    def at(self, listener: str, host: str = "127.0.0.1") -> str:
        """The bootstrap address of a listener."""
        return f"{host}:{self.ports[listener]}"

    def allow(self, user: str, kind: ResourceType, name: str, *operations: AclOperation) -> None:
        """Give the user these rights; they hold when this returns."""
        given = [
            AclBinding(kind, name, ResourcePatternType.LITERAL, f"User:{user}", "*", operation, AclPermissionType.ALLOW)
            for operation in operations
        ]
        with AdminClient({"bootstrap.servers": self.clear, "log_level": 0}) as admin:
            for made in admin.create_acls(given).values():
                made.result(_ANSWER_S)
            # The controller has them; the broker that judges by them hears of them a moment later.
            while not set(given) <= set(admin.describe_acls(_ALL_ACLS).result(_ANSWER_S)):
                pass


@contextmanager
def secured_kafka(folder: Path) -> Iterator[Secured]:
    """One broker with every listener. Raises `NotHere`."""
    authority, other = Authority(folder), Authority(folder, "another authority")
    yesterday = datetime.now(UTC) - timedelta(days=1)
    hosts = ("localhost", "127.0.0.1")
    with identity_provider() as provider:
        files = {
            "authority": authority.certificate,
            "good": authority.signed("broker", hosts).both,
            "expired": authority.signed("expired-broker", hosts, valid_until=yesterday).both,
            "foreign": authority.signed("foreign-broker", ("kafka.example",)).both,
            "keys": f"{provider.url}/keys",
            "issuer": provider.url,
            "users": " ".join(f'user_{user}="{password}"' for user, password in PASSWORDS.items()),
        }
        node = SecuredNode(1, folder / "node", files)
        with Cluster(folder, nodes=[node]) as cluster:
            secured = Secured(
                cluster=cluster,
                ports=node.ports,
                authority=authority.certificate,
                other_authority=other.certificate,
                client=authority.signed("forebay-client", file="client"),
                expired_client=authority.signed("expired-client", valid_until=yesterday),
                provider=provider,
            )
            _make_users(secured)
            yield secured


def _make_users(secured: Secured) -> None:
    """PLAIN's users stand in the broker's properties; SCRAM's are made now. The rights are the same."""
    credential = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    made: list[UserScramCredentialAlteration] = [
        UserScramCredentialUpsertion(user, credential, word.encode()) for user, word in PASSWORDS.items()
    ]
    with AdminClient({"bootstrap.servers": secured.clear, "log_level": 0}) as admin:
        for done in admin.alter_user_scram_credentials(made).values():
            done.result(_ANSWER_S)
    for user in ("forebay", "CN=forebay-client"):
        for kind in (ResourceType.TOPIC, ResourceType.GROUP):
            secured.allow(user, kind, "*", AclOperation.ALL)
