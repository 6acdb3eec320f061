-- Remove what has expired. most fits at once. Returns how many were removed.
local expired = redis.call('ZRANGEBYSCORE', EXPIRIES, '-inf', whole(now()), 'LIMIT', 0, ARGV[1])
for _, id in ipairs(expired) do remove(id) end
return #expired
