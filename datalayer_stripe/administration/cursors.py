"""Cursors of lists: a position as text that clients send back for the next page."""

import base64
import binascii
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from ..errors import InvalidRequest

M = TypeVar("M", bound=BaseModel)


def encode_cursor(position: BaseModel | None) -> str | None:
    """Return the cursor of a position; None if there is no next page."""
    if position is None:
        return None
    text = position.model_dump_json(exclude_defaults=True)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str | None, model: type[M]) -> M | None:
    """Return the position of a cursor; None for the first page.

    Args:
        cursor: What a client has sent. Its fields are checked as those of any other request.
        model: The model of the position.

    Raises:
        InvalidRequest: The cursor is not one of this list.
    """
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        return model.model_validate_json(text)
    except (binascii.Error, ValidationError, ValueError):
        raise InvalidRequest("Invalid request: `cursor` is not one of this list.") from None
