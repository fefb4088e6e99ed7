"""A portal's normal form and its partition."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.schemas.portal import BadPortal, member_key, murmur2, normal_form, partition_of


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("some-domain.bitrix24.ru", "some-domain.bitrix24.ru"),
        ("Some-Domain.Bitrix24.RU", "some-domain.bitrix24.ru"),
        ("some-domain.bitrix24.ru.", "some-domain.bitrix24.ru"),
        ("https://some-domain.bitrix24.ru/rest/", "some-domain.bitrix24.ru"),
        ("some-domain.bitrix24.ru:443", "some-domain.bitrix24.ru"),
        ("http://crm.example-corp.ru:80/", "crm.example-corp.ru"),
        ("crm.example-corp.ru.:8890", "crm.example-corp.ru:8890"),
        ("  crm.example-corp.ru ", "crm.example-corp.ru"),
        ("пример.рф", "xn--e1afmkfd.xn--p1ai"),
        ("ПРИМЕР.РФ", "xn--e1afmkfd.xn--p1ai"),
        ("intranet", "intranet"),
        ("my_box.local", "my_box.local"),
        ("a" * 63 + ".ru", "a" * 63 + ".ru"),
    ],
)
def test_one_portal_has_one_normal_form(sent: str, expected: str) -> None:
    assert normal_form(sent) == expected


@pytest.mark.parametrize(
    "sent",
    [
        *[
            "",
            ".",
            "..",
            "a..b",
            "-a.ru",
            "a-.ru",
            "a b.ru",
            "a\nb.ru",
            "a\0.ru",
            "a.ru:",
            "a.ru:0",
            "a.ru:x",
            "a.ru:123456",
        ],
        *[
            "a" * 64 + ".ru",
            "a." * 127 + "ru",
            "user@a.ru",
            "../etc/passwd",
            "<script>",
            "[::1]",
            "\ud800.ru",
            "xn--\u0430.ru",
        ],
    ],
)
def test_what_can_not_be_a_host_is_no_portal(sent: str) -> None:
    with pytest.raises(BadPortal):
        normal_form(sent)


@given(st.text(max_size=300))
def test_a_normal_form_is_its_own_normal_form(text: str) -> None:
    try:
        found = normal_form(text)
    except BadPortal as refused:
        assert len(str(refused)) < 1000
        return

    assert normal_form(found) == found
    assert found.isascii()
    assert len(found) <= 253 + len(":65535")


@pytest.mark.parametrize("sent", ["", "a b", "ключ", "x" * 65, "a/b"])
def test_a_member_id_is_short_and_plain(sent: str) -> None:
    with pytest.raises(BadPortal):
        member_key(sent)


# From Kafka's own test: org.apache.kafka.common.utils.UtilsTest.testMurmur2, as signed numbers.
@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_is_that_of_the_java_client(key: bytes, expected: int) -> None:
    assert murmur2(key) == expected & 0xFFFFFFFF


def test_a_portal_has_the_partition_that_the_java_client_gives_it() -> None:
    # toPositive(murmur2("foobar")) % 12, by hand from the vector above.
    assert partition_of("foobar", 12) == (-790332482 & 0x7FFFFFFF) % 12


def test_librdkafka_puts_a_portal_in_the_same_partition() -> None:
    import ctypes
    from pathlib import Path

    import confluent_kafka

    folder = Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs"
    library = next(folder.glob("librdkafka*"), None)
    if library is None:
        pytest.skip("this confluent-kafka was not built with a librdkafka of its own")
    place = ctypes.CDLL(str(library)).rd_kafka_msg_partitioner_murmur2
    place.restype = ctypes.c_int32
    place.argtypes = [
        ctypes.c_void_p,
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_int32,
        ctypes.c_void_p,
        ctypes.c_void_p,
    ]

    for portal in [
        "some-domain.bitrix24.ru",
        "a",
        "xn--e1afmkfd.xn--p1ai",
        "crm.example-corp.ru:8890",
        "b24-abcdef.bitrix24.com",
    ]:
        theirs = place(None, portal.encode(), len(portal), 12, None, None)

        assert theirs == partition_of(portal, 12)
