/** The ledger from another language: the Python of the howto, beside the library on one table, in both databases. */
import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { promisify } from 'node:util'
import { makeTestPostgres } from '../database/conformance.ts'
import { createTable, look, run, sweep } from './index.ts'
import { openConnection } from './place.conformance.ts'
import type { Opening } from './place.conformance.ts'

const pythonWith = (module: string): string | undefined =>
  ['python3', '/usr/bin/python3'].find((python) => {
    try {
      execFileSync(python, ['-c', `import ${module}`], { stdio: 'ignore' })
      return true
    } catch {
      return false
    }
  })
const plain = pythonWith('sqlite3')
const withPsycopg = pythonWith('psycopg')

/** Plans three effects with their orders; sends one, loses the answer of one, dies before the third. */
const story = `
import os, sys
from ledger import Ledger
flavour, address = sys.argv[1], sys.argv[2]
if flavour == "postgres":
    import psycopg
    connection = psycopg.connect(address)
else:
    import sqlite3
    connection = sqlite3.connect(address)
ledger = Ledger(connection, flavour)
cursor = connection.cursor()
for number in (1, 2, 3):
    cursor.execute(f"insert into orders values ({number})")
    ledger.plan(f"order-{number}", "mail", f"confirmation of order {number}", {"order": number, "to": "ü"})
connection.commit()
cursor.execute("insert into orders values (4)")
ledger.plan("order-4", "mail", "never", {})
connection.rollback()
assert ledger.run("order-1", lambda key, payload: {"receipt": key}) == "sent"
assert ledger.run("order-1", lambda key, payload: 1 / 0) == "sent"
try:
    ledger.run("order-2", lambda key, payload: 1 / 0)
except ZeroDivisionError:
    pass
def dies(key, payload):
    print("dies", flush=True)
    os.kill(os.getpid(), 9)
ledger.run("order-3", dies)
`

async function check(python: string, opening: Opening, flavour: string, address: string, directory: string) {
  await using connection = await openConnection(opening)
  const { db, table } = connection
  await createTable(db)
  await connection.sql('create table orders (id integer primary key)')
  const howto = await readFile(join(import.meta.dirname, '../../docs/howto/send-mail-and-go-back.md'), 'utf8')
  await writeFile(join(directory, 'ledger.py'), /```python\n([\s\S]*?)```/.exec(howto)?.[1] ?? '')
  await writeFile(join(directory, 'story.py'), story)
  const died = promisify(execFile)(python, [join(directory, 'story.py'), flavour, address])
  await assert.rejects(died, { signal: 'SIGKILL', stdout: 'dies\n' })
  const states = await Promise.all(['order-1', 'order-2', 'order-3', 'order-4'].map((key) => look(db, key)))
  assert.deepEqual(
    states.map((effect) => effect && [effect.state, effect.attempts, effect.sendingAtMs === null]),
    [['sent', 1, true], ['sending', 1, true], ['sending', 1, false], null],
  )
  assert.deepEqual(states[0]?.result, { receipt: 'order-1' })
  assert.deepEqual(states[1]?.payload, { order: 2, to: 'ü' })
  // What one program has left, another brings to its end; the dead one is left alone until it counts as dead.
  const send = async ({ key }: { readonly key: string }): Promise<string> => key
  const report = await sweep(db, { mail: { send, possiblySent: 'send-again' } })
  assert.deepEqual(report, { sent: ['order-2'], left: [{ key: 'order-3', because: 'under-way' }], more: false })
  assert.equal((await run(db, 'order-3', send, { staleMs: 0 })).state, 'sent')
  assert.equal((await connection.sql(`select key from ${table} where state = 'sent'`)).length, 3)
}

suite('the ledger from Python', () => {
  test('in SQLite', { skip: plain === undefined ? 'needs python3 with sqlite3' : false }, async () => {
    const directory = await mkdtemp(join(tmpdir(), 'stead-python-'))
    try {
      const path = join(directory, 'app.db')
      await check(plain ?? '', { kind: 'sqlite', path }, 'sqlite', path, directory)
    } finally {
      await rm(directory, { recursive: true })
    }
  })

  const skip = withPsycopg === undefined ? 'needs psycopg: apt-get install python3-psycopg' : false
  test('in PostgreSQL', { skip }, async () => {
    await using postgres = await makeTestPostgres({ ownsSchema: true })
    await postgres.resource.start()
    const { socketDir, port, adminPassword } = postgres.server
    const config = { host: socketDir, port, user: 'stead_admin', password: adminPassword, database: 'postgres' }
    const address = `host=${socketDir} port=${port} user=stead_admin password=${adminPassword} dbname=postgres`
    const directory = await mkdtemp(join(tmpdir(), 'stead-python-'))
    try {
      await check(withPsycopg ?? '', { kind: 'postgres', config }, 'postgres', address, directory)
    } finally {
      await rm(directory, { recursive: true })
    }
  })
})
