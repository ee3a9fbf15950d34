"""Every Redis key of the frontier: name, type, writer, life.

All keys of a partition share the hash tag ``{f<p>}``, so that one script may touch them together
on Redis Cluster; what belongs to the whole deployment is under ``{g}``. The Lua scripts build the
partition's names from the tag by the same table; `tests/frontier/test_keys.py` holds them to it.

======================  ======  ===========================  ==========================================
key                     type    written by                   what, and how long
======================  ======  ===========================  ==========================================
{f}:m                   hash    every script                 hi: highest time seen, ms; tok: last token,
                                                             not below 16 times the ms of the first;
                                                             vt: service so far; run, ttl, quiet, at, lost
                                                             (ms when the last loss was noticed), lost:<the
                                                             one before>, rc:<job> (made good for it), back
                                                             (when it was last away till, ms): of the
                                                             server's restarts;
                                                             of:<job>: buffer offset
{f}:s:<job>:<bucket>    set     add                          seen fingerprints (intset); life of the job
{f}:c:<job>             hash    every script                 counters; sn, sb: seen size and buckets
{f}:a:<job>             hash    add                          accepted per host, per .domain; #.domain: hosts
{f}:d                   hash    lease                        URLs served per job, over its weight
{f}:r:<job>             zset    add, lease, report, requeue  hosts with URLs of classes 0-2, by ready ms
{f}:rs:<job>            zset    the same                     hosts with URLs of class 3 alone
{f}:w:<job>             zset    report, lease                ``host LF entry`` waiting for a retry, by ms
{f}:q:<job>:<c>:<host>  list    add, lease, report, refill   entries of priority class c, oldest first
{f}:h:<host>            hash    lease, report, renew, claim, begin  t ready ms, d delay ms, s state, b blocked
                                                             reason; while leased: k token, j job,
                                                             w worker, x deadline ms, n URLs out, go: the suspect that is out was begun; exc: lost leases in
                                                             a row that were excused; want ms: claimed till
                                                             then; line, turn: other jobs that wait
{f}:u:<host>            string  lease, report                ``entry LF`` each that is leased; lease's life
{f}:l                   zset    lease, renew, report, claim  leased hosts by deadline, ms
{f}:o:<job>             list    add, spilled                 ``class LF host LF entry`` to be spilled
{f}:v:<job>             hash    add, refill                  spilled URLs by ``class LF host``
{f}:y:<job>             zset    lease, wanted                hosts to refill, by ms
{f}:z:<job>:<c>:<host>  list    spilled, refill              cursors ``segment TAB total TAB consumed``
{f}:zs:<job>            hash    spilled, refill              URLs left in each spilled segment
{f}:zd:<job>            zset    refill, forget               used up spilled segments, by ms of deletion
{f}:zq:<job>            list    refill                       cursors of unreadable spilled segments
{f}:p:<segment>         hash    report, settle, requeue      ``host LF`` and ``entry LF`` each by ``token TAB
                                                             first fp TAB n TAB reason``: the URLs of a
                                                             lease that ended alike; until it is settled
{f}:g                   hash    report, seal, settle, requeue  segment -> state LF job: o open, s sealed,
                                                             d ended here, x given up; see {f}:ge
{f}:ge                  zset    seal, settle, requeue        ended segments, by ms when they are forgotten
{f}:x:<job>             hash    reconcile, lease, seal       reason by fingerprint: rows of which this
                                                             server may have lost the end; life of the job
{f}:e:<worker>          hash    lease                        last grant (`host TAB token` each) and its
                                                             request id; a lease's life
{f}:tp:<job>:<host>     hash    tally                        `rank pages new` by pattern of path, at most 96;
                                                             a week after its last change
{f}:tq:<job>:<host>     hash    tally                        `rank queries 0 marks` by path, at most 32;
                                                             a week after its last change
{f}:b:<authority>       string  put_robots                   robots.txt copy (msgpack); a day
{f}:bt:<authority>      string  put_reservations             tdmrep.json copy (msgpack); a day
{f}:k:<clock>           string  reserve                      of an address or a registered domain: last
                                                             window's end and delay, the same of the last
                                                             one of another host, end of the line, end of
                                                             dispute (ms), host; a minute after the window
{g}:meta                hash    open, load                   schema, partitions, secret, made; for ever;
                                                             unfinished: import or rebuild, meanwhile
{g}:jobs                set     create_job                   ids of all jobs
{g}:job:<job>           hash    create_job, move_job ...     spec, region, state, epoch, spider, swept, lost ...
{g}:stats:<job>         hash    count                        what workers count: visits, bytes, errors
{g}:workers             zset    beat                         workers by the end of their heartbeat, ms
{g}:segments            hash    open_segment, stage, forget  segment -> {job, worker, staged, settled}
{g}:segments:lost       zset    mark_lost                    segments whose pages were lost, by unix time; 3 days
{g}:blocks              hash    blocks.put                   target -> msgpack: who, when, why; until removed
{g}:blocks:version      string  blocks.put, blocks.remove    grows with every change of it
{g}:lock:<name>         string  lock, unlock                 a holder's token, with expiry
======================  ======  ===========================  ==========================================

An *entry* is ``attempts TAB losses TAB fingerprint TAB class TAB reason TAB payload``; only the
first five fields mean anything to the scripts.
"""

# ruff: noqa: E501 - the table above
from __future__ import annotations

from typing import Final

SCHEMA: Final = "4"
META: Final = "{g}:meta"
JOBS: Final = "{g}:jobs"
WORKERS: Final = "{g}:workers"
BLOCKS: Final = "{g}:blocks"
BLOCKS_VERSION: Final = "{g}:blocks:version"
SEGMENTS: Final = "{g}:segments"
LOST_SEGMENTS: Final = "{g}:segments:lost"


def tag(partition: int) -> str:
    """The prefix of all keys of a partition."""
    return f"{{f{partition}}}"


def home(partition: int) -> str:
    """A partition's own record; also the key that its scripts are routed by."""
    return f"{{f{partition}}}:m"


def counters(partition: int, job: str) -> str:
    """The counters of a job in a partition."""
    return f"{tag(partition)}:c:{job}"


def robots(partition: int, authority: str) -> str:
    """The shared copy of an authority's robots.txt; authority is ``scheme://host[:port]``."""
    return f"{tag(partition)}:b:{authority}"


def reservations(partition: int, authority: str) -> str:
    """The same of its tdmrep.json."""
    return f"{tag(partition)}:bt:{authority}"


def job(name: str) -> str:
    """The record of a job."""
    return f"{{g}}:job:{name}"


def stats(name: str) -> str:
    """What the workers counted for a job."""
    return f"{{g}}:stats:{name}"


def lock(name: str) -> str:
    """A lock with a holder and an expiry."""
    return f"{{g}}:lock:{name}"
