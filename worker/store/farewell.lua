-- Remove a worker process from the live ones.
-- Arguments: its name.
redis.call('HDEL', WORKER_MEMORY, ARGV[1])
return redis.call('ZREM', WORKERS, ARGV[1])
