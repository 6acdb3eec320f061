-- Cancel fits that were asked to stop but have not stopped in time.
-- Arguments: the time, how long results are kept, maximum number of fits.
-- Returns their ids.
local overdue = redis.call('ZRANGEBYSCORE', CANCELLING, '-inf', whole(now() - ARGV[1]), 'LIMIT', 0, ARGV[3])
for _, id in ipairs(overdue) do end_fit(id, 'cancelled', tonumber(ARGV[2])) end
return overdue
