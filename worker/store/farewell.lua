-- Remove a worker process from the live ones.
-- Arguments: its name.
return redis.call('ZREM', WORKERS, ARGV[1])
