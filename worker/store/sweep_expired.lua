-- Remove expired fits.
-- Arguments: maximum number of fits.
-- Returns their number.
local expired = redis.call('ZRANGEBYSCORE', EXPIRIES, '-inf', whole(now()), 'LIMIT', 0, ARGV[1])
for _, id in ipairs(expired) do remove(id) end
return #expired
