/**
 * What a consumer holds of memory while it works through a large backlog: a million messages of 256 bytes in the embedded queues, a
 * hundred thousand on servers; by itself in a process, one after another and in batches. The process runs JavaScript, as users of the
 * package do: Node's stripping of types would be resident, too, and take 60 to 130 MB. Prints the most that was resident; decides
 * nothing. Names of drivers as arguments choose, embedded by default.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { json } from '../src/queue/index.ts'
import { beanstalkd, Broker, kafka, nats, needsBroker, rabbitmq4, valkeyEverysec } from '../test/brokers.ts'
import type { BrokerKind } from '../test/brokers.ts'
import { needsPostgres, PostgresServer } from '../test/postgres-server.ts'
import { openAt } from './bench-queue-consumer.ts'
import { body } from './bench-queue-measure.ts'

const root = join(import.meta.dirname, '..')
const brokers: Readonly<Record<string, BrokerKind>> = {
  valkey: valkeyEverysec,
  kafka,
  amqp: rabbitmq4,
  nats,
  beanstalkd,
}

/** Writes the library and its consumer as JavaScript below `folder`; answers the file to run. */
function compiled(folder: string): string {
  const files = globSync(['src/{base,model,provider,queue}/**/*.{ts,json}', 'scripts/bench-queue-consumer.ts'], {
    cwd: root,
  })
  for (const file of files.filter((name) => !name.endsWith('.test.ts'))) {
    const source = readFileSync(join(root, file), 'utf8')
    const target = join(folder, file.replace(/\.ts$/, '.js'))
    mkdirSync(dirname(target), { recursive: true })
    writeFileSync(
      target,
      file.endsWith('.ts')
        ? stripTypeScriptTypes(source).replaceAll(/((?:from |import\()'\.[^']*)\.ts'/g, "$1.js'")
        : source,
    )
  }
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
  return join(folder, 'scripts/bench-queue-consumer.js')
}

async function measured(consumer: string, name: string, at: string, count: number): Promise<void> {
  for (const batch of [1, 100, 1000]) {
    {
      await using queues = await openAt(name, at)
      const queue = await queues.declare('bench', json)
      const items = Array.from({ length: 1000 }, () => ({ value: body }))
      for (let sent = 0; sent < count; sent += items.length) await queue.sendMany(items)
    }
    const args = ['--disable-warning=ExperimentalWarning', consumer, name, at, String(count), String(batch)]
    await once(spawn(process.execPath, args, { stdio: 'inherit' }), 'exit')
  }
}

const folder = mkdtempSync(join(tmpdir(), 'stead-bench-queue-'))
try {
  const consumer = compiled(folder)
  const wanted = process.argv.slice(2)
  for (const name of wanted.length === 0 ? ['embedded'] : wanted) {
    const kind = brokers[name]
    if (name === 'embedded') await measured(consumer, name, join(folder, 'queues.db'), 1_000_000)
    else if (name === 'postgres' && needsPostgres() === false) {
      await using server = await PostgresServer.start()
      await measured(consumer, name, server.url, 100_000)
    } else if (kind !== undefined && needsBroker(kind) === false) {
      await using broker = await Broker.start(kind)
      await measured(consumer, name, String(broker.port), 100_000)
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
