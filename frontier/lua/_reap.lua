-- Leases that ran out and retries that are due go back to their queues.

-- ms during which nothing may be granted here. The server's run id changes with a restart and with
-- the promotion of a replica: leases granted last may be unknown to it, and run on until their
-- deadlines. So nothing is granted, nor taken back, for the longest lease and a second more.
local function quarantine(ttl)
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  local m = redis.call('HMGET', M, 'run', 'ttl', 'quiet')
  if tonumber(m[2] or 0) < ttl then redis.call('HSET', M, 'ttl', ms(ttl)) end
  if m[1] ~= run then
    redis.call('HSET', M, 'run', run)
    if m[1] then
      m[3] = now + math.max(tonumber(m[2] or 0), ttl) + 1000
      redis.call('HSET', M, 'quiet', ms(m[3]))
    end
  end
  return math.max(0, tonumber(m[3] or 0) - now)
end

-- Take back up to `most` hosts whose leases ran out. Their clocks run from the deadline, the last
-- moment they may have been contacted.
local function reap(most)
  local L = T .. ':l'
  for _, host in ipairs(redis.call('ZRANGEBYSCORE', L, '-inf', ms(now), 'LIMIT', 0, most)) do
    local H, U = T .. ':h:' .. host, T .. ':u:' .. host
    local h = redis.call('HMGET', H, 'j', 'x', 'd', 't')
    local job, entries = h[1], redis.call('HVALS', U)
    local t = math.max(tonumber(h[4] or '0'), tonumber(h[2]) + tonumber(h[3] or '0'))
    put_back(job, host, entries, 1)
    redis.call('HSET', H, 't', ms(t))
    redis.call('HDEL', H, 'k', 'j', 'w', 'x')
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
