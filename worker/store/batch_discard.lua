-- Forget what has arrived of a batch that is not accepted.
-- Arguments: id.
redis.call('UNLINK', BATCH_SERIES .. ARGV[1], BATCH_STARTS .. ARGV[1])
