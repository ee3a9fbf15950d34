#!lua flags=allow-oom
-- Count a committed segment's URLs as finished, up to some hundreds a call.
-- ARGV: now, segment, most
-- Returns: how many are left (call again while > 0)
-- Keeps 5 (done means durable: the caller has seen the commit) and 4. Repeats do nothing.
local G, segment = T .. ':g', ARGV[2]
local P, state = T .. ':p:' .. segment, redis.call('HGET', G, segment)
if not state then return 0 end
local job = string.sub(state, 3)
local had, values, gone = redis.call('HLEN', P), {}, {}
if had <= tonumber(ARGV[3]) then
  values = redis.call('HVALS', P)
  redis.call('DEL', P)
else
  local part = redis.call('HRANDFIELD', P, ARGV[3], 'WITHVALUES') -- HSCAN may miss some while they go
  for i = 1, #part, 2 do gone[#gone + 1], values[#values + 1] = part[i], part[i + 1] end
  redis.call('HDEL', P, unpack(gone))
end
local done = 0
for i = 1, #values do
  if string.byte(values[i]) == 10 then -- no reason before the first line end
    done = done + 1
  else
    count(job, 'd:' .. string.match(values[i], '^[^\n]*'), 1)
  end
end
count(job, 'done', done)
count(job, 'pending', -#values)
count(job, 'finished', #values)
tell()
if had == #values then redis.call('HDEL', G, segment) end
return had - #values
