#!lua
-- Lets other numbers stand for people in a log of facts, in place, beside a worker that appends.
-- KEYS: the log; ARGV: codes of the facts that have people, a byte each; then old and new, 8 bytes
-- each. Answers how many facts it changed.
local RECORD, WHO, CODE = 42, 16, 40
local named, people = {}, {}
for i = 1, #ARGV[1] do named[ARGV[1]:byte(i)] = true end
for i = 2, #ARGV, 2 do people[ARGV[i]] = ARGV[i + 1] end
local log, changed = redis.call('GET', KEYS[1]) or '', 0
for at = 0, #log - RECORD, RECORD do
  local new = named[log:byte(at + CODE + 1)] and people[log:sub(at + WHO + 1, at + WHO + 8)]
  if new then
    redis.call('SETRANGE', KEYS[1], at + WHO, new)
    changed = changed + 1
  end
end
return changed
