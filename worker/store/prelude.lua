-- The functions that all scripts share. `scripts.py` prepends the names of the keys (FIT, READY, …), RECORD_FIELDS,
-- MOVES (status → set of statuses) and CANCELLED (the outcome of a cancelled fit, as JSON).
--
-- Times are whole microseconds since 1970 by the clock of Redis. Fields of a fit besides RECORD_FIELDS:
--   queue, sequence, problem     as accepted
--   owner, request_id            the id of the key, and of the HTTP request
--   kind                         what fits that take equally long have in common
--   lane, place, ready_at        'small' or 'long', the place in it, since when the fit waits
--   idempotency, digest          hashes of its idempotency key and of the body sent with it
--   token                        fencing token of the current attempt: its number
--   elapsed, attempt_seconds     running time of earlier attempts, and of this one so far
--   checkpoint, stage, step      where the next attempt resumes, and its position
--   partial, partial_outcome     the result to show if there is no other, and its outcome exactly as in that text
--   deaths                       leases that lapsed since the last checkpoint with progress
--   best, losses                 of the latest progress: the best values, and the entries [step,loss]
--   webhook, webhook_attempts    url and secret (JSON), until it was delivered
--   result, outcome              once the fit has ended, if there is a result
--
-- A chunk of a batch is a job like a fit, under the id BATCH/NUMBER, which no route shows; see batch_prelude.lua. It has
--   batch, chunk, size           the id of the batch, its number there, and how many series it has
--   partial, partial_outcome     the rows of series that are done, and their counts (JSON)

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function whole(number)
  return string.format('%.0f', number)
end

-- When its memory is full, Redis refuses a script whose first write may need memory, but not the writes after that.
-- Scripts that keep accepted fits going must not be refused, so they begin with a write that needs none.
local function write_even_when_full()
  redis.call('DEL', SWEEP_TURN .. ':nothing')
end

-- Keep what this script writes in memory only, not on disk: no caller waits for a simulation once Redis has restarted,
-- and each write to disk takes some milliseconds.
local function transient()
  redis.set_repl(redis.REPL_NONE)
end

local function indexes(status, system, owner)
  local found = {}
  for _, prefix in ipairs(owner and { INDEX, OWNER_INDEX .. owner .. ':' } or { INDEX }) do
    for _, rest in ipairs({ ':', status .. ':', ':' .. system, status .. ':' .. system }) do
      found[#found + 1] = prefix .. rest
    end
  end
  return found
end

-- Long fits wait behind all small ones; `claim` lets them pass now and then. Places are below this.
local LONG_LANE = 1000000000000

local function add_to_lane(id, queue, lane, place)
  redis.call('HSET', FIT .. id, 'lane', lane, 'place', place, 'ready_at', whole(now()))
  redis.call('ZADD', READY .. queue, place + (lane == 'long' and LONG_LANE or 0), id)
end

-- The lane of a fit and its place there. A fit that an earlier version accepted has neither.
local function lane_of(id)
  local lane, place, sequence = unpack(redis.call('HMGET', FIT .. id, 'lane', 'place', 'sequence'))
  return lane or 'small', tonumber(place or sequence)
end

local function ready_since(id)
  local ready_at, created_at = unpack(redis.call('HMGET', FIT .. id, 'ready_at', 'created_at'))
  return tonumber(ready_at or created_at)
end

-- The next place in a lane. Keys take turns (start-time fair queueing): the next fit of a key comes after its last one,
-- and not before the one that started last.
local function next_place(queue, lane, owner)
  local of_lane = queue .. ':' .. lane
  local of_owner = of_lane .. ':' .. (owner or '')
  local started, last = unpack(redis.call('HMGET', TURNS, of_lane, of_owner))
  local place = math.max(tonumber(started or 0), tonumber(last or 0)) + 1
  redis.call('HSET', TURNS, of_owner, place)
  return place
end

-- Remember how long a fit of its kind takes: a moving average.
local function measure_kind(id)
  local kind, elapsed, attempt = unpack(redis.call('HMGET', FIT .. id, 'kind', 'elapsed', 'attempt_seconds'))
  if not kind then return end
  local seconds = tonumber(elapsed or 0) + tonumber(attempt or 0)
  local earlier = redis.call('HGET', COSTS, kind)
  if earlier then seconds = 0.7 * earlier + 0.3 * seconds end
  if redis.call('HLEN', COSTS) > 10000 then redis.call('DEL', COSTS) end
  redis.call('HSET', COSTS, kind, string.format('%.3f', seconds))
end

local function has_ended(status)
  return next(MOVES[status]) == nil
end

-- The only place where a fit changes its status.
local function move(id, to)
  local fit = FIT .. id
  local from, system, sequence, owner, batch =
    unpack(redis.call('HMGET', fit, 'status', 'system', 'sequence', 'owner', 'batch'))
  if not MOVES[from][to] then
    error('a fit cannot move from ' .. from .. ' to ' .. to)
  end
  if from ~= to then
    redis.call('HSET', fit, 'status', to)
    if batch then return end
    for _, index in ipairs(indexes(from, system, owner)) do redis.call('ZREM', index, id) end
    for _, index in ipairs(indexes(to, system, owner)) do redis.call('ZADD', index, sequence, id) end
  end
end

-- The result of the last checkpoint, for a fit that ends without a later one. For a cancelled fit the outcome in its
-- text is replaced. The caller's names come only after the outcome, so the first match is the outcome itself.
local function partial_result(id, status)
  local partial, outcome = unpack(redis.call('HMGET', FIT .. id, 'partial', 'partial_outcome'))
  if not partial or status ~= 'cancelled' then return partial end
  local first, last = string.find(partial, outcome, 1, true)
  return string.sub(partial, 1, first - 1) .. CANCELLED .. string.sub(partial, last + 1)
end

-- Count how long something took, in microseconds. kind: 'run' or 'wait'.
local function count_duration(kind, duration)
  local seconds = duration / 1000000
  redis.call('HINCRBY', COUNTERS, kind .. '_count', 1)
  redis.call('HINCRBYFLOAT', COUNTERS, kind .. '_sum', string.format('%.6f', seconds))
  for _, upper in ipairs({ 0.1, 1, 10, 60, 600, 3600 }) do
    if seconds <= upper then redis.call('HINCRBY', COUNTERS, kind .. '_le:' .. upper, 1) end
  end
end

-- Count an end. stages: JSON, seconds by kind of stage, or '' or nil.
local function count_end(id, status, outcome, failure, stages, at)
  outcome = outcome or 'none'
  redis.call('HINCRBY', COUNTERS, 'ended:' .. status .. ':' .. outcome, 1)
  local code = failure and string.match(failure, '"urn:odefit:error:([%a_]+)"')
  if code then redis.call('HINCRBY', COUNTERS, 'failed:' .. code, 1) end
  local created_at, started_at = unpack(redis.call('HMGET', FIT .. id, 'created_at', 'started_at'))
  if started_at then
    count_duration('wait', started_at - created_at)
    count_duration('run', at - started_at)
  end
  if not stages or stages == '' then return end
  for kind, seconds in pairs(cjson.decode(stages)) do
    redis.call('HINCRBY', COUNTERS, 'stage_count:' .. kind .. ':' .. outcome, 1)
    redis.call('HINCRBYFLOAT', COUNTERS, 'stage_seconds:' .. kind .. ':' .. outcome, string.format('%.6f', seconds))
  end
end

local end_chunk  -- in batch_prelude.lua

-- End a fit, for good. stages: seconds by kind of stage. result, failure (the error), progress: JSON; '' or nil if there is none.
local function end_fit(id, status, kept, result, failure, progress, stages)
  local fit = FIT .. id
  write_even_when_full()
  redis.call('ZREM', LEASES, id)
  redis.call('ZREM', CANCELLING, id)
  redis.call('ZREM', READY .. redis.call('HGET', fit, 'queue'), id)
  move(id, status)
  if redis.call('HEXISTS', fit, 'batch') == 1 then return end_chunk(id, status, kept, result, failure, stages) end
  if not result or result == '' then result = partial_result(id, status) end
  local at = now()
  redis.call('HDEL', fit, 'checkpoint', 'stage', 'step', 'partial', 'partial_outcome', 'deaths')
  redis.call('HSET', fit, 'finished_at', whole(at), 'expires_at', whole(at + kept))
  local outcome
  if result then
    redis.call('HSET', fit, 'result', result)
    outcome = string.match(result, '"outcome":{"code":"([%a_]+)"')
    if outcome then redis.call('HSET', fit, 'outcome', outcome) end
  end
  if failure and failure ~= '' then redis.call('HSET', fit, 'error', failure) end
  if progress and progress ~= '' then redis.call('HSET', fit, 'progress', progress) end
  redis.call('ZADD', EXPIRIES, whole(at + kept), id)
  if redis.call('HEXISTS', fit, 'webhook') == 1 then redis.call('ZADD', WEBHOOKS, whole(at), id) end
  if status == 'succeeded' then measure_kind(id) end
  count_end(id, status, outcome, failure, stages, at)
  redis.call('PUBLISH', ENDED_CHANNEL, id)
end

-- Whether `token` still permits writes: no later attempt has claimed the fit, and it has not ended.
local function holds(id, token)
  local status, current = unpack(redis.call('HMGET', FIT .. id, 'status', 'token'))
  return status and not has_ended(status) and current == token
end

-- Save what listeners see besides the progress.
local function save_trace(id, trace)
  local fit = FIT .. id
  if trace.best ~= '' then redis.call('HSET', fit, 'best', trace.best) end
  if trace.losses == '' then return end
  local earlier = trace.replaces ~= '1' and redis.call('HGET', fit, 'losses')
  redis.call('HSET', fit, 'losses', earlier and earlier .. ',' .. trace.losses or trace.losses)
end

-- Save the update of an attempt. A checkpoint with progress resets the count of deaths; an older one is not saved.
local function save_update(id, update)
  local fit = FIT .. id
  redis.call('HSET', fit, 'attempt_seconds', update.seconds)
  if update.progress ~= '' then redis.call('HSET', fit, 'progress', update.progress) end
  save_trace(id, update.trace)
  if update.checkpoint == '' then return end
  local stage, step = unpack(redis.call('HMGET', fit, 'stage', 'step'))
  stage, step = tonumber(stage or -1), tonumber(step or -1)
  local new_stage, new_step = tonumber(update.stage), tonumber(update.step)
  if new_stage < stage or (new_stage == stage and new_step < step) then return end
  if new_stage > stage or new_step > step then redis.call('HSET', fit, 'deaths', 0) end
  redis.call('HSET', fit, 'checkpoint', update.checkpoint, 'stage', update.stage, 'step', update.step)
  if update.partial ~= '' then
    redis.call('HSET', fit, 'partial', update.partial, 'partial_outcome', update.partial_outcome)
  end
end

-- The trace from the three arguments that begin with ARGV[first].
local function trace_from(first)
  return { best = ARGV[first], losses = ARGV[first + 1], replaces = ARGV[first + 2] }
end

-- The update of an attempt, from the ten arguments that begin with ARGV[first].
local function update_from(first)
  return {
    seconds = ARGV[first],
    progress = ARGV[first + 1],
    checkpoint = ARGV[first + 2],
    stage = ARGV[first + 3],
    step = ARGV[first + 4],
    partial = ARGV[first + 5],
    partial_outcome = ARGV[first + 6],
    trace = trace_from(first + 7),
  }
end

-- Return a fit to its place in the queue.
local function make_ready(id)
  local fit = FIT .. id
  local queue = redis.call('HGET', fit, 'queue')
  redis.call('ZREM', LEASES, id)
  add_to_lane(id, queue, lane_of(id))
  return queue
end

-- Whether a fit or batch has expired. key: FIT or BATCH, and its id.
local function has_expired(key)
  local expires_at = redis.call('HGET', key, 'expires_at')
  return expires_at and tonumber(expires_at) <= now()
end

local function exists(id)
  local fit = FIT .. id
  return redis.call('EXISTS', fit) == 1 and redis.call('HEXISTS', fit, 'batch') == 0 and not has_expired(fit)
end

-- What an idempotency key belongs to. prefix: FIT or BATCH. forget: removes what has expired.
-- Returns 'repeated' and its id, 'conflict' if it came with another body, or nothing.
local function earlier_with_key(idempotency, digest, prefix, forget)
  local first = idempotency ~= '' and redis.call('GET', IDEMPOTENCY .. idempotency)
  if not first then return end
  if has_expired(prefix .. first) then return forget(first) end
  if redis.call('HGET', prefix .. first, 'digest') ~= digest then return 'conflict' end
  return 'repeated', first
end

-- Remove an ended fit, its index entries and its idempotency key.
local function remove(id)
  local fit = FIT .. id
  local status, system, idempotency, owner =
    unpack(redis.call('HMGET', fit, 'status', 'system', 'idempotency', 'owner'))
  redis.call('DEL', fit)
  redis.call('ZREM', EXPIRIES, id)
  redis.call('ZREM', WEBHOOKS, id)
  for _, index in ipairs(indexes(status, system, owner)) do redis.call('ZREM', index, id) end
  if idempotency then redis.call('DEL', IDEMPOTENCY .. idempotency) end
end

-- A fit as scripts return it: id, RECORD_FIELDS, and its result if asked for; false for fields without a value.
local function record(id, with_result)
  local fields = redis.call('HMGET', FIT .. id, unpack(RECORD_FIELDS))
  table.insert(fields, 1, id)
  fields[#RECORD_FIELDS + 2] = with_result and redis.call('HGET', FIT .. id, 'result') or false
  return fields
end
