#!lua flags=allow-oom
-- Grant hosts that are ready, each with some of its URLs, to one worker.
-- ARGV: now, worker, request id, ttl ms, hosts, urls, slow ms, reap, then 2 per job: name, weight
-- Returns: {now, ms until the next host (-1 none), {jobs whose spilled URLs want attention}, when this
--           partition may last have lost writes, {host, job, token, state, n, `entry LF` each}, ...}
-- Keeps 1 (one host, one holder) and 2 (never early). The same request id gets the same grant
-- again, so a retried call leaks no lease. Jobs are served by weight, counted in URLs (start-time
-- fair queueing, Goyal et al. 1996): the one that has had least goes first, and one that comes back
-- does not make up for its absence. A job that has not been reconciled since writes were lost here
-- (reconcile.lua) gets nothing.
-- Needs: quarantine, reap, struck, grant
local worker, request = ARGV[2], ARGV[3]
local ttl, want, most, slow = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local SCAN, E = 4, T .. ':e:' .. worker
local last = redis.call('HMGET', E, 'id', 'grant')
if last[1] == request then
  redis.call('HSET', M, 'hi', ms(now)) -- a write, or WAIT would have nothing to wait for
  -- Ask soon: what is due was told with the first answer.
  local again = {now, 0, {}, tonumber(redis.call('HGET', M, 'lost') or 0)}
  for host, token in string.gmatch(last[2], '([^\t\n]+)\t(%d+)') do
    local h = redis.call('HMGET', T .. ':h:' .. host, 'k', 'j', 's', 'n')
    if h[1] == token then
      local blob = redis.call('GET', T .. ':u:' .. host)
      again[#again + 1] = {host, h[2], tonumber(token), h[3] or '', tonumber(h[4]), blob or ''}
    end
  end
  return again
end
local wait = quarantine(ttl)
if wait > 0 then return {now, wait, {}, lost} end
reap(tonumber(ARGV[8]))

local names, weights, jobs, reply = {}, {}, {}, {now, -1, {}, lost}
for i = 9, #ARGV, 2 do
  if lost == 0 or tonumber(redis.call('HGET', M, 'rc:' .. ARGV[i]) or 0) >= lost then
    names[#names + 1], weights[#weights + 1] = ARGV[i], tonumber(ARGV[i + 1])
  end
end
local had = {}
for first = 1, #names, 500 do
  local some = redis.call('HMGET', T .. ':d', unpack(names, first, math.min(first + 499, #names)))
  for _, vt in ipairs(some) do had[#had + 1] = vt end
end
local base = tonumber(redis.call('HGET', M, 'vt') or '0')
for i, name in ipairs(names) do
  wake(name)
  jobs[i] = {name = name, n = i, vt = math.max(tonumber(had[i] or 0), base), weight = weights[i]}
end

-- The next lease of a job: slow hosts only when no other is ready
local function serve(job)
  while job.kind ~= 3 do
    if not job.hosts then
      local key = job.kind == 2 and ':rs:' or ':r:'
      job.hosts, job.at = redis.call('ZRANGEBYSCORE', T .. key .. job.name, '-inf', ms(now), 'LIMIT', 0, want + SCAN), 0
    end
    while job.at < #job.hosts do
      job.at = job.at + 1
      local got = grant(job.name, job.hosts[job.at], worker, ttl, most, slow)
      if got then return got end
    end
    job.hosts, job.kind = nil, job.kind == 2 and 3 or 2
  end
end

local function before(one, other) return one.vt < other.vt or one.vt == other.vt and one.n < other.n end

local turn, granted, first = {}, {}, 1
for i, job in ipairs(jobs) do turn[i] = job end
table.sort(turn, before)
while #reply - 4 < want and first <= #turn do
  local job = turn[first]
  local got = serve(job)
  if got then
    base, job.vt, job.served = job.vt, job.vt + got[5] / job.weight, true
    reply[#reply + 1], granted[#granted + 1] = got, got[1] .. '\t' .. ms(got[3])
    local i = first
    while i < #turn and before(turn[i + 1], job) do
      turn[i], i = turn[i + 1], i + 1
    end
    turn[i] = job
  else
    first = first + 1 -- it has no host that is ready
  end
end
for _, job in ipairs(jobs) do
  local due = next_due(job.name)
  if due >= 0 and (reply[2] < 0 or due < reply[2]) then reply[2] = due end
  if spills[job.name] ~= false and laden(job.name) then reply[3][#reply[3] + 1] = job.name end
  if job.served then redis.call('HSET', T .. ':d', job.name, string.format('%.3f', job.vt)) end
end
tell()
if #reply > 4 then
  redis.call('HSET', M, 'vt', string.format('%.3f', base))
  redis.call('HSET', E, 'id', request, 'grant', table.concat(granted, '\n'))
  redis.call('PEXPIRE', E, ms(ttl))
end
return reply
