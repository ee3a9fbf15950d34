-- Leases that ran out and retries that are due go back to their queues.

-- Take back up to `most` hosts whose leases ran out. Their clocks run from the deadline, the last
-- moment they may have been contacted. A lease that could not be renewed, as the server was away
-- until just before, is no loss of its URLs: else three outages would make poison of any. A server
-- that nobody called may have been silent for want of callers, though, all of whom a URL has killed:
-- so a host is excused a few times in a row (h.exc), until it is given back.
local EXCUSES = 3
local function reap(most)
  local L, back = T .. ':l', redis.call('HGET', M, 'back')
  local excused = back and tonumber(back) + longest / 2 or 0
  for _, host in ipairs(redis.call('ZRANGEBYSCORE', L, '-inf', ms(now), 'LIMIT', 0, most)) do
    local H, U = T .. ':h:' .. host, T .. ':u:' .. host
    local h = redis.call('HMGET', H, 'j', 'x', 'd', 't', 'go', 'exc')
    local job, entries = h[1], split(redis.call('GET', U))
    local t = math.max(tonumber(h[4] or '0'), tonumber(h[2]) + tonumber(h[3] or '0'))
    local excuses = tonumber(h[6] or '0')
    local guilty = tonumber(h[2]) > excused or excuses >= EXCUSES
    if not guilty then redis.call('HSET', H, 'exc', ms(excuses + 1)) end
    -- A suspect comes alone, and has no part in the end of a worker that had not begun it.
    if #entries == 1 and not h[5] and not string.match(entries[1], '^%d+\t0\t') then guilty = false end
    put_back(job, host, entries, guilty and 1 or 0)
    redis.call('HSET', H, 't', ms(t))
    redis.call('HDEL', H, 'k', 'j', 'w', 'x', 'n', 'go')
    redis.call('DEL', U)
    redis.call('ZREM', L, host)
    expect(job, host, t)
    count(job, 'leased', -#entries)
    count(job, 'queued', #entries)
    count(job, 'reaped', 1)
  end
end

-- Put retries that are due, some dozens a call, behind class 0 of their hosts.
local function wake(job)
  local W = T .. ':w:' .. job
  local due = redis.call('ZRANGEBYSCORE', W, '-inf', ms(now), 'LIMIT', 0, 64)
  for _, member in ipairs(due) do
    local host, entry = string.match(member, '^([^\n]+)\n(.*)$')
    redis.call('RPUSH', queue(job, 0, host), entry)
    redis.call('ZREM', W, member)
    local t = tonumber(redis.call('HGET', T .. ':h:' .. host, 't') or '0')
    expect(job, host, math.max(t, now), 'NX')
  end
  count(job, 'waiting', -#due)
  count(job, 'queued', #due)
end
