-- A worker process ends. its name
return redis.call('ZREM', WORKERS, ARGV[1])
