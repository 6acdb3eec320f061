-- The number of messages to send so that each waiting fit has one.
-- Arguments: queue, the broker's list, how long a message may be in transit, maximum number.
-- A message in transit is in no list, so messages count as missing only when they have been missing for longer.
local queue, list, patience, batch = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local at = now()
local mark = MISSING .. queue
local missing = redis.call('ZCARD', READY .. queue) - redis.call('LLEN', list)
write_even_when_full()
if missing <= 0 then
  redis.call('DEL', mark)
  return 0
end
local since, fewest = unpack(redis.call('HMGET', mark, 'since', 'least'))
if not since then
  redis.call('HSET', mark, 'since', whole(at), 'least', missing)
  return 0
end
missing = math.min(missing, tonumber(fewest))
if at - tonumber(since) < patience then
  redis.call('HSET', mark, 'least', missing)
  return 0
end
redis.call('DEL', mark)
return math.min(missing, batch)
