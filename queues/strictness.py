"""Certificates that older Pythons took, and what to do where a newer one misses something in them."""

_ANEW = (
    "Python from 3.13 on takes no certificate without it (RFC 5280): make it anew, as docs/queues.md shows under "
    "Certificates"
)

#: What is missing, in OpenSSL's words → what to do. It has nothing to do with files and names in the settings.
LACKING = dict.fromkeys(
    (
        "does not include key usage extension",
        "Missing Authority Key Identifier",
        "Missing Subject Key Identifier",
        "not marked critical",
    ),
    _ANEW,
)
