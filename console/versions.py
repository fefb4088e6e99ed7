"""Which versions are installed here."""

from importlib.metadata import PackageNotFoundError, version


def version_of(package: str) -> str | None:
    """The package's version; None when it runs from its source without being installed, or is not there."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
