#!lua flags=allow-oom
-- Compare a job's counters in this partition with its real keys, and with repair set them right.
-- ARGV: now, job, repair (1|0), then hosts that have queues (found by scanning the keys)
-- Returns: {field, counted, real, ...} of the parts, {host, ...} whose queues lease does not look at,
--          URLs of unreadable segments that repair has put in line again
-- Keeps 4 (in exactly one place; the parts add up to accepted). It looks at each host once, in one
-- step, so that nothing moves meanwhile: some 2 us per host.
local job, repair = ARGV[2], ARGV[3] == '1'
local C = T .. ':c:' .. job
local parts = {'accepted', 'queued', 'leased', 'pending', 'waiting', 'spilled', 'quarantined', 'finished'}
local real, known, stranded = {}, {}, {}
for _, part in ipairs(parts) do real[part] = 0 end

for _, kind in ipairs({':r:', ':rs:'}) do
  for _, host in ipairs(redis.call('ZRANGE', T .. kind .. job, 0, -1)) do known[host] = true end
end
for _, host in ipairs(redis.call('ZRANGE', T .. ':l', 0, -1)) do
  if redis.call('HGET', T .. ':h:' .. host, 'j') == job then
    known[host] = true
    real.leased = real.leased + #split(redis.call('GET', T .. ':u:' .. host))
  end
end
for i = 4, #ARGV do
  local host = ARGV[i]
  if not known[host] and queued(job, host) > 0 then
    known[host], stranded[#stranded + 1] = true, host
    if repair then expect(job, host, math.max(now, tonumber(redis.call('HGET', T .. ':h:' .. host, 't') or 0))) end
  end
end
for host in pairs(known) do real.queued = real.queued + queued(job, host) end
for segment, state in pairs(flat(redis.call('HGETALL', T .. ':g'))) do
  for _, blob in ipairs(string.sub(state, 3) == job and redis.call('HVALS', T .. ':p:' .. segment) or {}) do
    real.pending = real.pending + #split(string.match(blob, '\n(.*)$'))
  end
end
real.waiting = redis.call('ZCARD', T .. ':w:' .. job)

-- The segments may be back in the store: whoever cannot read them sets them aside again.
local function try_again()
  local Z, n = T .. ':zq:' .. job, 0
  for _, aside in ipairs(redis.call('LRANGE', Z, 0, -1)) do
    local class, host, cursor, total, consumed = string.match(aside, '^(%d)\n([^\n]*)\n([^\t]*\t(%d+)\t(%d+))$')
    local left = tonumber(total) - tonumber(consumed)
    redis.call('RPUSH', T .. ':z:' .. job .. ':' .. class .. ':' .. host, cursor)
    redis.call('HINCRBY', T .. ':v:' .. job, class .. '\n' .. host, left)
    spills[job], n = true, n + left
    expect(job, host, math.max(now, tonumber(redis.call('HGET', T .. ':h:' .. host, 't') or 0)), 'NX')
  end
  redis.call('DEL', Z)
  count(job, 'quarantined', -n)
  tell()
  return n
end

local again = repair and try_again() or 0
for _, n in ipairs(redis.call('HVALS', T .. ':v:' .. job)) do real.spilled = real.spilled + tonumber(n) end
for _, aside in ipairs(redis.call('LRANGE', T .. ':zq:' .. job, 0, -1)) do
  local total, consumed = string.match(aside, '\t(%d+)\t(%d+)$')
  real.quarantined = real.quarantined + tonumber(total) - tonumber(consumed)
end
real.spilled = real.spilled + real.quarantined

local counted = flat(redis.call('HGETALL', C))
for field, n in pairs(counted) do
  if field == 'done' or string.sub(field, 1, 2) == 'd:' then real.finished = real.finished + tonumber(n) end
end
real.accepted = real.queued + real.leased + real.pending + real.waiting + real.spilled + real.finished
local reply = {}
for _, part in ipairs(parts) do
  local n = tonumber(counted[part] or 0)
  reply[#reply + 1], reply[#reply + 2], reply[#reply + 3] = part, n, real[part]
  if repair and n ~= real[part] then redis.call('HSET', C, part, ms(real[part])) end
end
return {reply, stranded, again}
