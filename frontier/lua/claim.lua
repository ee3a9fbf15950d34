#!lua flags=allow-oom
-- Lease one named host without URLs, for a contact that no queue holds (another host's robots.txt).
-- ARGV: now, worker, ttl ms, job, host
-- Returns: {token, 0, state}, or {0, ms to wait, ""} while it is held or its clock runs
-- Keeps 1 (one host, one holder) and 2 (never early). A claim that is refused leaves word that it is
-- wanted (h.want, a moment): lease leaves the host to it, or a busy host would never be claimed.
-- Needs: quarantine, reap
local ttl, job, host = tonumber(ARGV[3]), ARGV[4], ARGV[5]
local H = T .. ':h:' .. host
local quarantined = quarantine(ttl)
if quarantined > 0 then return {0, quarantined, ''} end
local h = redis.call('HMGET', H, 'k', 'x', 't', 's', 'd')
local function wanted(until_ms) redis.call('HSET', H, 'want', ms(until_ms + 1500)) end
if h[1] then
  wanted(now)
  return {0, math.max(50, math.min(tonumber(h[2]) - now, 1000)), ''}
end
local wait = clock(h[3], h[5]) - now
if wait > 0 then
  if wait < 1500 then wanted(now + wait) end
  return {0, wait, ''}
end
redis.call('HDEL', H, 'want')
local token, deadline = new_token(), ms(now + ttl)
redis.call('HSET', H, 'k', ms(token), 'j', job, 'w', ARGV[2], 'x', deadline, 'n', 0)
redis.call('ZADD', T .. ':l', deadline, host)
return {token, 0, h[4] or ''}
