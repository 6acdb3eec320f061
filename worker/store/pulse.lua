-- Renew a lease, or take it back if it lapsed and nobody else has it; save the update of the attempt.
-- Arguments: id, token, length of the lease, then the update.
-- Returns 'lost', 'cancel' or 'held'.
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
return redis.call('ZSCORE', CANCELLING, id) and 'cancel' or 'held'
