from collections.abc import Sequence
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from forebay.ingest.callers.client import client_of
from forebay.ingest.callers.networks import Networks, network_of

PROXIES = Networks(map(network_of, ("10.0.0.0/8", "2001:db8:aaaa::/48", "127.0.0.1")))

#: An address of nobody's proxy, in the forms in which proxies write them.
CLIENTS = st.one_of(
    st.ip_addresses(v=4).map(lambda ip: (ip, str(ip))),
    st.ip_addresses(v=4).map(lambda ip: (ip, f"{ip}:51234")),
    st.ip_addresses(v=4).map(lambda ip: (ip, f"::ffff:{ip}")),
    st.ip_addresses(v=6).map(lambda ip: (ip, str(ip))),
    st.ip_addresses(v=6).map(lambda ip: (ip, f"[{ip}]:443")),
).filter(lambda one: one[0] not in PROXIES and getattr(one[0], "ipv4_mapped", None) is None)
OURS = st.sampled_from(("10.0.0.1", "10.255.0.9", "2001:db8:aaaa::7", "127.0.0.1", "::ffff:10.1.2.3"))

#: What a caller may put into the header himself: addresses that we trust or allow, and rubbish.
LIES = st.lists(
    st.one_of(
        OURS.map(str.encode),
        st.ip_addresses().map(lambda ip: str(ip).encode()),
        st.binary(max_size=20).map(lambda raw: raw.replace(b"\n", b"").replace(b"\r", b"")),
    ),
    max_size=6,
)


def written(lies: Sequence[bytes], hops: Sequence[str], as_lines: Sequence[bool]) -> list[bytes]:
    """The header as it comes to us: each proxy has added whom it was called by, to the last line or as a new one."""
    lines = [b", ".join(lies)] if lies else []
    for hop, as_line in zip(hops, as_lines, strict=True):
        if as_line or not lines:
            lines.append(hop.encode())
        else:
            lines[-1] += b", " + hop.encode()
    return lines


@given(CLIENTS, LIES, st.lists(OURS, min_size=1, max_size=5), st.data())
def test_whatever_a_caller_writes_his_address_is_that_of_whom_our_first_proxy_saw(
    client: tuple[object, str], lies: list[bytes], proxies: list[str], data: st.DataObject
) -> None:
    hops = [client[1], *proxies[:-1]]
    as_lines = data.draw(st.lists(st.booleans(), min_size=len(hops), max_size=len(hops)))

    found = client_of(proxies[-1], written(lies, hops, as_lines), PROXIES)

    assert found == client[0]


@given(CLIENTS, LIES, st.lists(st.booleans(), max_size=3))
def test_the_word_of_whoever_is_no_proxy_of_ours_is_not_looked_at(
    client: tuple[object, str], lies: list[bytes], more: list[bool]
) -> None:
    assert client_of(client[1], written(lies, ["10.0.0.1"] * len(more), more), PROXIES) == client[0]


def test_where_no_proxy_is_trusted_the_connection_tells() -> None:
    assert client_of("127.0.0.1", [b"203.0.113.7"], Networks(())) == ip_address("127.0.0.1")


def test_a_call_that_a_proxy_made_itself_comes_from_the_proxy() -> None:
    assert client_of("127.0.0.1", [], PROXIES) == ip_address("127.0.0.1")
    assert client_of("127.0.0.1", [b"10.0.0.7"], PROXIES) == ip_address("10.0.0.7")


def test_a_proxy_that_does_not_know_who_called_leaves_him_unknown() -> None:
    for entry in (b"unknown", b"", b"203.0.113.9, ", b"203.0.113.9, _hidden", b"999.0.0.1"):
        assert client_of("10.0.0.1", [entry], PROXIES) is None


def test_a_list_of_proxies_without_end_is_not_read_to_its_end() -> None:
    assert client_of("10.0.0.1", [b"203.0.113.9," + b"10.0.0.1," * 1000 + b"10.0.0.1"], PROXIES) is None
