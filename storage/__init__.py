"""Storage: nothing lost, everything findable. WARC files and a Delta table, on disk or S3."""

from storage.corpus import Corpus

__all__ = ["Corpus"]
