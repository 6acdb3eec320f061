-- What every script shares. Before it stands what `scripts.py` renders from Python: the names of the keys
-- (FIT, READY, …), RECORD_FIELDS, MOVES (status → set of statuses) and CANCELLED (the outcome of a cancelled
-- fit, as JSON).
--
-- Times are whole microseconds since 1970, by the clock of Redis. Fields of a fit besides RECORD_FIELDS:
--   queue, sequence, problem     as accepted
--   idempotency, digest          the hash of its idempotency key, and of the body sent with it
--   token                        the fencing token of whoever works on it: the number of the attempt
--   elapsed, attempt_seconds     running time of the earlier attempts, and of this one so far
--   checkpoint, stage, step      from where the next attempt goes on, and how far that is
--   partial, partial_outcome     the result to show if there is no other, and its outcome as it stands in there
--   deaths                       leases that lapsed since the last checkpoint that was a step forward
--   result                       once it has ended

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function whole(number)
  return string.format('%.0f', number)
end

-- Redis refuses a script's first write if that could need memory and there is none left. What keeps accepted
-- fits going must pass all the same, so such scripts begin with a write that cannot need any.
local function write_even_when_full()
  redis.call('DEL', SWEEP_TURN .. ':nothing')
end

local function indexes(status, system)
  return { INDEX .. ':', INDEX .. status .. ':', INDEX .. ':' .. system, INDEX .. status .. ':' .. system }
end

local function has_ended(status)
  return next(MOVES[status]) == nil
end

-- The only place where a fit changes its status.
local function move(id, to)
  local fit = FIT .. id
  local from, system, sequence = unpack(redis.call('HMGET', fit, 'status', 'system', 'sequence'))
  if not MOVES[from][to] then
    error('a fit cannot move from ' .. from .. ' to ' .. to)
  end
  if from ~= to then
    redis.call('HSET', fit, 'status', to)
    for _, index in ipairs(indexes(from, system)) do redis.call('ZREM', index, id) end
    for _, index in ipairs(indexes(to, system)) do redis.call('ZADD', index, sequence, id) end
  end
end

-- The result of the last checkpoint, for a fit that ends without a better one. On a cancelled fit it has the outcome
-- of such; the caller's own names all stand behind the outcome, so the first place at which it is found is itself.
local function partial_result(id, status)
  local partial, outcome = unpack(redis.call('HMGET', FIT .. id, 'partial', 'partial_outcome'))
  if not partial or status ~= 'cancelled' then return partial end
  local first, last = string.find(partial, outcome, 1, true)
  return string.sub(partial, 1, first - 1) .. CANCELLED .. string.sub(partial, last + 1)
end

-- End a fit: its end state and all that belongs to it, at once and for good.
-- result, failure (the error) and progress: JSON, or '' or nothing.
local function end_fit(id, status, kept, result, failure, progress)
  local fit = FIT .. id
  write_even_when_full()
  redis.call('ZREM', LEASES, id)
  redis.call('ZREM', CANCELLING, id)
  redis.call('ZREM', READY .. redis.call('HGET', fit, 'queue'), id)
  move(id, status)
  if not result or result == '' then result = partial_result(id, status) end
  local at = now()
  redis.call('HDEL', fit, 'checkpoint', 'stage', 'step', 'partial', 'partial_outcome', 'deaths')
  redis.call('HSET', fit, 'finished_at', whole(at), 'expires_at', whole(at + kept))
  if result then redis.call('HSET', fit, 'result', result) end
  if failure and failure ~= '' then redis.call('HSET', fit, 'error', failure) end
  if progress and progress ~= '' then redis.call('HSET', fit, 'progress', progress) end
  redis.call('ZADD', EXPIRIES, whole(at + kept), id)
  redis.call('PUBLISH', ENDED_CHANNEL, id)
end

-- Whether `token` is that of the attempt that may still write: nobody claimed the fit since, and it has not ended.
local function holds(id, token)
  local status, current = unpack(redis.call('HMGET', FIT .. id, 'status', 'token'))
  return status and not has_ended(status) and current == token
end

-- Keep what an attempt reports; a checkpoint that is a step forward wipes out the deaths before it, and one that
-- is a step back is not worth keeping.
local function keep_report(id, report)
  local fit = FIT .. id
  redis.call('HSET', fit, 'attempt_seconds', report.seconds)
  if report.progress ~= '' then redis.call('HSET', fit, 'progress', report.progress) end
  if report.checkpoint == '' then return end
  local stage, step = unpack(redis.call('HMGET', fit, 'stage', 'step'))
  stage, step = tonumber(stage or -1), tonumber(step or -1)
  local new_stage, new_step = tonumber(report.stage), tonumber(report.step)
  if new_stage < stage or (new_stage == stage and new_step < step) then return end
  if new_stage > stage or new_step > step then redis.call('HSET', fit, 'deaths', 0) end
  redis.call('HSET', fit, 'checkpoint', report.checkpoint, 'stage', report.stage, 'step', report.step)
  if report.partial ~= '' then
    redis.call('HSET', fit, 'partial', report.partial, 'partial_outcome', report.partial_outcome)
  end
end

-- The seven arguments that say what an attempt reports, from ARGV[first] on.
local function report_from(first)
  return {
    seconds = ARGV[first],
    progress = ARGV[first + 1],
    checkpoint = ARGV[first + 2],
    stage = ARGV[first + 3],
    step = ARGV[first + 4],
    partial = ARGV[first + 5],
    partial_outcome = ARGV[first + 6],
  }
end

-- Back to those that wait for a worker, in its old place.
local function make_ready(id)
  local fit = FIT .. id
  local queue, sequence = unpack(redis.call('HMGET', fit, 'queue', 'sequence'))
  redis.call('ZREM', LEASES, id)
  redis.call('ZADD', READY .. queue, sequence, id)
  return queue
end

local function has_expired(id)
  local expires_at = redis.call('HGET', FIT .. id, 'expires_at')
  return expires_at and tonumber(expires_at) <= now()
end

local function exists(id)
  return redis.call('EXISTS', FIT .. id) == 1 and not has_expired(id)
end

-- Remove an ended fit and every trace of it.
local function remove(id)
  local fit = FIT .. id
  local status, system, idempotency = unpack(redis.call('HMGET', fit, 'status', 'system', 'idempotency'))
  redis.call('DEL', fit)
  redis.call('ZREM', EXPIRIES, id)
  for _, index in ipairs(indexes(status, system)) do redis.call('ZREM', index, id) end
  if idempotency then redis.call('DEL', IDEMPOTENCY .. idempotency) end
end

-- A fit as it leaves the store: its id, RECORD_FIELDS, and its result if asked for; false for what it has not.
local function record(id, with_result)
  local fields = redis.call('HMGET', FIT .. id, unpack(RECORD_FIELDS))
  table.insert(fields, 1, id)
  fields[#RECORD_FIELDS + 2] = with_result and redis.call('HGET', FIT .. id, 'result') or false
  return fields
end
