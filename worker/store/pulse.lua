-- Renew a lease, or take it back if it lapsed and nobody else has it; keep what the attempt reports.
-- id, token, length of the lease, then the report. Returns 'lost', 'cancel' or 'held'.
local id, token, lease = ARGV[1], ARGV[2], tonumber(ARGV[3])
if not holds(id, token) then return 'lost' end

write_even_when_full()
if redis.call('ZREM', READY .. redis.call('HGET', FIT .. id, 'queue'), id) == 1 then
  -- It was counted dead and is not.
  redis.call('HINCRBY', FIT .. id, 'deaths', -1)
end
redis.call('ZADD', LEASES, whole(now() + lease), id)
keep_report(id, report_from(4))
return redis.call('ZSCORE', CANCELLING, id) and 'cancel' or 'held'
