from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.ingest.callers.networks import Address, Network, Networks, address_of, network_of

NETWORKS = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.integers(0, 32)), st.tuples(st.ip_addresses(v=6), st.integers(0, 128))
).map(lambda one: ip_network(one, strict=False))


@given(st.lists(NETWORKS, max_size=8), st.ip_addresses())
def test_an_address_is_in_the_networks_when_it_is_in_one_of_them(found: list[Network], address: Address) -> None:
    probes = [address, *(network[0] for network in found), *(network[-1] for network in found)]

    for probe in probes:
        assert (probe in Networks(found)) == any(
            probe.version == network.version and probe in network for network in found
        )


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("203.0.113.7", "203.0.113.7"),
        (" 203.0.113.7:443 ", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
    ],
)
def test_an_address_is_read_in_every_form_in_which_servers_write_it(text: str, address: str) -> None:
    assert address_of(text) == ip_address(address)


@pytest.mark.parametrize("text", ["", "localhost", "1.2.3", "1.2.3.4.5", "[::1", "a" * 1000, "1.2.3.4, 5.6.7.8"])
def test_what_is_no_address_is_none(text: str) -> None:
    assert address_of(text) in (None, ip_address("::1"))


def test_ipv4_written_as_ipv6_is_the_same_network() -> None:
    assert network_of("::ffff:203.0.113.0/120") == ip_network("203.0.113.0/24")
    assert ip_address("203.0.113.9") in Networks([network_of("::ffff:203.0.113.0/120")])


def test_a_network_with_bits_of_a_host_is_a_fault_in_the_settings_and_none_in_a_list() -> None:
    with pytest.raises(ValueError, match=r"write it as 203\.0\.113\.0/24"):
        network_of("203.0.113.7/24")

    assert network_of("203.0.113.7/24", strict=False) == ip_network("203.0.113.0/24")
