"""Distinguished names as text (RFC 4514)."""

from __future__ import annotations

import pytest

from eximcertd.certificates.names import common_name


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        ("CN=laptop", "laptop"),
        ("CN=laptop,O=Site", "laptop"),
        ("emailAddress=a@example.org,CN=laptop,CN=Site", "laptop"),
        ("OU=Sales+CN=laptop,O=Site", "laptop"),
        ("CN=laptop+UID=7", "laptop"),
        (r"O=Sales\,CN=other,CN=laptop", "laptop"),
        (r"O=Sales\\,CN=laptop", "laptop"),
        (r"CN=Smith\, Jane,O=Site", r"Smith\, Jane"),
        ("O=two\nlines,CN=laptop", "laptop"),
        ("O=Site", "O=Site"),
        ("O=CN=laptop", "O=CN=laptop"),
        (r"O=Sales\,CN=other", r"O=Sales\,CN=other"),
        ("CN=,O=Site", "CN=,O=Site"),
        ("", ""),
    ],
)
def test_the_common_name_is_the_first_in_the_text_whatever_other_attributes_hold(subject: str, name: str) -> None:
    assert common_name(subject) == name
