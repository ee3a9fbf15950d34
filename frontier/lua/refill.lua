#!lua flags=allow-oom
-- Put spilled URLs of a host back behind its queue and move the cursor, in one step.
-- ARGV: now, job, class, host, segment, total, consumed, lost (1: the rest cannot be read), entries
-- Returns: how many URLs left the cursor; -1 when the cursor is another by now: nothing has changed
-- Keeps 4 (in exactly one place). What cannot be read is set aside with its cursor and stays counted
-- as spilled. A segment that is used up may be deleted an hour later.
local job, class, host, segment, total = ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
local Z = T .. ':z:' .. job .. ':' .. class .. ':' .. host
local cursor = table.concat({segment, ARGV[6], ARGV[7]}, '\t')
if redis.call('LINDEX', Z, 0) ~= cursor then return -1 end
local entries, lost = {}, ARGV[8] == '1'
for i = 9, #ARGV do entries[#entries + 1] = ARGV[i] end
local n = lost and total - tonumber(ARGV[7]) or #entries
if lost then
  redis.call('RPUSH', T .. ':zq:' .. job, class .. '\n' .. host .. '\n' .. cursor)
  count(job, 'quarantined', n)
else
  redis.call('RPUSH', queue(job, class, host), unpack(entries))
  count(job, 'spilled', -n)
  count(job, 'queued', n)
end
local at = tonumber(ARGV[7]) + n
if at >= total then
  redis.call('LPOP', Z)
else
  redis.call('LSET', Z, 0, table.concat({segment, ARGV[6], ms(at)}, '\t'))
end
if not lost and redis.call('HINCRBY', T .. ':zs:' .. job, segment, -n) <= 0 then
  redis.call('HDEL', T .. ':zs:' .. job, segment)
  redis.call('ZADD', T .. ':zd:' .. job, ms(now + 3600000), segment)
end
if redis.call('HINCRBY', T .. ':v:' .. job, class .. '\n' .. host, -n) <= 0 then
  redis.call('HDEL', T .. ':v:' .. job, class .. '\n' .. host)
end
local h = redis.call('HMGET', T .. ':h:' .. host, 'j', 't')
if h[1] ~= job then expect(job, host, math.max(tonumber(h[2] or 0), now)) end -- or else when its lease ends
tell()
return n
