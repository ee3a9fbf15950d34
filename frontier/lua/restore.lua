-- Mark visits that have a row in the table of pages as seen and finished; set their hosts' clocks.
-- ARGV: now, job, budgets (1: count URLs per host and domain), then per host: host, registered
--       domain, unix ms before which it may not be contacted, delay ms, state, blocked reason, n, and
--       n times 2: fingerprint, reason ("" done, else dropped)
-- Returns: {visits that were new here, hosts that were}
-- Keeps 2 (never early: a clock only moves on; the state with the latest clock stays), 4 and 5 (the
-- caller has seen the rows). Again: the same visits add nothing.
-- Needs: seen
local job, budgets = ARGV[2], ARGV[3] == '1'
local A, seen, fresh, novel = T .. ':a:' .. job, seen_set(job), {}, {}
local hosts = 0
local i = 4
while i <= #ARGV do
  local host, domain, ready, last = ARGV[i], ARGV[i + 1], ARGV[i + 2], i + 6 + 2 * ARGV[i + 6]
  local H, taken = T .. ':h:' .. host, 0
  for k = i + 7, last, 2 do
    local fp, reason = ARGV[k], ARGV[k + 1]
    if not novel[fp] and not seen.has(fp) then
      novel[fp], fresh[#fresh + 1], taken = true, fp, taken + 1
      count(job, reason == '' and 'done' or 'd:' .. reason, 1)
    end
  end
  local t = redis.call('HGET', H, 't')
  if tonumber(ready) > tonumber(t or '0') then
    if not t then hosts = hosts + 1 end
    redis.call('HSET', H, 't', ready, 'd', ARGV[i + 3], 's', ARGV[i + 4], 'b', ARGV[i + 5])
  end
  if budgets and taken > 0 then
    if redis.call('HINCRBY', A, host, taken) == taken then redis.call('HINCRBY', A, '#.' .. domain, 1) end
    redis.call('HINCRBY', A, '.' .. domain, taken)
  end
  i = last + 1
end
seen.mark(fresh)
count(job, 'accepted', #fresh)
count(job, 'finished', #fresh)
tell()
return {#fresh, hosts}
