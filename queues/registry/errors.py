"""What can go wrong between us and a schema registry. No event is refused for it, and none given up."""

from forebay.schemas.errors import ForebayError


class RegistryError(ForebayError):
    """The schema registry did not do what was asked; the message says what to do."""


class RegistryUnavailable(RegistryError):
    """The schema registry doesn't answer, or can't just now. Trying again later is right."""


class RegistryRefused(RegistryError):
    """The schema registry answered no, and will until somebody changes a setting, a right or what it holds."""


class NotThere(RegistryRefused):
    """The schema registry has no such subject or schema."""


class BadRegistrySettings(RegistryError):
    """The registry's client can't be made with the setting schema_registry."""
