#!lua flags=allow-oom
-- Grant hosts that are ready, each with some of its URLs, to one worker.
-- ARGV: now, worker, request id, ttl ms, hosts, urls, slow ms, reap, then jobs in order of service
-- Returns: {now, ms until the next host (-1 none), {host, job, token, state, {entry, ...}}, ...}
-- Keeps 1 (one host, one holder) and 2 (never early). The same request id gets the same grant
-- again, so a retried call leaks no lease. A host whose lease ran out is taken back first: its
-- clock then runs from the deadline, the last moment it may have been contacted. A URL that was out
-- on a lost lease is leased alone from then on, so that one that kills its worker is told apart.
local SCAN, RETRIES = 4, 64
local now, worker, request = clock(), ARGV[2], ARGV[3]
local ttl, want, urls, slow = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local E, L = T .. ':e:' .. worker, T .. ':l'
local last = redis.call('HMGET', E, 'id', 'grant')
if last[1] == request then return cmsgpack.unpack(last[2]) end

local function reap(host)
  local H, U = T .. ':h:' .. host, T .. ':u:' .. host
  local h = redis.call('HMGET', H, 'j', 'x', 'd', 't')
  local job, entries = h[1], redis.call('HVALS', U)
  local t = math.max(tonumber(h[4] or '0'), tonumber(h[2]) + tonumber(h[3] or '0'))
  put_back(job, host, entries, 1)
  redis.call('HSET', H, 't', ms(t))
  redis.call('HDEL', H, 'k', 'j', 'w', 'x')
  redis.call('DEL', U)
  redis.call('ZREM', L, host)
  if queued(job, host) > 0 then redis.call('ZADD', T .. ':r:' .. job, ms(t), host) end
  count(job, 'leased', -#entries)
  count(job, 'queued', #entries)
  count(job, 'reaped', 1)
end

local function wake(job)
  local W = T .. ':w:' .. job
  local due = redis.call('ZRANGEBYSCORE', W, '-inf', ms(now), 'LIMIT', 0, RETRIES)
  for _, member in ipairs(due) do
    local host, entry = string.match(member, '^([^\n]+)\n(.*)$')
    redis.call('RPUSH', queue(job, '0', host), entry)
    redis.call('ZREM', W, member)
    local t = tonumber(redis.call('HGET', T .. ':h:' .. host, 't') or '0')
    redis.call('ZADD', T .. ':r:' .. job, 'NX', ms(math.max(t, now)), host)
  end
  count(job, 'waiting', -#due)
  count(job, 'queued', #due)
end

local function take(job, host, most)
  local got = {}
  for class = 0, 2 do
    if #got < most then
      local more = redis.call('LPOP', queue(job, tostring(class), host), most - #got)
      for _, entry in ipairs(more or {}) do got[#got + 1] = entry end
    end
  end
  return got
end

-- Keep the head, up to the first URL with losses; such a one at the head stays alone.
local function apart(job, host, got)
  for i, entry in ipairs(got) do
    local _, losses = fields(entry)
    if losses ~= '0' then
      local keep = i == 1 and 1 or i - 1
      local rest = {}
      for k = keep + 1, #got do
        rest[#rest + 1] = got[k]
        got[k] = nil
      end
      put_back(job, host, rest, 0)
      return got
    end
  end
  return got
end

local function grant(job, host)
  local H, R = T .. ':h:' .. host, T .. ':r:' .. job
  local h = redis.call('HMGET', H, 'k', 'x', 't', 'd', 's', 'want')
  if h[1] then -- held for another job: look again soon
    redis.call('ZADD', R, ms(math.min(tonumber(h[2]), now + 1000)), host)
    return nil
  end
  if tonumber(h[3] or '0') > now then
    redis.call('ZADD', R, h[3], host)
    return nil
  end
  if tonumber(h[6] or '0') > now then -- a claim is waiting for it
    redis.call('ZADD', R, h[6], host)
    return nil
  end
  local got = apart(job, host, take(job, host, tonumber(h[4] or '0') > slow and 1 or urls))
  if #got == 0 then
    redis.call('ZREM', R, host)
    return nil
  end
  local token, deadline = redis.call('HINCRBY', M, 'tok', 1), ms(now + ttl)
  redis.call('HSET', H, 'k', ms(token), 'j', job, 'w', worker, 'x', deadline)
  for _, entry in ipairs(got) do
    local _, _, fp = fields(entry)
    redis.call('HSET', T .. ':u:' .. host, fp, entry)
  end
  redis.call('ZADD', L, deadline, host)
  redis.call('ZADD', R, deadline, host)
  count(job, 'queued', -#got)
  count(job, 'leased', #got)
  return {host, job, token, h[5] or '', got}
end

for _, host in ipairs(redis.call('ZRANGEBYSCORE', L, '-inf', ms(now), 'LIMIT', 0, ARGV[8])) do reap(host) end
local reply, wait = {now, -1}, -1
for i = 9, #ARGV do
  local job = ARGV[i]
  wake(job)
  local room = want - (#reply - 2)
  if room > 0 then
    local ready = redis.call('ZRANGEBYSCORE', T .. ':r:' .. job, '-inf', ms(now), 'LIMIT', 0, room + SCAN)
    for _, host in ipairs(ready) do
      if #reply - 2 < want then reply[#reply + 1] = grant(job, host) end
    end
  end
  local due = next_due(job, now)
  if due >= 0 and (wait < 0 or due < wait) then wait = due end
end
reply[2] = wait
if #reply > 2 then
  redis.call('HSET', E, 'id', request, 'grant', cmsgpack.pack(reply))
  redis.call('PEXPIRE', E, ms(ttl))
end
return reply
