-- Offer URLs: the seen-filter and the queue in one step.
-- ARGV: now, job, flags (f: past the seen-filter; n: newest first), URLs per host kept here (0 all),
--       buffer (spilled URLs that may wait here), host budget, domain budget, hosts per domain
--       (0: none), then per host and class: host, registered domain, class (0|1|2|3), n, n entries
-- Returns: one digit per URL (1 accepted, 0 seen, 2 refused for now), ms until the job's next host
--          here, URLs in the buffer
-- Keeps 4 (in exactly one place): a URL is queued before it is marked seen, so a failure between
-- the two repeats it and never loses it; 7 (bounded): what a host has beyond its share, and what
-- comes after that, goes to the buffer.
-- Needs: seen
local job, flags, last = ARGV[2], ARGV[3], #ARGV
local force, newest = string.find(flags, 'f', 1, true), string.find(flags, 'n', 1, true)
local cap, buffer = tonumber(ARGV[4]), tonumber(ARGV[5])
local host_budget, domain_budget, domain_hosts = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local budgets = host_budget + domain_budget + domain_hosts > 0
local O, V, A = T .. ':o:' .. job, T .. ':v:' .. job, T .. ':a:' .. job
local waiting = cap > 0 and redis.call('LLEN', O) or 0
-- Classes 0 and 1 keep a tenth each for themselves.
local share = {['0'] = cap, ['1'] = cap * 0.9, ['2'] = cap * 0.8, ['3'] = cap * 0.8}

local fps, match, i = {}, string.match, 9
while i <= last do
  local stop = i + 3 + ARGV[i + 3]
  for k = i + 4, stop do fps[#fps + 1] = match(ARGV[k], '^%d+\t%d+\t(%d+)') end
  i = stop + 1
end
local seen = seen_set(job)
local known = force and {} or seen.known(fps)

-- How many more URLs of a host keep their class, and the reason when none do
local function allowance(host, domain)
  if not budgets then return math.huge end
  local D = '.' .. domain
  local had = redis.call('HMGET', A, host, D, '#' .. D)
  local room, why = math.huge, nil
  if domain_hosts > 0 and not had[1] and tonumber(had[3] or 0) >= domain_hosts then return 0, 'host-explosion' end
  if host_budget > 0 then room, why = host_budget - tonumber(had[1] or 0), 'host-pages' end
  if domain_budget > 0 and domain_budget - tonumber(had[2] or 0) < room then
    room, why = domain_budget - tonumber(had[2] or 0), 'domain-pages'
  end
  return room, why
end

local function demote(entry)
  local attempts, losses, fp, _, reason, payload = fields(entry)
  return table.concat({attempts, losses, fp, '3', reason, payload}, '\t')
end

local codes, novel, fresh, at, repeated = {}, {}, {}, 0, 0

-- Sort the URLs of one host and class: push[class] to be queued, over to be spilled.
local function sort(host, class, first, stop, room, why)
  local away = cap > 0 and spilled(job, host)
  local len = cap > 0 and queued(job, host) or 0
  local push, over, taken, to = {}, {}, 0, class
  for k = first, stop do
    at = at + 1
    local fp, entry = fps[at], ARGV[k]
    if known[fp] or novel[fp] then
      codes[at], repeated = '0', repeated + 1
    else
      if taken >= room and to ~= '3' then to = '3' end
      -- Behind spilled URLs comes what is newer.
      local full = cap > 0 and (len >= share[to] or not newest and away and away[to + 1] > 0)
      if full and waiting >= buffer then
        codes[at] = '2'
      else
        if to ~= class then
          entry = demote(entry)
          count(job, 'demoted:' .. why, 1)
        end
        if full then
          waiting, away = waiting + 1, away or {0, 0, 0, 0}
          away[to + 1] = away[to + 1] + 1
          over[#over + 1] = to .. '\n' .. host .. '\n' .. entry
        else
          len = len + 1
          local list = push[to]
          if list then list[#list + 1] = entry else push[to] = {entry} end
        end
        codes[at], novel[fp], fresh[#fresh + 1], taken = '1', true, fp, taken + 1
      end
    end
  end
  return push, over, taken, away
end

local function put(host, domain, push, over, taken, away, why)
  for class, entries in pairs(push) do
    redis.call(newest and 'LPUSH' or 'RPUSH', queue(job, class, host), unpack(entries))
  end
  if #over > 0 then
    redis.call('RPUSH', O, unpack(over))
    spills[job] = true
    for class = 0, 3 do
      if away[class + 1] > 0 then redis.call('HSET', V, class .. '\n' .. host, ms(away[class + 1])) end
    end
  end
  expect(job, host, math.max(tonumber(redis.call('HGET', T .. ':h:' .. host, 't') or '0'), now), 'NX')
  if budgets and why ~= 'host-explosion' then -- such hosts stay uncounted, and so demoted
    if redis.call('HINCRBY', A, host, taken) == taken then redis.call('HINCRBY', A, '#.' .. domain, 1) end
    redis.call('HINCRBY', A, '.' .. domain, taken)
  end
  count(job, 'spilled', #over)
  count(job, 'queued', taken - #over)
end

i = 9
while i <= last do
  local host, domain, stop = ARGV[i], ARGV[i + 1], i + 3 + ARGV[i + 3]
  local room, why = allowance(host, domain)
  local push, over, taken, away = sort(host, ARGV[i + 2], i + 4, stop, room, why)
  if taken > 0 then put(host, domain, push, over, taken, away, why) end
  i = stop + 1
end

seen.mark(fresh)
count(job, 'accepted', #fresh)
if force then
  count(job, 'forced', #fresh)
  for i = 1, #fresh, 500 do -- they are others by now than the ones with rows
    redis.call('HDEL', T .. ':x:' .. job, unpack(fresh, i, math.min(i + 499, #fresh)))
  end
end
count(job, 'seen', repeated)
tell()
return {table.concat(codes), next_due(job), waiting}
