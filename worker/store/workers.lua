-- How many worker processes are live. how long one counts as live after it was seen
return redis.call('ZCOUNT', WORKERS, whole(now() - tonumber(ARGV[1])), '+inf')
