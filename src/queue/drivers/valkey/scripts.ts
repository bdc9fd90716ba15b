/**
 * What the server does for queues on Valkey, as scripts: each is one step that happens whole or not at all, and is written to its log
 * as one. All keys of a queue begin with one base whose name in braces puts them into one slot.
 *
 * ```text
 *   made     that the queue was declared          m        hash: number -> message with its company
 *   seq      the last number given                token    the last claim
 *   ready    by priority, then number             prio     hash: number -> priority, where it is not 0
 *   delayed  by when it is due                    due      hash: number -> when, of those sent with a delay
 *   held     by when the lease is over            tries    hash: number -> deliveries, and the last claim
 *   behind   waiting for an earlier one of a key
 *   dead     by when it died                      cause    hash: number -> why
 *   order    "key NUL number", all in one score   key      hash: number -> key
 *   dedup    key by when it is forgotten          dedupid  hash: key -> id
 * ```
 *
 * A message is in exactly one of ready, delayed, held, behind and dead. Of a key only the first in `order` is not behind. Of most
 * messages there is nothing in prio, due, key and cause, and then those are not there at all.
 */

/** What all scripts begin with. Numbers become text by `s`: Lua's own way loses digits. */
const prelude = `
local base = KEYS[1]
local call = redis.call
local function k(name) return base .. ':' .. name end
local function s(number) return string.format('%.0f', number) end
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local rang = false
-- One command for many: Lua takes some thousands of arguments, in pairs and triples.
local function many(command, name, args)
  for from = 1, #args, 1200 do call(command, k(name), unpack(args, from, math.min(from + 1199, #args))) end
end
local function fields(command, name, args)
  local found = {}
  for from = 1, #args, 1200 do
    for _, value in ipairs(call(command, k(name), unpack(args, from, math.min(from + 1199, #args)))) do found[#found + 1] = value end
  end
  return found
end
local function entry(key, seq) return key .. '\\0' .. string.format('%016.0f', tonumber(seq)) end
local function rank(priority, seq) return s((9 - priority) * 281474976710656 + tonumber(seq)) end
local function ready(seq)
  call('ZADD', k('ready'), rank(tonumber(call('HGET', k('prio'), seq) or '0'), seq), seq)
  rang = true
end
-- Ready, or delayed until it is due.
local function place(seq)
  local due = call('HGET', k('due'), seq)
  if due and tonumber(due) > now then
    call('ZADD', k('delayed'), due, seq)
    rang = true
  else
    if due then call('HDEL', k('due'), seq) end
    ready(seq)
  end
end
-- Its place in the order of its key, which the next one takes.
local function leave(seq)
  local key = call('HGET', k('key'), seq)
  if not key then return end
  call('ZREM', k('order'), entry(key, seq))
  local first = call('ZRANGEBYLEX', k('order'), '[' .. entry(key, '0'), '[' .. entry(key, '9999999999999999'), 'LIMIT', 0, 1)[1]
  if first then
    local following = s(tonumber(string.sub(first, -16)))
    if call('ZREM', k('behind'), following) == 1 then place(following) end
  end
end
-- The end of its order: answers whether it is the first of its key.
local function join(key, seq)
  call('HSET', k('key'), seq, key)
  local others = call('ZLEXCOUNT', k('order'), '[' .. entry(key, '0'), '[' .. entry(key, '9999999999999999'))
  call('ZADD', k('order'), 0, entry(key, seq))
  if others == 0 then return true end
  call('ZADD', k('behind'), seq, seq)
  return false
end
local function forget(seqs)
  many('HDEL', 'm', seqs)
  many('HDEL', 'tries', seqs)
  if call('EXISTS', k('prio'), k('due'), k('key'), k('cause')) == 0 then return end
  for _, name in ipairs({'prio', 'due', 'key', 'cause'}) do many('HDEL', name, seqs) end
end
-- Deliveries and the last claim, of what is in tries.
local function turn(known)
  if not known then return 0, '' end
  local times, token = string.match(known, '^(%d+) (%d+)$')
  return tonumber(times), token
end
-- What is due, or has no holder any more.
local function wake()
  for _, set in ipairs({'delayed', 'held'}) do
    for _, seq in ipairs(call('ZRANGEBYSCORE', k(set), '-inf', s(now), 'LIMIT', 0, 1000)) do
      call('ZREM', k(set), seq)
      if set == 'delayed' then call('HDEL', k('due'), seq) end
      ready(seq)
    end
  end
end
local function ring() if rang then call('PUBLISH', k('bell'), '') end end
`

/** ARGV: the most messages the queue may have, then two for each message: itself, and nothing or `priority delay window id NUL key NUL dedup`.
 * Answers one digit for each, 0 queued, 1 duplicate, 2 full; then the ids of those that were there before the duplicates. */
const send = `
if call('EXISTS', k('made')) == 0 then return {'none'} end
local max = tonumber(ARGV[1])
local count = call('HLEN', k('m')) - call('ZCARD', k('dead'))
local last = call('INCRBY', k('seq'), (#ARGV - 1) / 2) - (#ARGV - 1) / 2
local states, known_ids, messages, readies = {}, {}, {}, {}
local sweep = true
for i = 2, #ARGV, 2 do
  local priority, delay, window, id, key, dedup = 0, 0, 0, '', '', ''
  if ARGV[i + 1] ~= '' then
    priority, delay, window, id, key, dedup = string.match(ARGV[i + 1], '^(%d+) (%d+) (%d+) (.-)%z(.-)%z(.*)$')
    priority, delay, window = tonumber(priority), tonumber(delay), tonumber(window)
  end
  local known = nil
  if dedup ~= '' then
    if sweep then
      sweep = false
      for _, old in ipairs(call('ZRANGEBYSCORE', k('dedup'), '-inf', s(now), 'LIMIT', 0, 1000)) do
        call('ZREM', k('dedup'), old)
        call('HDEL', k('dedupid'), old)
      end
    end
    local till = call('ZSCORE', k('dedup'), dedup)
    if till and tonumber(till) > now then known = call('HGET', k('dedupid'), dedup) end
  end
  if known then
    states[#states + 1] = '1'
    known_ids[#known_ids + 1] = known
  elseif count >= max then
    states[#states + 1] = '2'
  else
    count = count + 1
    last = last + 1
    local seq = s(last)
    messages[#messages + 1] = seq
    messages[#messages + 1] = ARGV[i]
    if priority > 0 then call('HSET', k('prio'), seq, priority) end
    if delay > 0 then call('HSET', k('due'), seq, s(now + delay)) end
    if dedup ~= '' then
      call('ZADD', k('dedup'), s(now + window), dedup)
      call('HSET', k('dedupid'), dedup, id)
    end
    if key == '' and delay == 0 then
      readies[#readies + 1] = rank(priority, seq)
      readies[#readies + 1] = seq
    elseif key == '' or join(key, seq) then
      place(seq)
    end
    states[#states + 1] = '0'
  end
end
many('HSET', 'm', messages)
many('ZADD', 'ready', readies)
if #readies > 0 then rang = true end
ring()
table.insert(known_ids, 1, table.concat(states))
return known_ids
`

/** ARGV: messages at most, lease, bytes at most. Answers: ms until something is due or -1, the claim, `number tries` of all messages in
 * one text, then the messages. */
const claim = `
wake()
local max, lease, room = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local found = call('ZRANGE', k('ready'), 0, max - 1)
local token = '0'
local taken, answer = {}, {}
-- A few at a time: they may be large, and what does not fit is read for nothing.
for from = 1, #found, 16 do
  local to = math.min(from + 15, #found)
  for i, message in ipairs(call('HMGET', k('m'), unpack(found, from, to))) do
    if #taken > 0 and #message > room then
      room = -1
      break
    end
    room = room - #message
    taken[#taken + 1] = found[from + i - 1]
    answer[#answer + 1] = message
  end
  if room < 0 then break end
end
local counted = {}
if #taken > 0 then
  token = s(call('INCR', k('token')))
  local till = s(now + lease)
  local tills, tries = {}, {}
  local first = '1 ' .. token
  for i, known in ipairs(fields('HMGET', 'tries', taken)) do
    local seq = taken[i]
    local times, now_tried = '1', first
    if known then
      times = s(turn(known) + 1)
      now_tried = times .. ' ' .. token
    end
    counted[i] = seq .. ' ' .. times
    tills[2 * i - 1], tills[2 * i] = till, seq
    tries[2 * i - 1], tries[2 * i] = seq, now_tried
  end
  -- They are the first.
  call('ZREMRANGEBYRANK', k('ready'), 0, #taken - 1)
  many('ZADD', 'held', tills)
  many('HSET', 'tries', tries)
end
local soonest = -1
for _, set in ipairs({'delayed', 'held'}) do
  local first = call('ZRANGE', k(set), 0, 0, 'WITHSCORES')[2]
  if first and (soonest < 0 or tonumber(first) - now < soonest) then soonest = math.max(1, tonumber(first) - now) end
end
if #found > #taken then rang = true end
ring()
table.insert(answer, 1, table.concat(counted, ' '))
table.insert(answer, 1, token)
table.insert(answer, 1, s(soonest))
return answer
`

/** ARGV: `number.claim` of all that are acknowledged, in one text; then five for each other settlement: number, claim, kind, milliseconds
 * or whether it counts, text. Answers one digit for each, in that order: 1 done, 0 lost. */
const settle = `
local asked, seqs = {}, {}
local function ask(seq, token, kind, ms, text)
  asked[#asked + 1] = {token, kind, ms, text}
  seqs[#seqs + 1] = seq
end
for seq, token in string.gmatch(ARGV[1], '(%d+)%.(%d+)') do ask(seq, token, 'ack') end
for i = 2, #ARGV, 5 do ask(ARGV[i], ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3]), ARGV[i + 4]) end
local tills, turns = fields('ZMSCORE', 'held', seqs), fields('HMGET', 'tries', seqs)
local keys = {}
if call('EXISTS', k('key')) == 1 then keys = fields('HMGET', 'key', seqs) end
local answers, acked, ended = {}, {}, {}
for i, seq in ipairs(seqs) do
  local token, kind, ms, text = unpack(asked[i], 1, 4)
  local till = tills[i]
  local times, holder = turn(turns[i])
  if ended[seq] or not till or tonumber(till) <= now or holder ~= token then
    answers[i] = '0'
  else
    answers[i] = '1'
    if kind == 'extend' then
      call('ZADD', k('held'), s(now + ms), seq)
    else
      ended[seq] = true
      if kind == 'ack' then
        if keys[i] then leave(seq) end
        acked[#acked + 1] = seq
      else
        call('ZREM', k('held'), seq)
        if kind == 'reject' then
          if keys[i] then leave(seq) end
          call('HDEL', k('key'), seq)
          call('HSET', k('cause'), seq, text)
          call('ZADD', k('dead'), s(call('INCR', k('seq'))), seq)
        else
          if text == 'uncounted' then call('HSET', k('tries'), seq, s(times - 1) .. ' ' .. token) end
          if ms > 0 then call('HSET', k('due'), seq, s(now + ms)) end
          place(seq)
        end
      end
    end
  end
end
many('ZREM', 'held', acked)
forget(acked)
ring()
return table.concat(answers)
`

/** Answers ready with those behind, delayed, held, dead. */
const counts = `
wake()
ring()
local dead, held, delayed = call('ZCARD', k('dead')), call('ZCARD', k('held')), call('ZCARD', k('delayed'))
return {call('HLEN', k('m')) - dead - held - delayed, delayed, held, dead}
`

/** ARGV: the shelf, messages at most. Answers four for each: number, tries, cause, message. */
const look = `
wake()
ring()
local seen = {}
for _, seq in ipairs(call('ZRANGE', k(ARGV[1]), 0, tonumber(ARGV[2]) - 1)) do
  seen[#seen + 1] = seq
  seen[#seen + 1] = s(turn(call('HGET', k('tries'), seq)))
  seen[#seen + 1] = call('HGET', k('cause'), seq) or ''
  seen[#seen + 1] = call('HGET', k('m'), seq)
end
return seen
`

/** ARGV: numbers, each followed by its key or nothing. They go to the end, with new numbers. Answers how many. */
const redrive = `
local count = 0
for i = 1, #ARGV, 2 do
  local old, key = ARGV[i], ARGV[i + 1]
  if call('ZREM', k('dead'), old) == 1 then
    count = count + 1
    local seq = s(call('INCR', k('seq')))
    call('HSET', k('m'), seq, call('HGET', k('m'), old))
    local priority = call('HGET', k('prio'), old)
    if priority then call('HSET', k('prio'), seq, priority) end
    forget({old})
    if key == '' or join(key, seq) then place(seq) end
  end
end
ring()
return count
`

/** ARGV: the shelf. Deletes up to 1000 of it. Answers how many. */
const purge = `
local count = 0
local sets = {'dead'}
if ARGV[1] == 'ready' then sets = {'ready', 'delayed', 'behind'} end
for _, set in ipairs(sets) do
  for _, seq in ipairs(call('ZRANGE', k(set), 0, 999)) do
    call('ZREM', k(set), seq)
    leave(seq)
    forget({seq})
    count = count + 1
  end
end
return count
`

const remove = `
for _, name in ipairs({'made', 'seq', 'token', 'm', 'ready', 'delayed', 'held', 'behind', 'dead', 'prio', 'due', 'tries',
  'cause', 'order', 'key', 'dedup', 'dedupid'}) do call('UNLINK', k(name)) end
return 1
`

const declare = `
call('SETNX', k('made'), '1')
return 1
`

export type ScriptName = 'claim' | 'counts' | 'declare' | 'look' | 'purge' | 'redrive' | 'remove' | 'send' | 'settle'

/** What only takes away, or moves, also runs when the server has no memory left: or nothing could ever be taken from it again. */
const always = '#!lua flags=allow-oom'
const whileThereIsRoom = '#!lua'

/** The scripts by their names. */
export const scripts: Readonly<Record<ScriptName, string>> = {
  claim: always + prelude + claim,
  counts: always + prelude + counts,
  declare: whileThereIsRoom + prelude + declare,
  look: always + prelude + look,
  purge: always + prelude + purge,
  redrive: always + prelude + redrive,
  remove: always + prelude + remove,
  send: whileThereIsRoom + prelude + send,
  settle: always + prelude + settle,
}
