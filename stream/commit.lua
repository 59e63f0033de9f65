#!lua
-- Commits one unit of work of one shard: scores, leaderboards, funnel, outbox and fence.
--
-- KEYS   fence, outbox, funnel, top:engagement, top:intent_surge, top:relationship, due
-- ARGV   1 owner, 2 expected sequence number, 3 commit id, 4 msgpack blob, then binaries
-- blob   {offsets {topic, from, to}.., accounts .., fence fields .., key prefix, seen seconds, outbox?}
-- account {id, hash {field, value ..}, scores {engagement, surge, relationship} (false: none),
--          due (false: none), bucket ("" for none), surging 0/1, moves {..}, fresh {suffix ..},
--          dropped {suffix ..}}
-- binaries  per account its state, then one per fresh suffix; last the outbox entry, if any
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
local prefix, seen_seconds, announces = blob[4], blob[5], blob[6]
for _, o in ipairs(offsets) do
  local stored = redis.call('HGET', fence, o[1])
  if (stored or '') ~= o[2] then
    return {'refused', 'offsets', o[1] .. ' ' .. (stored or 'none')}
  end
end

local kinds = {'hash', 'hash', 'hash', 'zset', 'zset', 'zset', 'zset'}
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
  binaries = binaries + 1 + #a[8]
end
if announces then binaries = binaries + 1 end
for counter in pairs(changes) do
  local value = redis.call('HGET', funnel, counter)
  if value and not string.match(value, '^-?%d+$') then
    return redis.error_reply('ERR funnel counter ' .. counter .. ' is no whole number')
  end
end
if binaries ~= #ARGV then return redis.error_reply('ERR commit carries wrong binaries') end

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
end
for counter, by in pairs(changes) do redis.call('HINCRBY', funnel, counter, by) end
if announces then redis.call('HSET', outbox, expected + 1, ARGV[at]) end
for _, o in ipairs(offsets) do redis.call('HSET', fence, o[1], o[3]) end
if #fields > 0 then redis.call('HSET', fence, unpack(fields)) end
redis.call('HSET', fence, 'commit', ARGV[3], 'seq', expected + 1)
return {'applied'}
