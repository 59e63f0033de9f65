#!lua
-- Reads and changes the directory: many small steps on keys of one part of it, in one call.
--
-- KEYS   the part
-- ARGV   msgpack of the steps, in order
--        {"get", hash, field}                     answers what it holds, or false
--        {"size", set}                            answers how many members it has
--        {"list", hash, field, member, add}       puts a member into a list of ids, or takes it out
--        {"put", set, member, score}  {"take", set, member}
--        {"swap", hash, field, expected, new}     answers whether it held what was expected;
--                                                 "" is nothing
-- answers msgpack of their answers; steps that only write answer true
local function list(hash, field, member, add)
  local held = redis.call('HGET', hash, field)
  local members, at = held and cjson.decode(held) or {}, nil
  for i, each in ipairs(members) do
    if each == member then at = i end
  end
  if (at ~= nil) == add then return end
  if add then table.insert(members, member) else table.remove(members, at) end
  if #members == 0 then
    redis.call('HDEL', hash, field)
  else
    redis.call('HSET', hash, field, cjson.encode(members))
  end
end

local answers = {}
for i, step in ipairs(cmsgpack.unpack(ARGV[1])) do
  local what, key, answer = step[1], step[2], true
  if what == 'get' then
    answer = redis.call('HGET', key, step[3])
  elseif what == 'size' then
    answer = redis.call('ZCOUNT', key, '-inf', '+inf')
  elseif what == 'list' then
    list(key, step[3], step[4], step[5])
  elseif what == 'put' then
    redis.call('ZADD', key, step[4], step[3])
  elseif what == 'take' then
    redis.call('ZREM', key, step[3])
  elseif (redis.call('HGET', key, step[3]) or '') ~= step[4] then
    answer = false
  elseif step[5] == '' then
    redis.call('HDEL', key, step[3])
  else
    redis.call('HSET', key, step[3], step[5])
  end
  answers[i] = answer
end
return cmsgpack.pack(answers)
