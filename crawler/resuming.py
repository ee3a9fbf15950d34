"""What a resumed job takes from the new command. Pure."""

from __future__ import annotations

from typing import Final

from crawler.job import JobSpec, UsageError
from crawler.schema import validate

_SEEDS: Final = ("seeds", "seed_files", "sitemaps")
# What a job is for good: its place, and the region that its seeds were made into.
_FIXED: Final = frozenset({"workspace", "name", "out", "scope", *_SEEDS})
# And what its pages are compared by.
_COMPARED: Final = ("dedupe_scope", "dedupe_threshold", "dedupe_min_shingles")


def resumed(old: JobSpec, new: JobSpec, *, private: bool) -> JobSpec:
    """The job as it goes on: ``old`` with all that was given for ``new``, and its seeds.

    ``private``: the frontier lies beside the pages, so that both may have been moved. Raises
    UsageError for another scope, for another output, and for what does not go with the old values.
    """
    if not private and new.out != old.out:
        raise UsageError(
            f"job {old.workspace}/{old.name} stores its pages in {old.out}: give --out {old.out}"
        )
    if "scope" in new.model_fields_set and new.scope != old.scope:
        raise UsageError(
            f"--scope {new.scope}: a resumed job keeps its scope, which is {old.scope}"
        )
    for name in _COMPARED:
        if name in new.model_fields_set and (old_value := getattr(old, name)) != getattr(new, name):
            raise UsageError(
                f"{name} = {getattr(new, name)}: a resumed job keeps it, which is {old_value}"
            )
    given = {name: getattr(new, name) for name in new.model_fields_set - _FIXED}
    spec = validate(JobSpec, old.model_dump() | given, lambda key: key)
    return spec.model_copy(update={n: getattr(new, n) for n in ("out", *_SEEDS)})


def credit(old: JobSpec, spec: JobSpec, left: int | None) -> int | None:
    """Pages that may still be fetched, when ``left`` were by the old bound; None: any number."""
    if spec.max_pages is None:
        return None
    spent = old.max_pages - (left or 0) if old.max_pages is not None else 0
    return max(0, spec.max_pages - spent)
