"""A worker process started by its parent: what it needs comes as JSON on standard input."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import uvloop

from crawler.config import Settings
from crawler.schema import UsageError
from crawler.worker import STOPPED
from crawler.worker.process import run_worker
from frontier.model import FrontierError
from storage.blob import StorageError


def main() -> int:
    """Run until told to stop; what ends it is the last line on stderr, after ``STOPPED``."""
    given = json.load(sys.stdin)
    settings = Settings.model_validate(given["settings"])
    logging.basicConfig(
        level=settings.log_level.upper(), format=f"{given['name']}: %(levelname)s %(message)s"
    )
    try:
        if settings.signing_key is not None:  # it may have changed since the parent looked
            from crawler.keyfile import load

            load(settings.signing_key)
        return uvloop.run(
            run_worker(
                settings, name=given["name"], spool=Path(given["spool"]), only=given.get("job")
            )
        )
    except (FrontierError, StorageError, UsageError) as error:
        print(f"{given['name']}: {STOPPED}{error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
