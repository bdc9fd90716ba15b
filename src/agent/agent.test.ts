/** An agent with a control that is played: whose plan it takes, and what it says of it. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { systemClock as clock, systemRandom as random } from '../base/index.ts'
import { copyDriver } from '../domain/index.ts'
import { createHostDriver } from '../network/index.ts'
import { type Downward, type Upward, upwardSchema } from '../protocol/index.ts'
import { processDriver } from '../sandbox/index.ts'
import { memoryKeys, openBox } from '../secrets/index.ts'
import { type Channel, listenForPeers } from '../transport/index.ts'
import { type Agent, startAgent } from './agent.ts'
import { readPlan } from './plan-file.ts'

const waitMs = 10_000
const keys = memoryKeys()

/** Resolves when it holds; fails naming what did not happen. */
async function until(what: string, holds: () => boolean): Promise<void> {
  for (const endMs = clock.monotonicMs() + waitMs; !holds(); await new Promise((resolve) => setTimeout(resolve, 5)))
    if (clock.monotonicMs() > endMs) assert.fail(`${what}: not within ${waitMs} ms`)
}

interface PlayedControl extends AsyncDisposable {
  readonly channels: Channel<Downward>[]
  readonly heard: Upward[]
}

/** Control of an epoch, which tells every agent that it has nothing to do, under `revision`. */
async function playControl(path: string, epoch: number, revision: number): Promise<PlayedControl> {
  const channels: Channel<Downward>[] = []
  const heard: Upward[] = []
  const listening = { clock, schema: upwardSchema, keyOf: () => null }
  const peers = await listenForPeers<Downward, Upward>({ kind: 'unix', path }, listening, (channel) => {
    channels.push(channel)
    return (message) => {
      heard.push(message)
      if (message.type === 'status' && message.full)
        channel.send({ type: 'plan', plan: { epoch, revision, assignments: [] } })
    }
  })
  return { channels, heard, [Symbol.asyncDispose]: () => peers[Symbol.asyncDispose]() }
}

function start(dir: string, notices: string[]): Promise<Agent> {
  const none = (): Promise<never> => Promise.reject(new Error('there is nothing to run'))
  return startAgent(
    {
      name: 'n1',
      stateDir: join(dir, 'agent'),
      runDir: join(dir, 'run'),
      clock,
      random,
      sandbox: processDriver({ clock, groups: null }),
      unsandboxed: processDriver({ clock, groups: null }),
      network: createHostDriver('chosen by the test'),
      domain: copyDriver({ clock }),
      domainBytes: 1e9,
      providers: new Map(),
      openBundle: none,
      importBundle: none,
      program: none,
      advertise: null,
      keys,
      onNotice: (notice) => void notices.push(notice),
    },
    { kind: 'unix', path: join(dir, 'c') },
  )
}

suite('an agent and its control', () => {
  test('takes the plan of the newest epoch, keeps it on disk, and takes none of an older one, also after a restart', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'st-'))
    const path = join(dir, 'c')
    const notices: string[] = []
    const box = await openBox(keys, random)
    const kept = (): unknown => readPlan(join(dir, 'agent', 'plan.json'), box)
    try {
      {
        await using _agent = await start(dir, notices)
        await using control = await playControl(path, 5, 1)
        await until('the plan is in force', () => control.heard.some((message) => message.type === 'applied'))
        assert.deepEqual(kept(), { epoch: 5, revision: 1, assignments: [] })
      }
      await using _agent = await start(dir, notices)
      {
        await using older = await playControl(path, 4, 9)
        await until('it is refused', () => notices.some((notice) => notice.includes('epoch')))
        assert.match(notices.join('\n'), /epoch 5 and takes none of epoch 4/)
        await older.channels[0]?.closed
        assert.ok(!older.heard.some((message) => message.type === 'applied'))
        assert.deepEqual(kept(), { epoch: 5, revision: 1, assignments: [] })
      }
      await using newer = await playControl(path, 6, 1)
      await until('the newer one is taken', () => newer.heard.some((message) => message.type === 'applied'))
      assert.deepEqual(kept(), { epoch: 6, revision: 1, assignments: [] })
    } finally {
      rmSync(dir, { recursive: true, force: true })
    }
  })
})
