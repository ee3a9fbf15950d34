#!lua flags=allow-oom
-- Reserve a window on a clock that many hosts share (an address, a registered domain): contacts of
-- one host may start in it, and of no other.
-- ARGV: now, clock, host, ms from now before which a window is of no use, delay ms, want ms, least ms
--       (of a disputed window), horizon ms, ttl ms, ticket (unix ms; 0: none), short (1: a disputed
--       window is of use)
-- Returns: {now, from, until}, until = from where there is none but a disputed one; {now, when to come
--          back, 0}, the time being a ticket; {now, when, -1}, where it is none. All unix ms.
-- Keeps 2 (never early) for these clocks: windows of different hosts are the longer of their delays
-- apart; those of one host need not be, as it has a clock of its own. What nobody disputes is as long
-- as was wanted, else just long enough for one contact.
-- Who would wait beyond the horizon is turned away, to the end of a line that is nothing but a time:
-- however many stand in it, each costs one step, and nothing is ever taken back. The time that one
-- was given is its ticket: while the line is long, nobody is let in without. Who comes with a ticket
-- when there is no room comes again, the longer the line the later. A line that nobody was let in
-- from for a minute is forgotten, with the clock.
-- Needs: quarantine
local DISPUTE, LATE, LIFE, DAY = 5000, 30000, 60000, 86400000 -- ms; no delay is longer than LIFE
local K, host, delay = T .. ':k:' .. ARGV[2], ARGV[3], tonumber(ARGV[5])
local want, least, limit = tonumber(ARGV[6]), tonumber(ARGV[7]), now + ARGV[8]
local ttl, ticket, short = tonumber(ARGV[9]), tonumber(ARGV[10]), ARGV[11] == '1' and least or 0
quarantine(ttl)

-- end and delay of the last window, the same of the last one that was another host's, end of the
-- line, until when the clock is disputed, whose the last window is
local had = redis.call('GET', K) or '0 0 0 0 0 0 '
local n, holder = {}, string.match(had, '[^ ]*$')
for x in string.gmatch(had, '(%d+) ') do n[#n + 1] = tonumber(x) end
local last, gap, last0, gap0, line, disputed = unpack(n)

local mine = holder == host
local other, rest = mine and last0 or last, mine and gap0 or gap
if other < quiet then other, rest = quiet, math.max(rest, 5000) end -- a window may be forgotten
local from = math.max(now + ARGV[4], other > 0 and other + math.max(rest, delay) or 0)
if not mine and last + DISPUTE > now then disputed = now + DISPUTE end

local function spread(span) -- for each host and each time another
  return math.floor(span * tonumber(string.sub(redis.sha1hex(host .. ms(now)), 1, 6), 16) / 0x1000000)
end

local entitled = ticket > 0 and ticket <= limit and now <= ticket + LATE or mine and last > now
local place, reply = math.max(line, last, quiet, now) + math.max(gap, delay) + least, nil
if from <= limit and (entitled or line <= limit) then
  local length = (disputed > now or line > now) and short or math.max(want, short)
  local till = math.min(from + length, math.max(now + ttl, from + short))
  reply = {now, from, till}
  if till > from and mine then
    last, gap = math.max(last, till), math.max(gap, delay)
  elseif till > from then
    last0, gap0, last, gap, holder = last, gap, till, delay, host
  end
elseif entitled then
  reply = {now, from + spread(math.max(line - now, 0) / 8), 0}
elseif place > now + DAY then
  reply = {now, now + DAY / 2 + spread(DAY / 2), -1}
else
  line, reply = place, {now, place, 0}
end
had = {ms(last), ms(gap), ms(last0), ms(gap0), ms(line), ms(disputed), holder}
redis.call('SET', K, table.concat(had, ' '), 'PX', ms(math.max(last, quiet, now - LIFE + 1) + LIFE - now))
return reply
