"""The database. Only this package imports the MongoDB driver.

Documents have natural ids (an event's, a payment's, an account's), so that the index of `_id`
enforces uniqueness, also in a sharded cluster.
"""

from .connect import connect
from .store import Store
from .unit_of_work import CommitReceipt, UnitOfWork

__all__ = ["CommitReceipt", "Store", "UnitOfWork", "connect"]
