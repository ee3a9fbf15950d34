"""The end of a run: whoever is left crawls the rest."""

from __future__ import annotations

from tests.frontier.fleet import ALL, JOBS, LAST, Fleet


def drain(fleet: Fleet) -> None:
    """Crawl all that is left, sleeping as long as the frontier says: nothing may be stuck."""
    model = fleet.model
    _close(fleet)
    for _ in range(500):
        spill(fleet)
        refill(fleet, 1_000)
        grant = fleet.lease(LAST, JOBS, ALL)
        for lease in grant.leases:
            into = fleet.segments[LAST, lease.job]
            results = {leased.fp: ("pending", into, "", 0) for leased in lease.urls}
            fleet.report(LAST, lease, results)
        at_rest = +model.rest - fleet.aside(fleet.look())
        if not at_rest and not any(held.urls for held in model.held.values()):
            break
        # None: nothing is queued; what is leased runs out some time.
        waits = [1.0 if due is None else due for due in grant.due.values()]
        fleet.tick(max(1, int(min(waits) * 1000)))
    assert not at_rest, f"stuck: {at_rest}"
    _close(fleet)


def _close(fleet: Fleet) -> None:
    """Finish all segments, or give up those that recovery has begun with."""
    for segment in [name for name, told in fleet.model.pending.items() if told]:
        if segment in fleet.model.fenced:
            fleet.requeue(segment, aborted=True)
        else:
            fleet.seal(segment)
            fleet.settle(segment)


def spilled_in(fleet: Fleet) -> list[tuple[str, int]]:
    """(job, partition) where URLs are in the store."""
    return sorted({(job, fleet.part(host)) for job, _, host in fleet.look().cursors})


def refill(fleet: Fleet, most: int) -> None:
    """Put what is wanted back into the queues, up to so many per host."""
    for job, p in spilled_in(fleet):
        for want in fleet.wanted(job, p):
            fleet.refill(job, p, want, min(most, want.room))


def spill(fleet: Fleet) -> None:
    """Put all buffers to the store."""
    for tag, job in fleet.look().buffers:
        p = int(tag[2:-1])
        batch = fleet.do(fleet.frontier.tails.spill_read(job, p))
        fleet.spilled(job, p, batch, len(batch.items))
