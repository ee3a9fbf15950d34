-- Gives documents their records at their home, the part of a spread index that has the payload.
-- KEYS[1] root of the part. ARGV[1] segment; ARGV[2..] documents as in check.lua, without bands.
-- Returns for each: kind (p placed, r revisit, e exact), page id 16 (zeros with p), document number
-- 4 bytes, 1 when that page's segment is committed, state.
-- Invariant: of identical payloads one has the record; who asks again finds its own.
local out = {}
for i = 2, #ARGV do
  local me = parsed(ARGV[i])
  local found, doc = alive("p" .. me.payload)
  local kind, id, sure, state = "p", GONE, 0, "t"
  if found and string.sub(found, 1, 16) ~= me.id then
    kind = string.sub(found, 17, 24) == me.url and "r" or "e"
    id, sure, state = string.sub(found, 1, 16), committed(found), string.sub(found, 29, 29)
  elseif found then
    if string.sub(found, 29, 29) == "k" then state = "k" end -- a copy is looked at anew
    write(me, doc, state, ARGV[1])
  else
    docs = docs + 1
    doc = docs
    write(me, doc, state, ARGV[1])
    put("p" .. me.payload, doc)
  end
  out[#out + 1] = kind .. id .. struct.pack("<I4", doc) .. string.char(sure) .. state
  balance()
end
save()
return out
