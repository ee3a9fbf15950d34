-- Add to the trap counters of hosts; say what they came to.
-- ARGV: now, job, seconds that idle counters are kept, window (0: none), marks a field may have,
--       then 6 per item: kind (p|q), host, field, a, b, mark ("" or 4 characters)
-- Returns: two integers per item. p: a, b after it. q: a; 1 if the mark is one of the field's, else 0
-- A field is `rank a b marks`, marks being ` mark mark`. With a window, a and b are halved when a
-- reaches it, so that they tell of the recent past.
-- Keeps 7 (bounded): at most CAP fields per host and kind. A newcomer takes the place of the lowest
-- rank and goes on from there (Space-Saving, Metwally et al. 2005), but its a and b begin at 0: what
-- is met often stays, and what is told of it is never more than what was seen.
local CAP = {p = 96, q = 32}
local job, life, window, most = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])

local function rank_for_newcomer(key, cap)
  if redis.call('HLEN', key) < cap then return 0 end
  local all, least, where = redis.call('HGETALL', key), math.huge, nil
  for i = 1, #all, 2 do
    local rank = tonumber(string.match(all[i + 1], '^%d+'))
    if rank < least then least, where = rank, all[i] end
  end
  redis.call('HDEL', key, where)
  return least
end

-- The marks with one more, if there is room; whether it is among them.
local function marked(marks, mark)
  if string.find(marks, ' ' .. mark, 1, true) then return marks, 1 end
  if #marks >= 5 * most then return marks, 0 end
  return marks .. ' ' .. mark, 1
end

local out, touched = {}, {}
for i = 6, #ARGV, 6 do
  local kind, mark, key = ARGV[i], ARGV[i + 5], T .. ':t' .. ARGV[i] .. ':' .. job .. ':' .. ARGV[i + 1]
  local found = redis.call('HGET', key, ARGV[i + 2]) or ''
  local rank, a, b, marks = string.match(found, '^(%d+) (%d+) (%d+)(.*)$')
  if not rank then rank, a, b, marks = rank_for_newcomer(key, CAP[kind]), 0, 0, '' end
  a, b = a + tonumber(ARGV[i + 3]), b + tonumber(ARGV[i + 4])
  while window > 0 and kind == 'p' and a >= window do a, b = math.floor(a / 2), math.floor(b / 2) end
  local held = 0
  if mark ~= '' then marks, held = marked(marks, mark) end
  redis.call('HSET', key, ARGV[i + 2], ms(rank + 1) .. ' ' .. ms(a) .. ' ' .. ms(b) .. marks)
  out[#out + 1], out[#out + 2], touched[key] = a, kind == 'p' and b or held, true
end
for key in pairs(touched) do redis.call('EXPIRE', key, life) end
return out
