"""The database. The only importer of the MongoDB driver.

Collections have natural ids (an event's, a payment's, an account's), so that uniqueness is that
of `_id` and survives sharding.
"""

from .connect import connect
from .store import Store
from .unit_of_work import CommitReceipt, UnitOfWork

__all__ = ["CommitReceipt", "Store", "UnitOfWork", "connect"]
