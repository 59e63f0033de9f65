"""Files that are served from memory."""

from hashlib import blake2b
from typing import NamedTuple, Self

from starlette.requests import Request
from starlette.responses import Response


class File(NamedTuple):
    """One file."""

    body: bytes
    media_type: str
    etag: str

    @classmethod
    def of(cls, body: bytes, media_type: str) -> Self:
        """Return the file of *body*."""
        return cls(body, media_type, f'"{blake2b(body, digest_size=12).hexdigest()}"')

    def answer(self, request: Request, cache_control: str) -> Response:
        """Return it, or that it is what the client has."""
        headers = {"ETag": self.etag, "Cache-Control": cache_control}
        known = [each.strip() for each in request.headers.get("if-none-match", "").split(",")]
        if self.etag in known or f"W/{self.etag}" in known:
            return Response(status_code=304, headers=headers)
        return Response(self.body, media_type=self.media_type, headers=headers)
