"""MongoDB as the store.

Lives here: finding the database (:mod:`.connect`), writing (:mod:`.append`), set-up, views, roles,
adoption of older collections, and reading. PyMongo's exceptions do not leave this folder.
"""

from affidavit.store.mongo.append import MongoStore

__all__ = ["MongoStore"]
