/**
 * State of a service's own, on its node: hooks in order around a copy, whatever fails or dies; restored before it is started
 * from; verified in a drill; never two programs on it.
 */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import type { InstanceAssignment, ResourceAssignment } from '../src/protocol/index.ts'
import { eventually } from './command-line.ts'
import { DataNode } from './data-node/data-node.ts'
import { first, later } from './data-node/exchanges.ts'
import { needsAll, needsFile, needsRoot } from './needs.ts'

const skip = needsAll(needsRoot(), needsFile('/usr/bin/python3', 'apt-get install python3'))
const timeout = 120_000

/** Every hook writes down that it ran, and of which generation the data was. */
const keeper = `
import os, sys, threading, time
path = os.path.join(os.environ['STEAD_STATE_DIR'], 'log')
def note(word):
    with open(path, 'a') as file:
        file.write(word + ' ' + os.environ['STEAD_GENERATION'] + '\\n')
word = '-'.join(sys.argv[1:])
if word == 'fail':
    sys.exit('the index is being rebuilt')
if word == 'hang':
    time.sleep(600)
if word == 'check':
    sys.exit('the log is damaged' if 'damage' in open(path).read() else 0)
note(word)
if word == 'serve':
    while True:
        time.sleep(1)
`
const command = (word: string): readonly string[] => ['python3', 'keeper.py', word]
const hooks = {
  quiesce: command('hold'),
  checkpoint: command('flush'),
  restore: command('reopen'),
  verify: command('check'),
}

/** The tests are one story, told to one node. */
suite('state on a node', { skip }, () => {
  let node: DataNode
  let bundle = ''
  before(async () => {
    node = await DataNode.start()
    bundle = await node.files({ 'keeper.py': keeper })
    node.plan(state(), instance('a'))
    await ready('a')
  })
  after(() => node[Symbol.asyncDispose]())

  function state(more: object = {}, place = first): ResourceAssignment {
    const config = { of: 'web', ...hooks, pauseMs: 20_000, timeoutMs: 20_000, ...more }
    // Files belong to the service.
    const { hostUid } = instance('a')
    return { ...node.database(place), id: 'shop.files', part: 'files', type: 'state', config, hostUid }
  }

  function instance(name: string, generation = 1, more: Partial<InstanceAssignment> = {}): InstanceAssignment {
    const own = node.worker(name, generation)
    const [edge] = own.edges
    assert.ok(edge !== undefined)
    const toState = { ...edge, as: 'state', part: 'files', type: 'state', port: 0, resource: 'shop.files' }
    return { ...own, bundle, run: command('serve'), edges: [toState], ...more }
  }

  function ready(name: string): Promise<unknown> {
    return node.until(`shop.web.${name}`, 'is ready', ({ phase }) => phase === 'ready')
  }

  function logIn(path: string): readonly string[] {
    return readFileSync(join(path, 'files', 'files', 'log'), 'utf8')
      .trim()
      .split('\n')
  }

  async function live(): Promise<readonly string[]> {
    const { copy } = await node.data({ do: 'clone', name: 'look', from: null })
    const lines = logIn(copy.path)
    await node.data({ do: 'delete', names: ['look'] })
    return lines
  }

  async function copies(): Promise<readonly string[]> {
    return (await node.data({ do: 'state' })).copies.map(({ name }) => name)
  }

  test('hooks run around a copy, in order, and a new directory needs no restoring', { timeout }, async () => {
    const { copy } = await node.data({ do: 'checkpoint', name: 'before' })
    assert.deepEqual(logIn(copy.path), ['serve 1', 'hold 1', 'flush 1'])
    assert.deepEqual(await live(), ['serve 1', 'hold 1', 'flush 1', 'hold-resume 1', 'hold 1', 'flush 1'])
  })

  test('a hook that fails or hangs fails the copy by name, and the service goes on', { timeout }, async () => {
    for (const [more, says] of [
      [{ checkpoint: command('fail') }, /web: its hook checkpoint ended with code 1: the index is being rebuilt/],
      [
        { quiesce: null, checkpoint: command('hang'), pauseMs: 500 },
        /web: its hook checkpoint did not end within \d+ ms/,
      ],
      [{ quiesce: command('fail') }, /web: its hook quiesce ended with code 1/],
    ] as const) {
      node.plan(state(more), instance('a'))
      await node.until('shop.files', 'is settled', ({ phase, settled }) => phase === 'ready' && settled === true)
      await assert.rejects(node.data({ do: 'checkpoint', name: 'never' }), says)
      assert.deepEqual(await copies(), ['before'])
    }
    node.plan(state(), instance('a'))
    await node.ready('shop.files', 1)
    assert.equal((await live()).filter((line) => line === 'hold-resume 1').length, 3)
  })

  test('a copy that took longer than the service stands still is none', { timeout }, async () => {
    node.plan(state({ pauseMs: 4000, checkpoint: null }), instance('a'))
    await node.ready('shop.files', 1)
    node.doom('slow', 'at-rest')
    await assert.rejects(node.data({ do: 'checkpoint', name: 'never' }), /files stands still for at most 4000 ms/)
    assert.deepEqual(await copies(), ['before'])
  })

  test('who has no hook to rest with is frozen while a copy takes time, and goes on', { timeout }, async () => {
    node.plan(state({ quiesce: null }), instance('a'))
    await node.ready('shop.files', 1)
    await node.data({ do: 'checkpoint', name: 'frozen' })
    // Frozen, it could run nothing.
    await node.data({ do: 'checkpoint', name: 'again' })
    await node.data({ do: 'delete', names: ['frozen', 'again'] })
    node.plan(state(), instance('a'))
    await node.ready('shop.files', 1)
  })

  test('an agent that dies while all rests leaves a service that is asked again', { timeout }, async () => {
    node.doom('agent', 'at-rest')
    const ended = assert.rejects(node.data({ do: 'checkpoint', name: 'cut' }))
    await node.died()
    node.forget()
    await ended
    await node.begin()
    await node.ready('shop.files', 1)
    await ready('a')
    const { copy } = await node.data({ do: 'checkpoint', name: 'cut' })
    assert.equal(logIn(copy.path).filter((line) => line.startsWith('serve')).length, 1, 'it was never restarted')
    await node.data({ do: 'delete', names: ['cut'] })
  })

  test('a drill restores and verifies a copy, and finds what is damaged', { timeout }, async () => {
    const { checks } = await node.data({ do: 'verify', copy: 'before', probes: {} })
    assert.deepEqual(checks, ['files: web found it whole'])
    const { copy } = await node.data({ do: 'clone', name: 'damaged', from: 'before' })
    writeFileSync(join(copy.path, 'files', 'files', 'log'), 'damage\n')
    await assert.rejects(
      node.data({ do: 'verify', copy: 'damaged', probes: {} }),
      /its hook verify .*the log is damaged/,
    )
    await assert.rejects(
      node.data({ do: 'verify', copy: 'before', probes: { files: 'select 1' } }),
      /takes no question/,
    )
    const { changes } = await node.data({ do: 'compare', before: 'before', after: 'damaged' })
    const counted = { added: 0, removed: 0, changed: 1 }
    assert.deepEqual(changes, [{ part: 'files', name: 'files', ...counted, replayable: false }])
    await node.data({ do: 'delete', names: ['damaged'] })
  })

  test('never two programs on the same state', { timeout }, async () => {
    node.plan(state(), instance('a'), instance('b'))
    const waits = await node.until('shop.web.b', 'waits', ({ reason }) => reason !== null)
    assert.match(waits.reason ?? '', /waits until shop\.web\.a has ended, which has files/)
    node.plan(state(), instance('a', 1, { wanted: false }), instance('b'))
    await ready('b')
  })

  test('it goes back with the data, and is restored once before it is started from', { timeout }, async () => {
    await node.data({ do: 'clone', name: 'back-2', from: 'before' })
    node.plan(state({}, later(2)), instance('b', 1, { wanted: false }), instance('c', 2))
    await node.ready('shop.files', 2)
    await ready('c')
    node.plan(state({}, later(2)), instance('c', 2, { wanted: false }), instance('d', 2))
    await ready('d')
    // A look holds and flushes, which is written down between them.
    const look = async (): Promise<readonly string[]> =>
      (await live()).filter((line) => ['reopen 2', 'serve 2'].includes(line))
    const lines = await eventually('both have started', look, (seen) => seen.length === 3)
    assert.deepEqual(lines, ['reopen 2', 'serve 2', 'serve 2'])
    const left = (await node.data({ do: 'state' })).copies.find(({ name }) => name === 'left-2')
    assert.ok(logIn(left?.path ?? '').length > 10, 'what was left behind is kept')
  })
})
