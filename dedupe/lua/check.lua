-- Looks documents up and adds those that are new, one after another.
-- KEYS[1] root. ARGV[1] matching values (of 256) that make a near-duplicate; ARGV[2] documents that
-- this root takes, 0: any number; ARGV[3] 1: copies of committed pages are dropped, so nothing may
-- be told to be a copy of them; ARGV[4] segment; ARGV[5..] documents: page id 16, URL hash 8,
-- payload digest 8, text digest 8 (zeros: none), then, unless the text is too short, signature 128
-- and band hashes of 4 bytes.
-- Returns for each: kind (k kept, r revisit, e exact, t same text, n near, s new, but there is no
-- room), page id 16 (zeros with k and s), matches 2 bytes, 1 when that page's segment is committed.
-- Invariant: of two near-duplicates exactly one is kept, whoever asks first; a page is never
-- compared with itself or an earlier visit of its URL; asking again gives the same answer.
local NONE, need, segment = string.rep("\0", 8), tonumber(ARGV[1]), ARGV[4]
local most, dropping = tonumber(ARGV[2]), ARGV[3] == "1"
local zeros = {} -- how many of a byte's two nibbles are zero
for i = 0, 255 do zeros[i] = (i % 16 == 0 and 1 or 0) + (i < 16 and 1 or 0) end

local function matches(a, b)
  local total, x, y = 0, { string.byte(a, 1, 128) }, { string.byte(b, 1, 128) }
  for i = 1, 128 do total = total + zeros[bit.bxor(x[i], y[i])] end
  return total
end

local function nearest(me, bands)
  local best, most, own, looked, held = nil, need - 1, false, {}, {}
  for _, band in ipairs(bands) do
    local value, left = get(band), {}
    for doc in string.gmatch(value or "", "%d+") do
      local found = looked[doc] or record(tonumber(doc))
      if string.sub(found, 1, 16) ~= GONE then
        left[#left + 1] = doc
        if not looked[doc] and string.sub(found, 1, 16) ~= me.id then
          local same = matches(me.signature, string.sub(found, 30))
          if string.sub(found, 17, 24) == me.url then own = own or same >= need
          elseif same > most then best, most = found, same end
        end
      end
      looked[doc] = found
    end
    local kept = table.concat(left, ",")
    if value and kept == "" then drop(band) elseif value and kept ~= value then put(band, kept) end
    held[band] = kept ~= "" and kept or nil
  end
  return best, most, own, held
end

-- bands: none of a copy; held: what the bands' entries are, as nearest has left them.
local function add(me, bands, held)
  docs = docs + 1
  write(me, docs, bands and "k" or "d", segment)
  put("p" .. me.payload, docs)
  if not bands then return end
  if me.text ~= NONE and not get("t" .. me.text) then put("t" .. me.text, docs) end
  for _, band in ipairs(bands) do extend(band, held[band], docs) end
end

local function look(me, bands)
  local copy, doc = alive("p" .. me.payload)
  local again = copy and string.sub(copy, 1, 16) == me.id
  if copy and not again then
    return string.sub(copy, 17, 24) == me.url and "r" or "e", copy, 256
  end
  local text, kind, found, count = me.text ~= NONE and alive("t" .. me.text), "k", nil, 0
  local own, held
  local other = text and string.sub(text, 1, 16) ~= me.id
  if other and string.sub(text, 17, 24) ~= me.url then
    kind, found, count = "t", text, 256
  elseif #bands > 0 then
    found, count, own, held = nearest(me, bands)
    if found then kind = "n" end
  end
  if dropping and found and committed(found) == 1 then
    if again then erase(doc) drop("p" .. me.payload) end
  elseif again then
    write(me, doc, found and "d" or "k", segment)
  elseif most == 0 or docs < most then
    add(me, kind == "k" and (own and {} or bands), held)
  elseif kind == "k" then
    kind = "s"
  end
  return kind, found, count
end

local out = {}
for i = 5, #ARGV do
  local me, bands = parsed(ARGV[i]), {}
  for at = 169, #ARGV[i], 4 do
    bands[#bands + 1] = string.format("%d", struct.unpack("<I4", ARGV[i], at) - 2147483648)
  end
  local kind, found, count = look(me, bands)
  local id, sure = GONE, 0
  if found then id, sure = string.sub(found, 1, 16), committed(found) end
  out[#out + 1] = kind .. id .. struct.pack("<I2", found and count or 0) .. string.char(sure)
  balance()
end
save()
return out
