"""What the racing processes of test_committer run; a module of its own, for spawn to import."""

from __future__ import annotations

import os
from multiprocessing.synchronize import Barrier
from typing import Any

from storage.blob import open_store
from storage.committer import Committer
from storage.segment import Manifest
from tests.storage.samples import LAYOUT


def compete(
    root: str,
    environ: dict[str, str],
    manifests: list[bytes],
    rounds: int,
    abort: bool,
    start: Barrier,
    answers: Any,
) -> None:
    """In each round, commit (or abort) one of the segments at the same time as the other process.

    Puts a list of (segment, verdict) into the queue.
    """
    os.environ.update(environ)
    store = open_store(root)
    committer = Committer(store, LAYOUT)
    said = []
    for number in range(rounds):
        manifest = Manifest.from_json(manifests[number])
        start.wait(150)
        if abort:
            verdict = "aborted" if committer.abort(manifest.segment) else "already"
        else:
            result = committer.commit([manifest])
            verdict = next(name for name in result.__slots__ if getattr(result, name))
        said.append((manifest.segment, verdict))
    answers.put(said)
    store.close()
