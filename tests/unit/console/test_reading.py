import pytest

from forebay.console.reading import portal_key


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ("https://Example.Bitrix24.com/crm/", "example.bitrix24.com"),
        ("10.0.0.7:8080", "10.0.0.7:8080"),
        ("http://CRM:8080", "crm:8080"),
        ("crm", "crm"),
        ("портал", "xn--80awhdgm"),
        ("a223c6b3710f85df22e9377d6c4f7553", "a223c6b3710f85df22e9377d6c4f7553"),
        ("Member_ID", "Member_ID"),
    ],
)
def test_a_portal_is_known_by_any_name_of_its_domain_and_by_its_member_id(said: str, key: str) -> None:
    assert portal_key(said) == key
