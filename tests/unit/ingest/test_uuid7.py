from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from forebay.ingest.uuid7 import uuid7

#: The test vector of RFC 9562, appendix A.6: 2022-02-22 19:22:22 UTC.
RFC_MS = 0x017F22E279B0


def test_the_time_stands_where_the_rfc_says() -> None:
    text = uuid7(RFC_MS * 1_000_000, draw=lambda _: 0)

    assert text == "017f22e2-79b0-7000-8000-000000000000"


@given(st.integers(0, 2**63), st.integers(0, 2**62 - 1))
def test_an_id_is_a_version_7_uuid(now_ns: int, chance: int) -> None:
    found = UUID(uuid7(now_ns, draw=lambda _: chance))

    assert (found.version, found.variant) == (7, "specified in RFC 4122")


@given(st.integers(0, 2**62), st.integers(1_000, 10**12))
def test_ids_sort_by_time(now_ns: int, later_ns: int) -> None:
    assert uuid7(now_ns) < uuid7(now_ns + later_ns)
