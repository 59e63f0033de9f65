"""Which Surgeline this is."""

from importlib.metadata import PackageNotFoundError, version


def installed_version() -> str:
    """Return the version of the installed package, `0+unknown` where it runs uninstalled."""
    try:
        return version("surgeline")
    except PackageNotFoundError:
        return "0+unknown"
