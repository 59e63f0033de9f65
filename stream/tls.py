"""TLS of our connections to Kafka and Redis: what a client trusts, and how it shows who it is."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from stream.errors import InvalidSetting, RefusedStart


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The files of one server's TLS settings; those that are None are not set."""

    variables: str
    """What the names of its variables begin with, such as ``SURGELINE_KAFKA``."""
    ca: Path | None
    certificate: Path | None
    key: Path | None


def client_tls(files: TlsFiles) -> ssl.SSLContext:
    """Return a context that checks the server's certificate and host name, always.

    Without a CA file the system's authorities are trusted. Raises InvalidSetting, one sentence
    that names the variable, when a file is no certificate or key, or the two do not belong together.
    """
    try:
        context = ssl.create_default_context(cafile=files.ca)
    except (ssl.SSLError, OSError) as error:
        raise InvalidSetting(
            f"{files.variables}_CA_FILE={files.ca}: must be a readable file of PEM certificates."
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if files.certificate is None and files.key is not None:
        raise InvalidSetting(f"{files.variables}_CERT_FILE: must be set with its key.")
    if files.certificate is not None:
        try:
            context.load_cert_chain(files.certificate, files.key, password=_no_password)
        except (ssl.SSLError, OSError, ValueError) as error:
            raise InvalidSetting(
                f"{files.variables}_CERT_FILE={files.certificate}: must be a PEM certificate, and "
                f"{files.variables}_KEY_FILE its key, readable and not encrypted."
            ) from error
    return context


def _no_password() -> str:
    """Stand in for a password: without one OpenSSL would ask the terminal."""
    raise ValueError("the key is encrypted")


def refused_tls(error: ssl.SSLError, *, server: str, variables: str) -> RefusedStart | None:
    """Return the sentence for a handshake with *server* that failed with *error*.

    None where it only broke off, as it does while a server starts or ends.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        if "mismatch" in error.verify_message:
            return RefusedStart(
                f"{variables}_URL: {server} shows the certificate of another host "
                f"({error.verify_message.rstrip('.')}); must be a name that is in it."
            )
        return RefusedStart(
            f"{variables}_CA_FILE: the certificate of {server} is not trusted "
            f"({error.verify_message.rstrip('.')}); must be the authority that signed it."
        )
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return None
    reason = str(error.reason or "handshake failed").lower().replace("_", " ")
    if "alert" in reason and ("cert" in reason or "unknown ca" in reason):
        return RefusedStart(
            f"{variables}_CERT_FILE: {server} does not take our certificate ({reason}); must be "
            "one that it trusts."
        )
    return RefusedStart(f"{variables}_URL: {server} does not speak TLS with us ({reason}).")
