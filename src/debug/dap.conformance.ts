/** What every recipe that speaks the Debug Adapter Protocol must do, driven by a client as editors are one. */
import assert from 'node:assert/strict'
import { duplexPair } from 'node:stream'
import { type Bench, type Case, placeOf, type Started, ticksOn, until } from './bench.conformance.ts'
import { DapClient, listIn } from './dap-client.conformance.ts'
import type { Attachment } from './recipe.ts'

/** A client that has shaken hands, and the session on the other side. */
async function connected(attached: Attachment): Promise<{ client: DapClient; session: Promise<boolean> }> {
  const [ours, theirs] = duplexPair()
  const session = attached.serveDap(theirs)
  session.catch(() => undefined)
  const client = new DapClient(ours)
  await client.ask('initialize', { adapterID: 'stead', linesStartAt1: true, columnsStartAt1: true })
  await client.ask('attach', {})
  await client.event('initialized')
  return { client, session }
}

/** The path of the ticking program as a client knows it: another directory, the same end. */
function sourceOf(bench: Bench): { readonly path: string } {
  return { path: `/home/somebody/project/app/${bench.setup.probeFile}` }
}

async function stopAtProbe(bench: Bench, client: DapClient): Promise<number> {
  const { line } = placeOf(bench)
  const set = await client.ask('setBreakpoints', { source: sourceOf(bench), breakpoints: [{ line }] })
  assert.deepEqual(
    listIn(set, 'breakpoints').map(({ verified, line: at }) => [verified, at]),
    [[true, line]],
  )
  await client.ask('configurationDone')
  const stopped = await client.event('stopped')
  assert.equal(stopped['reason'], 'breakpoint')
  return Number(stopped['threadId'])
}

/** The program stands still: nothing is printed for a while in which it would print a lot. */
async function standsStill(program: Started): Promise<void> {
  const count = async (): Promise<number> => (await program.lines()).length
  let before = -1
  await until(async () => {
    const now = await count()
    const same = now === before
    before = now
    await new Promise((resolve) => setTimeout(resolve, 200))
    return same && (await count()) === now
  }, 'the program to stand still')
}

export const dapCases: readonly Case[] = [
  [
    'drives breakpoint, locals, evaluation, step, continue and detach',
    'dap',
    async (bench) => {
      const program = await bench.start('ticking')
      await using attached = await bench.attach(program.pid)
      const { client, session } = await connected(attached)
      const threadId = await stopAtProbe(bench, client)
      await standsStill(program)

      const threads = listIn(await client.ask('threads'), 'threads')
      assert.ok(threads.some(({ id }) => id === threadId))
      const frames = listIn(await client.ask('stackTrace', { threadId, startFrame: 0, levels: 20 }), 'stackFrames')
      const [top] = frames
      assert.match(String(top?.['name']), /tick/)
      assert.equal(top?.['line'], placeOf(bench).line)
      assert.deepEqual({ ...Object(top?.['source']) }['path'], sourceOf(bench).path, JSON.stringify(top))

      const frameId = Number(top?.['id'])
      const scopes = listIn(await client.ask('scopes', { frameId }), 'scopes')
      const inside = await client.ask('variables', { variablesReference: scopes[0]?.['variablesReference'] })
      const variables = listIn(inside, 'variables')
      const valueOf = (name: string): unknown => variables.find((variable) => variable['name'] === name)?.['value']
      assert.match(String(valueOf('count')), /^\d+$/)
      assert.equal(valueOf('password'), '[redacted]')

      const evaluated = await client.ask('evaluate', { expression: 'count + 1000', frameId, context: 'repl' })
      assert.equal(Number(evaluated['result']), Number(valueOf('count')) + 1000)
      const wrong = await client.answer('evaluate', { expression: 'neverDeclared', frameId, context: 'repl' })
      assert.equal(wrong['success'], false)
      assert.match(String(wrong['message']), /neverDeclared/)

      await client.ask('next', { threadId })
      assert.equal((await client.event('stopped'))['reason'], 'step')
      await client.ask('continue', { threadId })
      await client.event('stopped', ({ reason }) => reason === 'breakpoint')
      await client.ask('disconnect', {})
      assert.equal(await session, true)
      await ticksOn(program)
    },
  ],
  [
    'stops only where a condition holds',
    'dap',
    async (bench) => {
      const program = await bench.start('ticking')
      await using attached = await bench.attach(program.pid)
      const { client } = await connected(attached)
      const breakpoints = [{ line: placeOf(bench).line, condition: 'count % 10 == 0' }]
      await client.ask('setBreakpoints', { source: sourceOf(bench), breakpoints })
      await client.ask('configurationDone')
      const threadId = Number((await client.event('stopped'))['threadId'])
      const [top] = listIn(await client.ask('stackTrace', { threadId }), 'stackFrames')
      const { result } = await client.ask('evaluate', { expression: 'count', frameId: top?.['id'], context: 'watch' })
      assert.equal(Number(result) % 10, 0)
      await client.ask('setBreakpoints', { source: sourceOf(bench), breakpoints: [] })
      await client.ask('continue', { threadId })
      await ticksOn(program)
      client.vanish()
    },
  ],
  [
    'logs without a stop',
    'dap',
    async (bench) => {
      const program = await bench.start('ticking')
      await using attached = await bench.attach(program.pid)
      const { client } = await connected(attached)
      const breakpoints = [{ line: placeOf(bench).line, logMessage: 'count is {count}, twice {count * 2}' }]
      await client.ask('setBreakpoints', { source: sourceOf(bench), breakpoints })
      await client.ask('configurationDone')
      const { output } = await client.event('output', (body) => String(body['output']).includes('count is'))
      const [, count, twice] = /count is (\d+), twice (\d+)\n$/.exec(String(output)) ?? []
      assert.equal(Number(twice), 2 * Number(count), String(output))
      await ticksOn(program)
      await client.ask('disconnect', {})
    },
  ],
  [
    'stops a program that hangs',
    'dap',
    async (bench) => {
      const program = await bench.start('hanging')
      await using attached = await bench.attach(program.pid)
      const { client } = await connected(attached)
      await client.ask('configurationDone')
      const [first] = listIn(await client.ask('threads'), 'threads')
      let names: readonly string[] = []
      // It may be caught in the handler of a signal, as Go's scheduler sends them.
      for (let tries = 0; tries < 10 && !names.some((name) => name.includes('spin')); tries++) {
        if (tries > 0) await client.ask('continue', { threadId: first?.['id'] ?? 1 })
        await client.ask('pause', { threadId: first?.['id'] ?? 1 })
        const threadId = Number((await client.event('stopped'))['threadId'])
        const frames = listIn(await client.ask('stackTrace', { threadId }), 'stackFrames')
        names = frames.map(({ name }) => String(name))
      }
      assert.ok(
        names.some((name) => name.includes('spin')),
        names.join(', '),
      )
      await client.ask('disconnect', {})
    },
  ],
  [
    'lets the program run on when the client vanishes at a breakpoint',
    'dap',
    async (bench) => {
      const program = await bench.start('ticking')
      await using attached = await bench.attach(program.pid)
      const { client, session } = await connected(attached)
      await stopAtProbe(bench, client)
      await standsStill(program)
      client.vanish()
      assert.equal(await session, false)
      await ticksOn(program)
      // Nobody's breakpoint is left for the next.
      const next = await connected(attached)
      await next.client.ask('configurationDone')
      await ticksOn(program)
      await next.client.ask('disconnect', {})
    },
  ],
  [
    'answers what it does not know, and breakpoints nowhere, with a sentence',
    'dap',
    async (bench) => {
      const program = await bench.start('ticking')
      await using attached = await bench.attach(program.pid)
      const { client } = await connected(attached)
      assert.equal((await client.answer('noSuchRequest'))['success'], false)
      assert.equal((await client.answer('launch', {}))['success'], false)
      const source = { path: '/nowhere/never-loaded.xyz' }
      const set = await client.ask('setBreakpoints', { source, breakpoints: [{ line: 3 }] })
      const [shown] = listIn(set, 'breakpoints')
      assert.equal(shown?.['verified'], false)
      assert.match(String(shown?.['message']), /never-loaded\.xyz/)
      await client.ask('disconnect', {})
      await ticksOn(program)
    },
  ],
]
