"""Where a process listens: how it is told to people, and to whoever has started it."""

from pathlib import Path


def web_address(host: str, port: int) -> str:
    """Return the address of an HTTP server.

    >>> web_address("127.0.0.1", 8321), web_address("::1", 80)
    ('http://127.0.0.1:8321', 'http://[::1]:80')
    """
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"


def write_port(port: int, port_file: Path | None) -> None:
    """Write *port* to *port_file* where one is wanted: whole or not at all, somebody polls for it."""
    if port_file is not None:
        written = port_file.with_name(f"{port_file.name}.new")
        written.write_text(str(port), encoding="utf-8")
        written.replace(port_file)
