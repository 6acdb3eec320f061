-- Fail the fits that wait for a GPU when no GPU worker has been seen for long. how long, how long results are
-- kept, the error, most fits at once. Returns the ids that failed.
local wait, kept, failure, batch = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local at = now()
local since, last, seen = unpack(redis.call('HMGET', GPU_WATCH, 'since', 'last', 'seen'))
write_even_when_full()
-- Workers that were all down have watched nothing: what they find when they are started again waits its time.
if not last or at - tonumber(last) > wait / 2 then since = whole(at) end
redis.call('HSET', GPU_WATCH, 'since', since, 'last', whole(at))

local failed = {}
if at - math.max(tonumber(since), tonumber(seen or 0)) > wait then
  failed = redis.call('ZRANGE', READY .. 'gpu', 0, batch - 1)
  for _, id in ipairs(failed) do end_fit(id, 'failed', kept, '', failure) end
end
return failed
