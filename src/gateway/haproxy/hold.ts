/**
 * Requests that wait in HAProxy while their route has no instances, by a few lines of Lua: HAProxy itself queues for instances
 * that are busy, and answers 503 where there are none. Invariants: a route holds at most `heldMax`; each waits at most as
 * long as the route says, which is looked up when it comes; nothing is asked again that was sent.
 */

/** How often one that waits looks whether there are instances; where many wait each looks more seldom. */
const lookMs = 20
const lookMoreMsEach = 0.1

/** Variable of a request with the time it may wait, in milliseconds; not there: it does not wait. */
const variable = 'txn.hold'

/**
 * The script that a configuration loads. What waits is noted with the end of its time, because a client that leaves takes its
 * request away without a word: such a note counts until then.
 */
export const holdScript: string = `local waiting = {}

local function now_ms()
  local now = core.now()
  return now.sec * 1000 + math.floor(now.usec / 1000)
end

core.register_action('hold', { 'http-req' }, function(txn, route, most)
  local ends = now_ms() + (tonumber(txn:get_var('${variable}')) or 0)
  local notes = waiting[route] or {}
  waiting[route] = notes
  local count = 0
  for note, at in pairs(notes) do
    if at <= now_ms() then notes[note] = nil else count = count + 1 end
  end
  if count >= tonumber(most) then return end
  local note = {}
  local pause = math.floor(${lookMs} + ${lookMoreMsEach} * count)
  notes[note] = ends
  while txn.f:nbsrv() == 0 and now_ms() < ends do core.msleep(pause) end
  notes[note] = nil
end, 2)
`

/** The lines of a backend: where it has no instances and the map knows a time for its name, what comes waits. */
export function holdLines(backend: string, mapPath: string, heldMax: number): string[] {
  return [
    `  http-request set-var(${variable}) str(${backend}),map_str(${mapPath}) if { nbsrv eq 0 }`,
    `  http-request lua.hold ${backend} ${heldMax} if { var(${variable}) -m found }`,
  ]
}
