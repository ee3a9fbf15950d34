#!lua flags=allow-oom
-- Trim the front of a job's buffer that has been put to the store, and register where it went.
-- ARGV: now, job, offset, n, segment, then per group: class, host, n
-- Returns: 1; 0 when the front is another by now: nothing has changed
-- Keeps 4: the cursors are written before the buffer is trimmed, and a host's URLs stay counted as
-- spilled throughout.
local job, segment = ARGV[2], ARGV[5]
local field, total = 'of:' .. job, 0
if (redis.call('HGET', M, field) or '0') ~= ARGV[3] then return 0 end
for i = 6, #ARGV, 3 do
  redis.call('RPUSH', T .. ':z:' .. job .. ':' .. ARGV[i] .. ':' .. ARGV[i + 1], segment .. '\t' .. ARGV[i + 2] .. '\t0')
  total = total + tonumber(ARGV[i + 2])
end
redis.call('HSET', T .. ':zs:' .. job, segment, ms(total))
redis.call('LTRIM', T .. ':o:' .. job, ARGV[4], -1)
redis.call('HINCRBY', M, field, ARGV[4])
return 1
