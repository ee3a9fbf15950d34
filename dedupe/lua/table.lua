-- Prelude of the scripts that follow: a compact table of entries and records of documents.
-- Keys, all with the tag of KEYS[1] = {d:<job>}:
--   KEYS[1]            hash    docs (last document number), entries, buckets, segments (last number)
--   KEYS[1]:b:<n>      hash    entries whose hash falls into bucket n; stays a listpack
--   KEYS[1]:r:<n>      string  records of documents 64n .. 64n+63, allocated at once
--   KEYS[1]:g          hash    open segment -> number;  KEYS[1]:o  number -> open segment
--   KEYS[1]:l:<n>      list    documents of open segment number n
-- An entry is a band hash (signed decimal, which a listpack keeps in 6 bytes), "p" + 8 bytes of a
-- payload digest or "t" + 8 bytes of a text digest; its value is one or more document numbers.
-- Buckets split one at a time (linear hashing), so none outgrows the listpack encoding.
-- A record is: page id 16, URL hash 8, segment number 4, state 1, signature 128 bytes. Page id 0:
-- erased. States: k kept; d another's copy; in a spread index also t tentative and c challenged.
local root, FILL, SLOTS, RECORD = KEYS[1], 96, 64, 157
local GONE = string.rep("\0", 16)
local meta = redis.call("HMGET", root, "docs", "entries", "buckets", "segments")
local docs, entries = tonumber(meta[1] or 0), tonumber(meta[2] or 0)
local buckets, segments = tonumber(meta[3] or 1), tonumber(meta[4] or 0)
local level = 1
while level * 2 <= buckets do level = level * 2 end

local function save()
  redis.call("HSET", root, "docs", docs, "entries", entries, "buckets", buckets, "segments", segments)
end

local function hash_of(field)
  local first = string.byte(field)
  if #field == 9 and (first == 112 or first == 116) then return (struct.unpack("<I4", field, 2)) end
  return tonumber(field) + 2147483648
end

local function bucket(field)
  local hash = hash_of(field)
  local n = hash % (level * 2)
  if n >= buckets then n = hash % level end
  return root .. ":b:" .. n
end

local function get(field) return redis.call("HGET", bucket(field), field) end

local function put(field, value)
  entries = entries + redis.call("HSET", bucket(field), field, value)
end

local function drop(field)
  entries = entries - redis.call("HDEL", bucket(field), field)
end

local function split()
  local new, moved, fields = buckets, {}, {}
  if new == level * 2 then level = new end
  local from = root .. ":b:" .. (new - level)
  local all = redis.call("HGETALL", from)
  for i = 1, #all, 2 do
    if hash_of(all[i]) % (level * 2) == new then
      moved[#moved + 1], moved[#moved + 2], fields[#fields + 1] = all[i], all[i + 1], all[i]
    end
  end
  if #fields > 0 then
    redis.call("HSET", root .. ":b:" .. new, unpack(moved))
    redis.call("HDEL", from, unpack(fields))
  end
  buckets = new + 1
end

local function place(doc)
  return root .. ":r:" .. math.floor(doc / SLOTS), (doc % SLOTS) * RECORD
end

local function record(doc)
  local key, at = place(doc)
  return redis.call("GETRANGE", key, at, at + RECORD - 1)
end

local function store(doc, value)
  local key, at = place(doc)
  if redis.call("EXISTS", key) == 0 then
    redis.call("SETRANGE", key, SLOTS * RECORD - 1, "\0")
  end
  redis.call("SETRANGE", key, at, value)
end

local function erase(doc) store(doc, string.rep("\0", RECORD)) end

local function alive(field)
  local doc = tonumber(get(field) or 0)
  local found = doc > 0 and record(doc)
  if found and string.sub(found, 1, 16) ~= GONE then return found, doc end
  if found then drop(field) end
end

local function committed(found)
  return 1 - redis.call("HEXISTS", root .. ":o", (struct.unpack("<I4", found, 25)))
end

local function segment_number(segment)
  local number = redis.call("HGET", root .. ":g", segment)
  if number then return number end
  segments = segments + 1
  redis.call("HSET", root .. ":g", segment, segments)
  redis.call("HSET", root .. ":o", segments, segment)
  return segments
end

-- Write a document's record; me has id, url and signature, at most 128 bytes.
local function write(me, doc, state, segment)
  local number = segment_number(segment)
  local head = me.id .. me.url .. struct.pack("<I4", tonumber(number)) .. state
  store(doc, head .. me.signature)
  redis.call("RPUSH", root .. ":l:" .. number, doc)
end

local function parsed(packed)
  return {
    id = string.sub(packed, 1, 16), url = string.sub(packed, 17, 24),
    payload = string.sub(packed, 25, 32), text = string.sub(packed, 33, 40),
    signature = string.sub(packed, 41, 168),
  }
end

-- Add to a list of document numbers; a listpack holds no more than 64 bytes.
local function extend(field, value, doc)
  value = value and value .. "," .. doc or tostring(doc)
  if #value <= 64 then put(field, value) end
end

local function balance()
  while entries > FILL * buckets do split() end
end
