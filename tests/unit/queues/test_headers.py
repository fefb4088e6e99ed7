from hypothesis import given
from hypothesis import strategies as st

from forebay.queues.headers import Headers, pack, unpack

_HEADERS = st.lists(st.tuples(st.text(), st.binary())).map(tuple)


@given(_HEADERS)
def test_headers_come_back_exactly_and_in_their_order(headers: Headers) -> None:
    assert unpack(pack(headers)) == headers
