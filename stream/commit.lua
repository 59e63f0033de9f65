#!lua
-- Commits one unit of work of one shard: scores, leaderboards, funnel, outbox and fence.
--
-- KEYS   fence, outbox, funnel, top:engagement, top:intent_surge, top:relationship, due, names,
--        spend
-- ARGV   1 owner, 2 expected sequence number, 3 commit id, 4 msgpack blob, then binaries
-- blob   {offsets {topic, from, to}.., accounts .., fence fields .., key prefix,
--         {seen seconds, most names, most spend}, outbox?, names, {spend time ..}}
-- account {id, hash {field, value ..}, scores {engagement, surge, relationship} (false: none),
--          due (false: none), bucket ("" for none), surging 0/1, moves {..}, fresh {suffix ..},
--          dropped {suffix ..}, days {byte in the ring ..}, facts? of events, of records,
--          oldest kept, before which time a log is cut, most kept}
-- binaries  per account its state, then one per fresh suffix, day and log of facts; then hash and
--           text per name, one per spend; last the outbox entry, if any
--
-- A script that fails half-way keeps what it wrote, so everything that can fail comes first.
-- No allow-oom flag: a full Redis refuses the script before its first write.
local fence, outbox, funnel, due = KEYS[1], KEYS[2], KEYS[3], KEYS[7]
local expected = tonumber(ARGV[2])
local held = redis.call('HMGET', fence, 'owner', 'seq', 'commit')
if held[1] ~= ARGV[1] then return {'refused', 'owner', held[1] or ''} end
local seq = tonumber(held[2] or '0')
if seq == expected + 1 and held[3] == ARGV[3] then return {'already'} end
if seq ~= expected then return {'refused', 'sequence', tostring(seq)} end

local blob = cmsgpack.unpack(ARGV[4])
local offsets, accounts, fields = blob[1], blob[2], blob[3]
local prefix, kept, announces, names, spend = blob[4], blob[5], blob[6], blob[7], blob[8]
local seen_seconds, most_names, most_spend = kept[1], kept[2], kept[3]
for _, o in ipairs(offsets) do
  local stored = redis.call('HGET', fence, o[1])
  if (stored or '') ~= o[2] then
    return {'refused', 'offsets', o[1] .. ' ' .. (stored or 'none')}
  end
end

local kinds = {'hash', 'hash', 'hash', 'zset', 'zset', 'zset', 'zset', 'hash', 'zset'}
for i, kind in ipairs(kinds) do
  local found = redis.call('TYPE', KEYS[i]).ok
  if found ~= 'none' and found ~= kind then
    return redis.error_reply('WRONGTYPE ' .. KEYS[i] .. ' is a ' .. found)
  end
end
local function is_number(x) return type(x) == 'number' and x == x end
local changes = {}  -- funnel counter -> by how much it changes
local function change(counter, by) changes[counter] = (changes[counter] or 0) + by end
local binaries = 4
for _, a in ipairs(accounts) do
  local before = redis.call('HMGET', prefix .. 'account:' .. a[1], 'bucket', 'surging')
  local bucket, surging = before[1] or '', tonumber(before[2] or '0')
  if not surging then return redis.error_reply('ERR field surging of ' .. a[1] .. ' is no number') end
  if bucket ~= a[5] then
    if bucket ~= '' then change(bucket, -1) end
    if a[5] ~= '' then change(a[5], 1) end
  end
  if surging ~= a[6] then change('surging', a[6] - surging) end
  for _, move in ipairs(a[7]) do change(move, 1) end
  for board = 1, 3 do
    if a[3][board] and not is_number(a[3][board]) then
      return redis.error_reply('ERR a score of ' .. a[1] .. ' is no number')
    end
  end
  if a[4] and not is_number(a[4]) then
    return redis.error_reply('ERR the due instant of ' .. a[1] .. ' is no number')
  end
  for _, suffix in ipairs(a[8]) do
    redis.call('STRLEN', prefix .. 'seen:' .. a[1] .. ':' .. suffix)
  end
  if #a[10] > 0 then redis.call('STRLEN', prefix .. 'history:' .. a[1]) end
  if a[11] then redis.call('STRLEN', prefix .. 'facts:' .. a[1]) end
  if a[12] then redis.call('STRLEN', prefix .. 'records:' .. a[1]) end
  binaries = binaries + 1 + #a[8] + #a[10] + (a[11] and 1 or 0) + (a[12] and 1 or 0)
end
for _, time in ipairs(spend) do
  if not is_number(time) then return redis.error_reply('ERR a time of spend is no number') end
end
binaries = binaries + 2 * names + #spend
if announces then binaries = binaries + 1 end
for counter in pairs(changes) do
  local value = redis.call('HGET', funnel, counter)
  if value and not string.match(value, '^-?%d+$') then
    return redis.error_reply('ERR funnel counter ' .. counter .. ' is no whole number')
  end
end
if binaries ~= #ARGV then return redis.error_reply('ERR commit carries wrong binaries') end

-- Drops the oldest facts of a log, see stream/fact_logs.py.
local FACT, CUT, TOUCH, LAST_ENGAGEMENT = 42, 255, 1, 17
local function cut(key, oldest, reach, most)
  local count = redis.call('STRLEN', key) / FACT
  local begin = redis.call('GETRANGE', key, 0, 2 * FACT - 1)
  local skip = string.byte(begin, FACT - 1) == CUT and 1 or 0
  local beyond = count - skip - most
  if count == skip then return end
  local first = struct.unpack('<d', begin, skip * FACT + 1)
  if beyond < math.max(1, math.floor(most / 8)) and first >= reach then return end
  local newest, earliest, touches = -1e300, math.huge, 0
  if skip == 1 then
    newest, earliest, touches = struct.unpack('<d', begin, 1), struct.unpack('<d', begin, 17),
      struct.unpack('<d', begin, 33)
  end
  local log = redis.call('GETRANGE', key, 0, -1)
  local i = skip
  while i < count do
    local from = i * FACT
    local time = struct.unpack('<d', log, from + 1)
    if i - skip >= beyond and time >= oldest then break end
    newest = math.max(newest, time)
    local code, flags = string.byte(log, from + FACT - 1, from + FACT)
    if code <= LAST_ENGAGEMENT and flags % 2 == TOUCH then
      touches, earliest = touches + 1, math.min(earliest, time)
    end
    i = i + 1
  end
  local head = struct.pack('<dffdddBB', newest, 0, 0, earliest, 0, touches, CUT, 0)
  redis.call('SET', key, head .. string.sub(log, i * FACT + 1))
end

-- APPEND doubles the room of a string that it grows. What is not long is written anew instead, at
-- the size that it has: most logs of facts stay below that, and they are most of what is stored.
local REWRITTEN = 32768
local function append(key, more)
  if redis.call('STRLEN', key) < REWRITTEN then
    redis.call('SET', key, redis.call('GETRANGE', key, 0, -1) .. more)
  else
    redis.call('APPEND', key, more)
  end
end

local at = 5
for _, a in ipairs(accounts) do
  local id, scores = a[1], a[3]
  redis.call('SET', prefix .. 'state:' .. id, ARGV[at])
  at = at + 1
  redis.call('HSET', prefix .. 'account:' .. id, unpack(a[2]))
  for board = 1, 3 do
    if scores[board] then
      redis.call('ZADD', KEYS[3 + board], scores[board], id)
    else
      redis.call('ZREM', KEYS[3 + board], id)
    end
  end
  if a[4] then redis.call('ZADD', due, a[4], id) else redis.call('ZREM', due, id) end
  for _, suffix in ipairs(a[8]) do
    local key = prefix .. 'seen:' .. id .. ':' .. suffix
    redis.call('APPEND', key, ARGV[at])
    redis.call('EXPIRE', key, seen_seconds)
    at = at + 1
  end
  for _, suffix in ipairs(a[9]) do
    redis.call('UNLINK', prefix .. 'seen:' .. id .. ':' .. suffix)
  end
  for _, byte in ipairs(a[10]) do
    redis.call('SETRANGE', prefix .. 'history:' .. id, byte, ARGV[at])
    at = at + 1
  end
  if a[11] then
    local facts = prefix .. 'facts:' .. id
    append(facts, ARGV[at])
    cut(facts, a[13], a[14], a[15])
    at = at + 1
  end
  if a[12] then
    local records = prefix .. 'records:' .. id
    append(records, ARGV[at])
    cut(records, -1e300, -1e300, a[15])
    at = at + 1
  end
end
if names > 0 then
  local named = redis.call('HLEN', KEYS[8])
  for _ = 1, names do
    if named < most_names then
      named = named + redis.call('HSETNX', KEYS[8], ARGV[at], ARGV[at + 1])
    end
    at = at + 2
  end
end
if #spend > 0 then
  for _, time in ipairs(spend) do
    redis.call('ZADD', KEYS[9], time, ARGV[at])
    at = at + 1
  end
  local surplus = redis.call('ZCARD', KEYS[9]) - most_spend
  if surplus > most_spend / 8 then
    local last = redis.call('ZRANGE', KEYS[9], surplus - 1, surplus - 1, 'WITHSCORES')
    redis.call('ZREMRANGEBYRANK', KEYS[9], 0, surplus - 1)
    redis.call('ZADD', KEYS[9], last[2], 'since')
  end
end
for counter, by in pairs(changes) do redis.call('HINCRBY', funnel, counter, by) end
if announces then redis.call('HSET', outbox, expected + 1, ARGV[at]) end
for _, o in ipairs(offsets) do redis.call('HSET', fence, o[1], o[3]) end
if #fields > 0 then redis.call('HSET', fence, unpack(fields)) end
redis.call('HSET', fence, 'commit', ARGV[3], 'seq', expected + 1)
return {'applied'}
