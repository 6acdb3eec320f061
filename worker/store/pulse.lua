-- Renew a lease, or take it back if it lapsed and nobody else has it; save the update of the attempt.
-- Arguments: id, token, length of the lease, then the update, then the seconds after which a fit makes way for a small
-- one that waits.
-- Returns 'lost', 'cancel', 'yield' or 'held'.
local id, token, lease = ARGV[1], ARGV[2], tonumber(ARGV[3])
if not holds(id, token) then return 'lost' end

write_even_when_full()
if redis.call('ZREM', READY .. redis.call('HGET', FIT .. id, 'queue'), id) == 1 then
  -- The worker was counted as dead, but is alive.
  redis.call('HINCRBY', FIT .. id, 'deaths', -1)
end
redis.call('ZADD', LEASES, whole(now() + lease), id)
local update = update_from(4)
save_update(id, update)
if update.progress ~= '' then redis.call('PUBLISH', PROGRESS_CHANNEL, id) end
if redis.call('ZSCORE', CANCELLING, id) then return 'cancel' end
if tonumber(update.seconds) < tonumber(ARGV[14]) then return 'held' end

-- A small fit that has waited for a second found no idle worker. One fit at a time makes way.
local queue = redis.call('HGET', FIT .. id, 'queue')
local first = redis.call('ZRANGEBYSCORE', READY .. queue, '-inf', '(' .. LONG_LANE, 'LIMIT', 0, 1)[1]
if first and now() - ready_since(first) > 1000000 then
  if redis.call('SET', YIELD .. queue, id, 'NX', 'PX', 1500) then return 'yield' end
end
return 'held'
