#!lua flags=allow-oom
-- Count a committed segment's URLs as finished, up to some hundreds a call.
-- ARGV: now, segment, most
-- Returns: how many are left (call again while > 0)
-- Keeps 5 (done means durable: the caller has seen the commit) and 4. Repeats do nothing.
local G, segment = T .. ':g', ARGV[2]
local P, state = T .. ':p:' .. segment, redis.call('HGET', G, segment)
if not state then return 0 end
local job = string.sub(state, 3)
local part = redis.call('HRANDFIELD', P, ARGV[3], 'WITHVALUES') -- HSCAN may miss some while they go
local gone = {}
for i = 1, #part, 2 do
  local reason = string.match(part[i + 1], '^([^\n]*)\n')
  count(job, reason == '' and 'done' or 'd:' .. reason, 1)
  gone[#gone + 1] = part[i]
end
if #gone > 0 then redis.call('HDEL', P, unpack(gone)) end
count(job, 'pending', -#gone)
count(job, 'finished', #gone)
tell()
local left = redis.call('HLEN', P)
if left == 0 then redis.call('HDEL', G, segment) end
return left
