"""Where a job's spilled URLs lie: ``<workspace>/<job>/spill/`` of the store that has its pages."""

from __future__ import annotations

from storage.blob import BlobNotFound, BlobStore
from storage.layout import Layout


class SpillObjects:
    """The `frontier.spill.SpillStore` of a job. Raises StorageError; for get, none if not found."""

    def __init__(self, store: BlobStore, layout: Layout) -> None:
        self._store = store
        self._prefix = f"{layout.prefix}/"

    def put(self, key: str, data: bytes) -> None:
        self._store.put(self._prefix + key, data)

    def get(self, key: str) -> bytes | None:
        try:
            return self._store.get(self._prefix + key)
        except BlobNotFound:
            return None

    def delete(self, key: str) -> None:
        self._store.delete(self._prefix + key)

    def list(self, prefix: str) -> list[str]:
        found = self._store.list(self._prefix + prefix)
        return [blob.key.removeprefix(self._prefix) for blob in found]
