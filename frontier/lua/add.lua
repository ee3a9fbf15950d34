-- Offer URLs: the seen-filter and the queue in one step.
-- ARGV: now, job, flags (f: past the seen-filter; n: newest first), URLs per host kept here (0 all),
--       buffer (spilled URLs that may wait here), host budget, domain budget, hosts per domain
--       (0: none), then per host: host, registered domain, n, and n times: fingerprint (52 bits,
--       decimal), class (0|1|2|3), entry
-- Returns: one digit per URL (1 accepted, 0 seen, 2 refused for now), ms until the job's next host
--          here, URLs in the buffer
-- Keeps 4 (in exactly one place): a URL is queued before it is marked seen, so a failure between
-- the two repeats it and never loses it; 7 (bounded): what a host has beyond its share, and what
-- comes after that, goes to the buffer.
-- Needs: seen
local job, flags = ARGV[2], ARGV[3]
local force, newest = string.find(flags, 'f', 1, true), string.find(flags, 'n', 1, true)
local cap, buffer = tonumber(ARGV[4]), tonumber(ARGV[5])
local seen = seen_set(job)
local host_budget, domain_budget, domain_hosts = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local budgets = host_budget + domain_budget + domain_hosts > 0
local O, V, A = T .. ':o:' .. job, T .. ':v:' .. job, T .. ':a:' .. job
local waiting = cap > 0 and redis.call('LLEN', O) or 0

-- How many more URLs of a host keep their class, and the reason when none do
local function allowance(host, domain)
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

local codes, fresh, novel, accepted, known = {}, {}, {}, 0, 0
local i = 9
while i <= #ARGV do
  local host, domain, last = ARGV[i], ARGV[i + 1], i + 2 + 3 * ARGV[i + 2]
  local away = cap > 0 and spilled(job, host)
  local len = cap > 0 and queued(job, host) or 0
  local room, why = math.huge, nil
  if budgets then room, why = allowance(host, domain) end
  local push, over, taken = {}, {}, 0
  for k = i + 3, last, 3 do
    local fp, class, entry = ARGV[k], ARGV[k + 1], ARGV[k + 2]
    if novel[fp] or not force and seen.has(fp) then
      codes[#codes + 1], known = '0', known + 1
    else
      local demoted = class ~= '3' and taken >= room
      if demoted then
        local attempts, losses, _, _, reason, payload = fields(entry)
        class, entry = '3', table.concat({attempts, losses, fp, '3', reason, payload}, '\t')
      end
      -- Classes 0 and 1 keep a tenth each for themselves; behind spilled URLs comes what is newer.
      local full = cap > 0 and (len >= cap * (1 - math.min(tonumber(class), 2) / 10)
        or not newest and away and away[class + 1] > 0)
      if full and waiting >= buffer then
        codes[#codes + 1] = '2'
      else
        if full then
          waiting, away = waiting + 1, away or {0, 0, 0, 0}
          away[class + 1] = away[class + 1] + 1
          over[#over + 1] = class .. '\n' .. host .. '\n' .. entry
        else
          len = len + 1
          if not push[class] then push[class] = {} end
          push[class][#push[class] + 1] = entry
        end
        if demoted then count(job, 'demoted:' .. why, 1) end
        codes[#codes + 1], taken, novel[fp], fresh[#fresh + 1] = '1', taken + 1, true, fp
      end
    end
  end
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
  if taken > 0 then
    local t = tonumber(redis.call('HGET', T .. ':h:' .. host, 't') or '0')
    expect(job, host, math.max(t, now), 'NX')
    if budgets and why ~= 'host-explosion' then -- such hosts stay uncounted, and so demoted
      if redis.call('HINCRBY', A, host, taken) == taken then redis.call('HINCRBY', A, '#.' .. domain, 1) end
      redis.call('HINCRBY', A, '.' .. domain, taken)
    end
  end
  accepted = accepted + taken
  count(job, 'spilled', #over)
  count(job, 'queued', taken - #over)
  i = last + 1
end

seen.mark(fresh)
count(job, 'accepted', accepted)
if force then count(job, 'forced', accepted) end
count(job, 'seen', known)
tell()
return {table.concat(codes), next_due(job), waiting}
