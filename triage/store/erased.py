"""What stands in place of the identity of a post that was erased: a keyed digest, by which it is known again and nothing is told.

A post is stored once for ever, so that nothing about it happens twice. What was erased must therefore still be recognised when a
poll brings it again, without its address, which names its author. The key is made at the first erasure and stays, whatever
becomes of the install secret; it lies in the store, so whoever has the store can still test an address that they guess.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from triage.store import batch
from triage.store.database import insert
from triage.store.schema import mentions, meta

PREFIX = "erased:"
_KEY = "erased_key"


def key(connection: Connection) -> bytes:
    """The key of the digests; made where there is none yet."""
    new = insert(connection, meta).values(name=_KEY, value=secrets.token_hex(32)).on_conflict_do_nothing()
    connection.execute(new)
    return bytes.fromhex(connection.execute(sa.select(meta.c.value).where(meta.c.name == _KEY)).scalar_one())


def digest(key: bytes, word: str) -> str:
    """What stands in place of a post's uri, or of a person's handle."""
    return PREFIX + hmac.new(key, word.encode(), hashlib.sha256).hexdigest()[:40]


def gone(connection: Connection, uris: Collection[str]) -> dict[str, str]:
    """Those of these posts that were erased here, each with what stands in its place. Costs one look-up where nothing ever was."""
    kept = connection.scalar(sa.select(meta.c.value).where(meta.c.name == _KEY)) if uris else None
    if kept is None:
        return {}
    by_digest = {digest(bytes.fromhex(kept), uri): uri for uri in uris}
    found = connection.execute(sa.select(mentions.c.uri).where(batch.among(connection, mentions.c.uri, by_digest))).scalars()
    return {by_digest[one]: one for one in found}
