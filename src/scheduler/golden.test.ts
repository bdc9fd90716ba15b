/**
 * Scenarios that a person can read, in golden/*.txt: events, and below each what follows from it. `options` starts a
 * scheduler, `why` asks for an explanation, `promise` for a promised start. UPDATE_GOLDEN=1 writes what follows now.
 */
import assert from 'node:assert/strict'
import { globSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { isSteadError } from '../base/index.ts'
import { Scheduler, type Decision, type Event, type SchedulerOptions } from './index.ts'

const folder = join(import.meta.dirname, 'golden')

function shown(decision: Decision): string {
  switch (decision.kind) {
    case 'place': {
      const gpus = decision.gpus === undefined ? '' : `, GPUs ${decision.gpus.join(' ')}`
      return `place ${decision.task} on ${decision.node}${gpus}${decision.core === undefined ? '' : `, core ${decision.core}`}`
    }
    case 'stop':
      return `stop ${decision.task} on ${decision.node}: ${decision.reason}${decision.for === undefined ? '' : ` for ${decision.for}`}`
    case 'give-up':
      return `give up ${decision.job}: ${decision.because}`
  }
}

function answer(scheduler: Scheduler, line: string): string[] {
  const word = line.slice(0, line.indexOf(' '))
  const rest = line.slice(line.indexOf(' ') + 1)
  if (word === 'why') {
    const { sentence, nearest, remedies } = scheduler.explain(rest)
    return [
      sentence,
      ...nearest.map(({ node, because }) => `near: ${node} ${because}`),
      ...remedies.map((one) => `or: ${one}`),
    ]
  }
  if (word === 'promise') return [`starts at ${scheduler.promisedMs(rest) ?? 'no known time'}`]
  const match = /^at (\d+) ([a-z-]+)(.*)$/.exec(line)
  assert.ok(match, `no event: ${line}`)
  const event = { atMs: Number(match[1]), kind: match[2], ...(JSON.parse(match[3]?.trim() || '{}') as object) } as Event
  try {
    return scheduler.apply(event).map(shown)
  } catch (error) {
    if (!isSteadError(error)) throw error
    return [`${error.code}: ${error.message}`]
  }
}

for (const file of globSync('*.txt', { cwd: folder }).sort())
  test(`scenario ${file}`, () => {
    const path = join(folder, file)
    const text = readFileSync(path, 'utf8')
    let scheduler = new Scheduler()
    const lines = text
      .split('\n')
      .filter((line) => !line.startsWith('  '))
      .flatMap((line) => {
        if (line === '' || line.startsWith('#')) return [line]
        if (line.startsWith('options ')) {
          scheduler = new Scheduler(JSON.parse(line.slice(8)) as SchedulerOptions)
          return [line]
        }
        return [line, ...answer(scheduler, line).map((one) => `  ${one}`)]
      })
    if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(path, lines.join('\n'))
    else assert.equal(lines.join('\n'), text)
  })
