-- The number of live worker processes.
-- Arguments: how long one counts as live after its last heartbeat.
return redis.call('ZCOUNT', WORKERS, whole(now() - tonumber(ARGV[1])), '+inf')
