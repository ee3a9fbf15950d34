-- Where a job's URLs are in this partition.
-- ARGV: now, job
-- Returns: {flat counters, hosts ready, hosts leased (all jobs), hosts waiting, ms until next}
-- Changes nothing.
local now, job = clock(), ARGV[2]
local R = T .. ':r:' .. job
local ready = redis.call('ZCOUNT', R, '-inf', ms(now))
return {
  redis.call('HGETALL', T .. ':c:' .. job), ready, redis.call('ZCARD', T .. ':l'),
  redis.call('ZCARD', R) - ready, next_due(job, now),
}
