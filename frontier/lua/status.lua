-- Where a job's URLs are in this partition.
-- ARGV: now, job
-- Returns: {flat counters, hosts ready, hosts leased (all jobs), hosts waiting, ms until next}
-- Changes nothing.
local job, ready, all = ARGV[2], 0, 0
for _, kind in ipairs({':r:', ':rs:'}) do
  ready = ready + redis.call('ZCOUNT', T .. kind .. job, '-inf', ms(now))
  all = all + redis.call('ZCARD', T .. kind .. job)
end
return {
  redis.call('HGETALL', T .. ':c:' .. job), ready, redis.call('ZCARD', T .. ':l'), all - ready, next_due(job),
}
