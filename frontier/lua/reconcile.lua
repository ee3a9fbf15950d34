#!lua flags=allow-oom
-- Learn of a job's rows that this server may have lost, and in the end that it has been told of all.
-- ARGV: now, job, the loss that has been made good ("": not yet), then 2 per row: fp, reason
-- Returns: {the last loss of writes here, by its ms (0: none), ms of server time until which all that
--          was written is here (-1: the job is reconciled)}
-- Keeps 4 (in exactly one place) and 6 (one row per visit). A URL that is not known here is finished
-- at once. One that is known has ended already, or is somewhere here still: then it is struck off
-- when it turns up (_struck.lua), as nobody searches all queues for it. Repeats do nothing.
-- Needs: seen
local job, up_to = ARGV[2], ARGV[3]
local seen, fresh, novel, marks = seen_set(job), {}, {}, {}
for i = 4, #ARGV, 2 do
  local fp, reason = ARGV[i], ARGV[i + 1]
  if seen.has(fp) then
    marks[#marks + 1], marks[#marks + 2] = fp, reason
  elseif not novel[fp] then
    fresh[#fresh + 1], novel[fp] = fp, true
    count(job, reason == '' and 'done' or 'd:' .. reason, 1)
  end
end
if #marks > 0 then redis.call('HSET', T .. ':x:' .. job, unpack(marks)) end
seen.mark(fresh)
count(job, 'accepted', #fresh)
count(job, 'finished', #fresh)
tell()
local field = 'rc:' .. job
if up_to ~= '' then redis.call('HSET', M, field, up_to) end
local m = redis.call('HMGET', M, 'lost', field)
local lost, known = tonumber(m[1] or 0), tonumber(m[2] or 0)
if known >= lost then return {lost, -1} end
return {lost, tonumber(redis.call('HGET', M, 'lost:' .. ms(known)) or 0)}
