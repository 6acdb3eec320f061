-- Count a submission of a key within this minute.
-- Arguments: id of the key, the most in a minute.
-- Returns 0, or the seconds to wait if there were too many.
local minute = math.floor(now() / 60000000)
local rate = RATE .. ARGV[1] .. ':' .. whole(minute)
local count = redis.call('INCR', rate)
redis.call('EXPIRE', rate, 120)
if count <= tonumber(ARGV[2]) then return 0 end
return math.ceil(((minute + 1) * 60000000 - now()) / 1000000)
