-- What a job has in this partition, by its real keys. Each function mends what it finds, with repair.

local function resting(host) return math.max(now, tonumber(redis.call('HGET', T .. ':h:' .. host, 't') or 0)) end

-- Hosts in line and held ones as a set; held ones that no deadline ends, as a list; URLs out.
-- `others`: more hosts that have URLs out.
local function in_line(job, others, repair)
  local known, watched, endless, out = {}, {}, {}, 0
  for _, kind in ipairs({':r:', ':rs:'}) do
    for _, host in ipairs(redis.call('ZRANGE', T .. kind .. job, 0, -1)) do known[host] = true end
  end
  local held = {}
  for _, host in ipairs(redis.call('ZRANGE', T .. ':l', 0, -1)) do watched[host], held[host] = true, true end
  for _, host in ipairs(others) do held[host] = true end
  for host in pairs(known) do held[host] = true end
  for host in pairs(held) do
    local h = redis.call('HMGET', T .. ':h:' .. host, 'k', 'j', 'x')
    if h[1] and h[2] == job then
      known[host], out = true, out + #split(redis.call('GET', T .. ':u:' .. host))
      if not watched[host] then
        endless[#endless + 1] = host
        if repair then redis.call('ZADD', T .. ':l', h[3] or ms(now), host) end
      end
    end
  end
  return known, endless, out
end

-- Queues of hosts that are not in line are put there; returns those hosts, and how many URLs all have.
local function in_queues(job, known, hosts, repair)
  local stranded, n = {}, 0
  for _, host in ipairs(hosts) do
    if not known[host] and queued(job, host) > 0 then
      known[host], stranded[#stranded + 1] = true, host
      if repair then expect(job, host, resting(host)) end
    end
  end
  for host in pairs(known) do n = n + queued(job, host) end
  return stranded, n
end

local function in_segments(job)
  local n = 0
  for segment, state in pairs(flat(redis.call('HGETALL', T .. ':g'))) do
    for _, blob in ipairs(string.sub(state, 3) == job and redis.call('HVALS', T .. ':p:' .. segment) or {}) do
      n = n + #split(string.match(blob, '\n(.*)$'))
    end
  end
  return n
end

-- What the buffer and the cursors hold of each `class LF host`, which is what refilling goes by;
-- returns those that were counted otherwise, and how many URLs there are.
local function in_store(job, places, repair)
  local V, O, real, wrong, n = T .. ':v:' .. job, T .. ':o:' .. job, {}, {}, 0
  for _, place in ipairs(places) do real[place] = 0 end
  local told = flat(redis.call('HGETALL', V))
  for place in pairs(told) do real[place] = 0 end
  for first = 0, redis.call('LLEN', O) - 1, 1000 do
    for _, item in ipairs(redis.call('LRANGE', O, first, first + 999)) do
      local place = string.match(item, '^%d\n[^\n]*')
      real[place] = (real[place] or 0) + 1
    end
  end
  for place, buffered in pairs(real) do
    local class, host = string.match(place, '^(%d)\n(.*)$')
    local away = buffered
    for _, cursor in ipairs(redis.call('LRANGE', T .. ':z:' .. job .. ':' .. class .. ':' .. host, 0, -1)) do
      local total, consumed = string.match(cursor, '\t(%d+)\t(%d+)$')
      away = away + tonumber(total) - tonumber(consumed)
    end
    n = n + away
    if away ~= tonumber(told[place] or 0) then
      wrong[#wrong + 1] = host
      if repair and away == 0 then
        redis.call('HDEL', V, place)
      elseif repair then
        redis.call('HSET', V, place, ms(away))
        spills[job] = true
        expect(job, host, resting(host), 'NX')
      end
    end
  end
  return wrong, n
end

local function set_aside(job)
  local n = 0
  for _, aside in ipairs(redis.call('LRANGE', T .. ':zq:' .. job, 0, -1)) do
    local total, consumed = string.match(aside, '\t(%d+)\t(%d+)$')
    n = n + tonumber(total) - tonumber(consumed)
  end
  return n
end
