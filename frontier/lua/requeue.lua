#!lua flags=allow-oom
-- Give up a dead owner's segment: fence it and put its URLs back, up to some hundreds a call.
-- ARGV: now, segment, most, sealed (1: the caller has won the abort of a sealed segment)
-- Returns: {leases left, URLs requeued}; {-1, 0} when it is sealed and the caller has no abort
-- Keeps 4 (in exactly one place) and 5. The fence stays for days, so a late owner is shut out.
-- Needs: ended
local segment, most = ARGV[2], tonumber(ARGV[3])
local G, P = T .. ':g', T .. ':p:' .. segment
local state = redis.call('HGET', G, segment)
local mark, job = string.sub(state or 'o', 1, 1), string.sub(state or '', 3)
if mark == 's' and ARGV[4] ~= '1' then return {-1, 0} end
if mark == 'd' and ARGV[4] ~= '1' then return {0, 0} end
redis.call('HSET', G, segment, 'x\n' .. job)
local total = 0
for _, group in ipairs(redis.call('HRANDFIELD', P, ARGV[3])) do
  if total >= most then break end
  local host, blob = string.match(redis.call('HGET', P, group), '^([^\n]*)\n(.*)$')
  put_back(job, host, split(blob), 0)
  redis.call('HDEL', P, group)
  local t = tonumber(redis.call('HGET', T .. ':h:' .. host, 't') or '0')
  expect(job, host, math.max(t, now), 'NX')
  total = total + size(group)
end
count(job, 'pending', -total)
count(job, 'queued', total)
count(job, 'refetch', total)
tell()
local left = redis.call('HLEN', P)
if left == 0 then ended(segment, 'x', job) end
return {left, total}
