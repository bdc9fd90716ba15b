/**
 * A program that looks at files of queues which nobody serves: copies. `diff BEFORE AFTER` counts what differs, `verify FILE`
 * reads all of it. Answers one line of JSON; says in one line what is wrong, and ends with code 1.
 *
 * A message is the same in two files when its number, generation and id are. One that was put back from the dead letters has
 * a new number: it is found again by its id and the time it was sent, and counts as changed.
 */
import { DatabaseSync } from 'node:sqlite'
import { integer, text } from './rows.ts'
import { openLedgerFile } from './file.ts'

/** Queues in one answer. */
const queuesMax = 200

interface Difference {
  readonly name: string
  added: number
  removed: number
  changed: number
}

/** How often each message of `side` is not in `other` under its number, by queue. */
function missing(db: DatabaseSync, side: string, other: string): Map<string, Map<string, number>> {
  const rows = db
    .prepare(
      `SELECT q.name, m.generation, m.id, m.sent_at_ms FROM ${side}.messages m
       JOIN ${side}.standing s ON s.seq = m.seq JOIN ${side}.queues q ON q.id = s.queue
       LEFT JOIN ${other}.messages o ON o.seq = m.seq AND o.generation = m.generation AND o.id = m.id
       WHERE o.seq IS NULL`,
    )
    .iterate()
  const found = new Map<string, Map<string, number>>()
  for (const row of rows) {
    const name = text(row['name'])
    const key = `${integer(row['generation'])} ${integer(row['sent_at_ms'])} ${text(row['id'])}`
    const counts = found.get(name) ?? new Map<string, number>()
    found.set(name, counts)
    counts.set(key, (counts.get(key) ?? 0) + 1)
  }
  return found
}

function diff(before: string, after: string): { readonly items: readonly Difference[] } {
  // Opening brings in what is in the log beside a file, and refuses one that is damaged or not of queues.
  for (const path of [before, after]) openLedgerFile(path, null).db.close()
  using db = new DatabaseSync(':memory:')
  db.prepare('ATTACH ? AS b').run(before)
  db.prepare('ATTACH ? AS a').run(after)
  const items = new Map<string, Difference>()
  const itemOf = (name: string): Difference => {
    const item = items.get(name) ?? { name, added: 0, removed: 0, changed: 0 }
    items.set(name, item)
    return item
  }
  const removed = missing(db, 'b', 'a')
  for (const [name, counts] of missing(db, 'a', 'b')) {
    const gone = removed.get(name)
    for (const [key, count] of counts) {
      const before = gone?.get(key) ?? 0
      const same = Math.min(before, count)
      gone?.set(key, before - same)
      itemOf(name).added += count - same
      itemOf(name).changed += same
    }
  }
  for (const [name, counts] of removed) for (const count of counts.values()) itemOf(name).removed += count
  const changed = db.prepare(
    `SELECT q.name, count(*) AS n FROM b.standing s JOIN a.standing t ON t.seq = s.seq
     JOIN b.messages m ON m.seq = s.seq JOIN a.messages o ON o.seq = t.seq AND o.generation = m.generation AND o.id = m.id
     JOIN a.queues q ON q.id = t.queue WHERE (s.state = 3) <> (t.state = 3) GROUP BY 1`,
  )
  for (const row of changed.iterate()) itemOf(text(row['name'])).changed += integer(row['n'])
  const differing = [...items.values()].filter((item) => item.added + item.removed + item.changed > 0)
  return { items: differing.slice(0, queuesMax) }
}

function verify(path: string): { readonly checks: readonly string[] } {
  const { db } = openLedgerFile(path, null)
  const problem = db.prepare('PRAGMA integrity_check(1)').get()?.['integrity_check']
  if (problem !== 'ok') throw new Error(String(problem))
  const strays = db.prepare('SELECT count(*) AS n FROM messages WHERE seq NOT IN (SELECT seq FROM standing)').get()
  if (integer(strays?.['n']) !== 0) throw new Error(`${integer(strays?.['n'])} messages stand in no queue`)
  const queues = db
    .prepare(
      `SELECT q.name, count(s.seq) AS n, coalesce(sum(s.state = 3), 0) AS dead
       FROM queues q LEFT JOIN standing s ON s.queue = q.id GROUP BY 1 ORDER BY 1 LIMIT ${queuesMax}`,
    )
    .all()
  const said = queues.map(
    (row) => `queue ${text(row['name'])}: ${integer(row['n'])} messages, ${integer(row['dead'])} of them dead`,
  )
  db.close()
  return { checks: ['every page of the file was read, and its tables and indexes agree', ...said] }
}

const [action, first = '', second = ''] = process.argv.slice(2)
try {
  console.log(JSON.stringify(action === 'diff' ? diff(first, second) : verify(first)))
} catch (error) {
  console.error(error instanceof Error ? error.message.split('\n')[0] : error)
  process.exitCode = 1
}
