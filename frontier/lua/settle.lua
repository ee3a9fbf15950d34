#!lua flags=allow-oom
-- Count a committed segment's URLs as finished, up to some hundreds of leases a call.
-- ARGV: now, segment, most
-- Returns: how many leases are left (call again while > 0)
-- Keeps 5 (done means durable: the caller has seen the commit) and 4. Repeats do nothing.
-- Needs: ended
local G, segment = T .. ':g', ARGV[2]
local P, state = T .. ':p:' .. segment, redis.call('HGET', G, segment)
local mark, job = string.sub(state or 'd', 1, 1), string.sub(state or '', 3)
if mark == 'd' then return 0 end
local had, total, groups = redis.call('HLEN', P), 0, nil
if had <= tonumber(ARGV[3]) then
  groups = redis.call('HKEYS', P)
  redis.call('UNLINK', P)
else
  groups = redis.call('HRANDFIELD', P, ARGV[3]) -- HSCAN may miss some while they go
  redis.call('HDEL', P, unpack(groups))
end
for _, group in ipairs(groups) do
  local n, reason = size(group), string.match(group, '[^\t]*$')
  count(job, reason == '' and 'done' or 'd:' .. reason, n)
  total = total + n
end
count(job, 'pending', -total)
count(job, 'finished', total)
tell()
if had == #groups then ended(segment, mark == 'x' and 'x' or 'd', job) end
return had - #groups
