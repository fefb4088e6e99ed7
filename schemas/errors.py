"""The root of Forebay's errors."""


class ForebayError(Exception):
    """Something in Forebay went wrong; the message says what to do about it."""
