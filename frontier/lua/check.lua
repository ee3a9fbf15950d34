#!lua flags=allow-oom
-- Compare a job's counters in this partition with its real keys, and with repair set them right.
-- ARGV: now, job, repair (1|0), then three lists, each behind its length, found by scanning the keys:
--       hosts that have queues, hosts that have URLs out, `class LF host` that have cursors
-- Returns: {field, counted, real, ...} of the parts, {host, ...} whose queues lease does not look at,
--          URLs of unreadable segments that repair has put in line again, {host, ...} held for ever,
--          {host, ...} whose spilled URLs are miscounted
-- Keeps 4 (in exactly one place; the parts add up to accepted): accepted URLs that are nowhere end as
-- `lost` with repair, and stay accepted. It looks at each host once, in one step, so that nothing
-- moves meanwhile: some 3 us per host.
-- Needs: account
local job, repair = ARGV[2], ARGV[3] == '1'
local C, at = T .. ':c:' .. job, 4
local function list()
  local out = {}
  for i = at + 1, at + ARGV[at] do out[#out + 1] = ARGV[i] end
  at = at + 1 + #out
  return out
end
local queues, held, stored = list(), list(), list()

-- The segments may be back in the store: whoever cannot read them sets them aside again.
local function try_again()
  local Z, n = T .. ':zq:' .. job, 0
  for _, aside in ipairs(redis.call('LRANGE', Z, 0, -1)) do
    local class, host, cursor, total, consumed = string.match(aside, '^(%d)\n([^\n]*)\n([^\t]*\t(%d+)\t(%d+))$')
    local left = tonumber(total) - tonumber(consumed)
    redis.call('RPUSH', T .. ':z:' .. job .. ':' .. class .. ':' .. host, cursor)
    redis.call('HINCRBY', T .. ':v:' .. job, class .. '\n' .. host, left)
    spills[job], n = true, n + left
    expect(job, host, resting(host), 'NX')
  end
  redis.call('DEL', Z)
  count(job, 'quarantined', -n)
  tell()
  return n
end

local real = {}
local known, endless, out = in_line(job, held, repair)
local stranded, waiting = in_queues(job, known, queues, repair)
local again = repair and try_again() or 0
local wrong, away = in_store(job, stored, repair)
local counted = flat(redis.call('HGETALL', C))
real.queued, real.leased, real.pending, real.waiting = waiting, out, in_segments(job), redis.call('ZCARD', T .. ':w:' .. job)
real.quarantined, real.finished = set_aside(job), 0
real.spilled = away + real.quarantined
for field, n in pairs(counted) do
  if field == 'done' or string.sub(field, 1, 2) == 'd:' then real.finished = real.finished + tonumber(n) end
end
real.accepted = real.queued + real.leased + real.pending + real.waiting + real.spilled + real.finished
local reply = {}
for _, part in ipairs({'accepted', 'queued', 'leased', 'pending', 'waiting', 'spilled', 'quarantined', 'finished'}) do
  reply[#reply + 1], reply[#reply + 2], reply[#reply + 3] = part, tonumber(counted[part] or 0), real[part]
end
if repair then
  local missing = math.max(0, tonumber(counted.accepted or 0) - real.accepted)
  if missing > 0 then redis.call('HINCRBY', C, 'd:lost', ms(missing)) end
  real.accepted, real.finished = real.accepted + missing, real.finished + missing
  for part, n in pairs(real) do
    if n ~= tonumber(counted[part] or 0) then redis.call('HSET', C, part, ms(n)) end
  end
end
return {reply, stranded, again, endless, wrong}
