-- End the fits that were asked to stop and whose worker has not followed. how long it may take, how long results are
-- kept, most fits at once. Returns the ids.
local overdue = redis.call('ZRANGEBYSCORE', CANCELLING, '-inf', whole(now() - ARGV[1]), 'LIMIT', 0, ARGV[3])
for _, id in ipairs(overdue) do end_fit(id, 'cancelled', tonumber(ARGV[2])) end
return overdue
