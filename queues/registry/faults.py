"""From the errors of the registry's client to ours, in words that say what to do."""

from http import HTTPStatus

from confluent_kafka.schema_registry import SchemaRegistryError

from ..strictness import LACKING
from .errors import NotThere, RegistryError, RegistryRefused, RegistryUnavailable

#: The registry's own codes for "there is no such subject", version or schema. Any other 404 is that of a wrong path.
_NOT_THERE = frozenset({40401, 40402, 40403})

#: Statuses that say nothing about what was asked.
_LATER = frozenset({408, 429, 500, 502, 503, 504})

_REDIRECTS = range(300, 400)

_WRONG_PATH = (
    "check the path in schema_registry_url; Apicurio's ends with /apis/ccompat/v7, Karapace's and Confluent's have none"
)

_REMEDIES = {
    401: "check basic.auth.user.info in the setting schema_registry",
    403: "give our user the right to read the subject, and in the ingest to write it; see also basic.auth.user.info",
    404: _WRONG_PATH,
    405: _WRONG_PATH,
    409: "the subject holds a schema that ours is not compatible with: if it is somebody else's, set another topic; if "
    "it is an old one of ours, set the subject's compatibility to BACKWARD",
    422: "the registry must take Avro, under this name of a subject",
}

_NO_CONNECTION = "check that it runs, the address in schema_registry_url, and whether http or https is wanted there"

#: A word in the text of an error of the connection → what to do. The first that is found counts.
_OF_CONNECTIONS = {
    **LACKING,
    "CERTIFICATE_VERIFY_FAILED": "check ssl.ca.location in the setting schema_registry, and the host in the address, "
    "against the registry's certificate",
    "ALERT": "the registry doesn't take our certificate: check ssl.certificate.location in the setting schema_registry",
    "SSL": "this port seems to speak no TLS: check https and the port in schema_registry_url",
    "[Errno -": "check the host name in schema_registry_url",
}

#: What a server says may be a page.
_MAX_TEXT_CHARS = 300


def of_answer(error: SchemaRegistryError) -> RegistryError:
    """The registry answered with an error."""
    status = error.http_status_code
    text = f"the schema registry answers {status}: {str(error.error_message)[:_MAX_TEXT_CHARS]}"
    if status in _LATER:
        return RegistryUnavailable(text)
    if status == HTTPStatus.NOT_FOUND and error.error_code in _NOT_THERE:
        return NotThere(text)
    remedy = _WRONG_PATH if status in _REDIRECTS else _REMEDIES.get(status)
    return RegistryRefused(f"{text}; {remedy}" if remedy else text)


def of_failure(error: Exception) -> RegistryError:
    """No answer came, or one that no registry gives."""
    if isinstance(error, ValueError | TypeError | LookupError | AttributeError):
        return no_registry()
    said = (str(error) or type(error).__name__)[:_MAX_TEXT_CHARS]
    remedy = next((remedy for word, remedy in _OF_CONNECTIONS.items() if word in said), _NO_CONNECTION)
    return RegistryUnavailable(f"the schema registry can't be reached: {said}; {remedy}")


def silent(timeout_s: float) -> RegistryError:
    """It took too long."""
    return RegistryUnavailable(f"the schema registry did not answer within {timeout_s:g} s; {_NO_CONNECTION}")


def no_registry() -> RegistryError:
    """Something answered that is none."""
    return RegistryRefused(f"what answers is no schema registry; {_WRONG_PATH}")
