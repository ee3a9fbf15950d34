#!lua flags=allow-oom
-- Say what became of leases' URLs and, with free, give the hosts back.
-- ARGV: now, then per lease: host, token, free (1|0), ms until the host may be contacted, delay ms,
--       state, blocked reason, n, and n times 5: fp, action (p|w|r), segment, reason, wait ms
--       p pending on segment (reason "" done, else dropped); w waits; r returns to its queue
-- Returns: 2 per lease: {1, ms until the job's next host}, {0, 0} when the token is stale, {-1, 0}
--          when a segment is fenced (sealed or given up by recovery)
-- Keeps 3 (a stale token changes nothing), 4 (in exactly one place) and 5 (nothing is done here:
-- settle is). Checks come before the first write; a URL reported twice counts once.
local G = T .. ':g'
local SIZE = 5

local function fenced(first, last)
  local seen = {}
  for i = first, last, SIZE do
    local segment = ARGV[i + 2]
    if ARGV[i + 1] == 'p' and not seen[segment] then
      seen[segment] = true
      local state = redis.call('HGET', G, segment)
      if state and string.sub(state, 1, 1) ~= 'o' then return true end
    end
  end
end

-- Its name among those that wait; one that waits already (forced in once more) has another.
local function waiter(job, host, entry, why)
  local attempts, losses, fp, class, _, payload = fields(entry)
  local n, name = tonumber(attempts), nil
  repeat
    n = n + 1
    name = host .. '\n' .. table.concat({ms(n), losses, fp, class, why, payload}, '\t')
  until not redis.call('ZSCORE', T .. ':w:' .. job, name)
  return name
end

-- Put entries on a segment; one that is pending there already (forced in once more) is another.
local function put_pending(segment, into, job, token)
  local P = T .. ':p:' .. segment
  if redis.call('HEXISTS', T .. ':c:' .. job, 'forced') == 1 then
    for i = 1, #into, 2 do
      if redis.call('HEXISTS', P, into[i]) == 1 then into[i] = into[i] .. '+' .. token end
    end
  end
  redis.call('HSET', P, unpack(into))
  redis.call('HSETNX', G, segment, 'o\n' .. job)
  return #into / 2
end

-- Where each entry goes; returns what is put where.
local function sort(job, host, first, last)
  local back, wait, pending, gone, entries, done = {}, {}, {}, {}, {}, {}
  for i = first, last, SIZE do gone[#gone + 1] = ARGV[i] end
  if #gone > 0 then entries = redis.call('HMGET', T .. ':u:' .. host, unpack(gone)) end
  for i = first, last, SIZE do
    local entry, action = entries[(i - first) / SIZE + 1], ARGV[i + 1]
    if entry and not done[ARGV[i]] then
      done[ARGV[i]] = true
      if action == 'p' then
        local into = pending[ARGV[i + 2]] or {}
        pending[ARGV[i + 2]] = into
        into[#into + 1], into[#into + 2] = ARGV[i], ARGV[i + 3] .. '\n' .. host .. '\n' .. entry
      elseif action == 'w' then
        wait[#wait + 1] = ms(now + tonumber(ARGV[i + 4]))
        wait[#wait + 1] = waiter(job, host, entry, ARGV[i + 3])
      else
        back[#back + 1] = entry
      end
    end
  end
  return back, wait, pending, gone
end

local function give_back(host, job, t, h)
  redis.call('HDEL', T .. ':h:' .. host, 'k', 'j', 'w', 'x')
  redis.call('ZREM', T .. ':l', host)
  redis.call('DEL', T .. ':u:' .. host)
  expect(job, host, t)
  local first = string.match(h[4] or '', '^[^,]+')
  if first then -- another job waits for this host: it goes first, if it comes soon
    redis.call('HSET', T .. ':h:' .. host, 'turn', ms(t + 1500))
    redis.call('ZADD', T .. ':r:' .. first, 'XX', ms(t), host)
    redis.call('ZADD', T .. ':rs:' .. first, 'XX', ms(t), host)
  end
end

local function report(at)
  local host, token, free = ARGV[at], ARGV[at + 1], ARGV[at + 2] == '1'
  local first, last = at + 8, at + 7 + SIZE * ARGV[at + 7]
  local H, U = T .. ':h:' .. host, T .. ':u:' .. host
  local h = redis.call('HMGET', H, 'k', 'j', 't', 'line')
  if h[1] ~= token then return 0, 0 end
  if fenced(first, last) then return -1, 0 end
  local job = h[2]
  local back, wait, pending, gone = sort(job, host, first, last)
  local moved = 0
  for segment, into in pairs(pending) do
    moved = moved + put_pending(segment, into, job, token)
  end
  if #wait > 0 then redis.call('ZADD', T .. ':w:' .. job, unpack(wait)) end
  if #gone > 0 then redis.call('HDEL', U, unpack(gone)) end
  if free then
    for _, entry in ipairs(redis.call('HVALS', U)) do back[#back + 1] = entry end
  end
  put_back(job, host, back, 0)
  local t = math.max(tonumber(h[3] or '0'), now + tonumber(ARGV[at + 3]))
  redis.call('HSET', H, 't', ms(t), 'd', ARGV[at + 4], 's', ARGV[at + 5], 'b', ARGV[at + 6])
  if free then give_back(host, job, t, h) end
  count(job, 'leased', -(moved + #wait / 2 + #back))
  count(job, 'pending', moved)
  count(job, 'waiting', #wait / 2)
  count(job, 'queued', #back)
  return 1, next_due(job)
end

local reply, at = {}, 2
while at <= #ARGV do
  reply[#reply + 1], reply[#reply + 2] = report(at)
  at = at + 8 + SIZE * ARGV[at + 7]
end
tell()
return reply
