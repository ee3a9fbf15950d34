"""Questions to an index of duplicates, asked together: one call at a time carries all that wait.

Nothing waits for company: a page that comes alone is asked for at once, and those that come while
a call is out go with the next.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict

from dedupe.index import DedupeIndex, DedupeVerdict, Document

Asked = tuple[Document, "asyncio.Future[DedupeVerdict]"]


class Checking:
    """One job's questions."""

    def __init__(self, index: DedupeIndex) -> None:
        self.index = index
        self._waiting: defaultdict[str, list[Asked]] = defaultdict(list)  # by segment
        self._task: asyncio.Task[None] | None = None

    async def check(self, document: Document, segment: str) -> DedupeVerdict:
        """The verdict on a page of an open segment. Raises DedupeError."""
        future: asyncio.Future[DedupeVerdict] = asyncio.get_running_loop().create_future()
        self._waiting[segment].append((document, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        while self._waiting:
            segment = next(iter(self._waiting))
            asked = self._waiting.pop(segment)
            try:
                verdicts = await self.index.check_many([each for each, _ in asked], segment)
            except BaseException as error:
                for _, future in asked:
                    if not future.done():
                        future.set_exception(error)
                if not isinstance(error, Exception):
                    raise
                continue
            for (_, future), verdict in zip(asked, verdicts, strict=True):
                if not future.done():  # who asked may have been cancelled
                    future.set_result(verdict)
