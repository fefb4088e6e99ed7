"""From the setting `queue_url` to what the client connects with."""

import re
import ssl
from dataclasses import dataclass, replace
from typing import NamedTuple
from urllib.parse import unquote

from forebay.queues.errors import QueueError
from forebay.queues.passwords import FILE_PARAMETER, Password, password
from forebay.queues.urls import is_misleading, parameters

#: Scheme → the port that is meant when none is written.
_PORTS = {"amqp": 5672, "amqps": 5671}

_SHAPE = (
    "queue_url: write amqp://user:password@host:5672/vhost (amqps:// for TLS), with %40 for @ in a password, %3A for "
    ":, %2F for /, %3F for ?, %25 for %, and so on; the virtual host that is called / is %2F, or nothing; of a cluster "
    "name several nodes: host1:5672,host2:5672"
)

_URL = re.compile(
    r"(?P<scheme>\w+)://((?P<user>[^:@/?]*)(:(?P<password>[^@/?]*))?@)?(?P<nodes>[^@/?]*)"
    r"(/(?P<vhost>[^/?]*))?(\?(?P<query>.*))?"
)

_NODE = re.compile(r"(?P<host>[^\[\]:]+|\[[0-9A-Fa-f:.]+\])(:(?P<port>[0-9]{1,5}))?")

#: What may follow the `?`: files that say whom to trust, who we are, and how we prove it.
_PARAMETERS = ("cafile", "certfile", "keyfile", FILE_PARAMETER)

#: The user that every node has, and its password.
_GUEST = "guest"


class Node(NamedTuple):
    """A node, as the URL names it."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Address:
    """Where the nodes are, any of which will do, who we are, and what protects the way."""

    scheme: str
    nodes: tuple[Node, ...]
    user: str
    password: Password
    vhost: str
    files: dict[str, str]

    @property
    def name(self) -> str:
        """The queue as a person calls it, without user and password."""
        where = ",".join(map(self._called, self.nodes))
        return f"{self.scheme}://{where}/{'' if self.vhost == '/' else self.vhost}"

    def _called(self, node: Node) -> str:
        host = f"[{node.host}]" if ":" in node.host else node.host
        return host if node.port == _PORTS[self.scheme] else f"{host}:{node.port}"

    def each(self) -> list["Address"]:
        """One for each node."""
        return [replace(self, nodes=(node,)) for node in self.nodes]

    def context(self) -> ssl.SSLContext | None:
        """What the node has to prove; None without TLS. Raises `OSError` when a file can't be read."""
        if self.scheme != "amqps":
            return None
        context = ssl.create_default_context(cafile=self.files.get("cafile"))
        if "certfile" in self.files:
            context.load_cert_chain(self.files["certfile"], self.files.get("keyfile"))
        return context


def address(url: str) -> Address:
    """What the URL says. Raises `QueueError`, which quotes nothing of the URL but names of parameters."""
    # Its words may be a part of the password.
    found = None if is_misleading(url) else _URL.fullmatch(url)
    if found is None or found["scheme"] not in _PORTS:
        raise QueueError(_SHAPE)
    scheme = found["scheme"]
    files = _files(found["query"] or "", scheme)
    secret = password(unquote(found["password"] or ""), files.pop(FILE_PARAMETER, None))
    return Address(
        scheme=scheme,
        nodes=tuple(_node(one, _PORTS[scheme]) for one in (found["nodes"] or "localhost").split(",")),
        user=unquote(found["user"] or _GUEST),
        password=secret if secret.written or secret.file else Password(_GUEST),
        vhost=unquote(found["vhost"] or "/"),
        files=files,
    )


def _node(text: str, usual: int) -> Node:
    found = _NODE.fullmatch(text)
    port = int(found["port"] or usual) if found else 0
    if found is None or not 0 < port < 65_536:
        raise QueueError(_SHAPE)
    return Node(found["host"].strip("[]").lower(), port)


def _files(query: str, scheme: str) -> dict[str, str]:
    given = parameters(query, scheme, _PARAMETERS)
    if scheme != "amqps" and (idle := sorted(given.keys() - {FILE_PARAMETER})):
        raise QueueError(f"queue_url: {', '.join(idle)}: only amqps:// has TLS")
    return given
