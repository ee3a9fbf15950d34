#!lua flags=allow-oom
-- Say what became of a lease's URLs and, with free, give the host back.
-- ARGV: now, host, token, free (1|0), ms until the host may be contacted, delay ms, state,
--       blocked reason, then 5 per URL: fp, action (p|w|r), segment, reason, wait ms
--       p pending on segment (reason "" done, else dropped); w waits; r returns to its queue
-- Returns: {1, ms until the job's next host}, {0, 0} when the token is stale, {-1, 0} when a
--          segment is fenced (sealed or given up by recovery)
-- Keeps 3 (a stale token changes nothing), 4 (in exactly one place) and 5 (nothing is done here:
-- settle is). Checks come before the first write; a URL reported twice counts once.
local now, host, token, free = clock(), ARGV[2], ARGV[3], ARGV[4] == '1'
local H, U, G = T .. ':h:' .. host, T .. ':u:' .. host, T .. ':g'
local h = redis.call('HMGET', H, 'k', 'j', 't')
if h[1] ~= token then return {0, 0} end
local job = h[2]
for i = 9, #ARGV, 5 do
  if ARGV[i + 1] == 'p' then
    local state = redis.call('HGET', G, ARGV[i + 2])
    if state and string.sub(state, 1, 1) ~= 'o' then return {-1, 0} end
  end
end

local moved = {p = 0, w = 0, r = 0}
local back = {}
for i = 9, #ARGV, 5 do
  local fp, action, reason = ARGV[i], ARGV[i + 1], ARGV[i + 3]
  local entry = redis.call('HGET', U, fp)
  if entry then
    moved[action] = moved[action] + 1
    if action == 'p' then
      redis.call('HSET', T .. ':p:' .. ARGV[i + 2], fp, reason .. '\n' .. host .. '\n' .. entry)
      redis.call('HSETNX', G, ARGV[i + 2], 'o\n' .. job)
    elseif action == 'w' then
      local attempts, losses, _, class, _, payload = fields(entry)
      local again = table.concat({ms(tonumber(attempts) + 1), losses, fp, class, reason, payload}, '\t')
      redis.call('ZADD', T .. ':w:' .. job, ms(now + tonumber(ARGV[i + 4])), host .. '\n' .. again)
    else
      back[#back + 1] = entry
    end
    redis.call('HDEL', U, fp)
  end
end
if free then
  for _, entry in ipairs(redis.call('HVALS', U)) do
    back[#back + 1] = entry
    moved.r = moved.r + 1
  end
end
put_back(job, host, back, 0)
local t = math.max(tonumber(h[3] or '0'), now + tonumber(ARGV[5]))
redis.call('HSET', H, 't', ms(t), 'd', ARGV[6], 's', ARGV[7], 'b', ARGV[8])
if free then
  redis.call('HDEL', H, 'k', 'j', 'w', 'x')
  redis.call('ZREM', T .. ':l', host)
  redis.call('DEL', U)
  if queued(job, host) > 0 then
    redis.call('ZADD', T .. ':r:' .. job, ms(t), host)
  else
    redis.call('ZREM', T .. ':r:' .. job, host)
  end
end
count(job, 'leased', -(moved.p + moved.w + moved.r))
count(job, 'pending', moved.p)
count(job, 'waiting', moved.w)
count(job, 'queued', moved.r)
return {1, next_due(job, now)}
