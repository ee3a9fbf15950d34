-- A page of a job's hosts, in the order in which they are due.
-- ARGV: now, job, kind (r: with URLs of classes 0 to 2, rs: with slow ones alone), first, most
-- Returns: {host, ms until due, queued, spilled, delay ms, blocked reason, worker} each
-- Changes nothing.
local job, first, out = ARGV[2], tonumber(ARGV[4]), {}
local page = redis.call('ZRANGE', T .. ':' .. ARGV[3] .. ':' .. job, first, first + ARGV[5] - 1, 'WITHSCORES')
for i = 1, #page, 2 do
  local host, away = page[i], spilled(job, page[i]) or {0, 0, 0, 0}
  local h = redis.call('HMGET', T .. ':h:' .. host, 'd', 'b', 'w')
  out[#out + 1] = {
    host, math.max(0, tonumber(page[i + 1]) - now), queued(job, host), away[1] + away[2] + away[3] + away[4],
    tonumber(h[1] or 0), h[2] or '', h[3] or '',
  }
end
return out
