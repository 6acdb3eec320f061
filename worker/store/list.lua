-- A page of fits, newest first.
-- Arguments: status or '', system or '', maximum number of fits, cursor (a sequence number) or ''.
-- Returns the fits, and the cursor of the next page or false.
local status, system, limit, cursor = unpack(ARGV)
local index = INDEX .. status .. ':' .. system
local upper = cursor == '' and '+inf' or '(' .. cursor
limit = tonumber(limit)

local fits, last = {}, false
while true do
  local found = redis.call('ZREVRANGEBYSCORE', index, upper, '-inf', 'WITHSCORES', 'LIMIT', 0, limit + 1)
  for i = 1, #found, 2 do
    local id, sequence = found[i], found[i + 1]
    if not has_expired(id) then
      if #fits == limit then return { fits, last } end
      fits[#fits + 1] = record(id, false)
      last = sequence
    end
    upper = '(' .. sequence
  end
  if #found < 2 * (limit + 1) then return { fits, false } end
end
