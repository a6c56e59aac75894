"""Declaration of a MongoDB collection."""

from collections.abc import Sequence
from typing import NamedTuple

from pymongo import IndexModel


class CollectionSpec(NamedTuple):
    """Name and indexes of a collection.

    A module of this package declares its collections as constants of the module. `indexes` finds
    these declarations.
    """

    name: str
    indexes: Sequence[IndexModel] = ()
