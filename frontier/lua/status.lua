#!lua flags=allow-oom
-- Where a job's URLs are in this partition.
-- ARGV: now, job
-- Returns: {flat counters, hosts ready, hosts leased (all jobs), hosts waiting, ms until next, 1 when
--          writes may have been lost here and the job is not reconciled, else 0}
-- Changes nothing.
local job, ready, all = ARGV[2], 0, 0
for _, kind in ipairs({':r:', ':rs:'}) do
  ready = ready + redis.call('ZCOUNT', T .. kind .. job, '-inf', ms(now))
  all = all + redis.call('ZCARD', T .. kind .. job)
end
local m = redis.call('HMGET', M, 'run', 'lost', 'rc:' .. job)
local doubt = m[1] and m[1] ~= string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  or tonumber(m[2] or 0) > tonumber(m[3] or 0)
return {
  redis.call('HGETALL', T .. ':c:' .. job), ready, redis.call('ZCARD', T .. ':l'), all - ready, next_due(job),
  doubt and 1 or 0,
}
