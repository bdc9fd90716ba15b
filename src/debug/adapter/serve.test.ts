/** What the proxy between an editor and an adapter lets pass, with an adapter that is played here. */
import assert from 'node:assert/strict'
import { duplexPair } from 'node:stream'
import { test } from 'node:test'
import { systemClock } from '../../base/index.ts'
import { DapClient } from '../dap-client.conformance.ts'
import { DapPeer } from '../dap/peer.ts'
import { readProcess } from '../drivers/proc.ts'
import { serveAdapter } from './serve.ts'

/** An adapter that notes what it is asked, and a client of the proxy before it. */
async function proxied(): Promise<{
  readonly asked: readonly { readonly command: string; readonly args: Readonly<Record<string, unknown>> }[]
  readonly client: DapClient
  readonly session: Promise<boolean>
}> {
  const asked: { command: string; args: Readonly<Record<string, unknown>> }[] = []
  const [near, far] = duplexPair()
  const adapter = new DapPeer(far, (text) => text)
  const answers: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
    initialize: { supportsLogPoints: true, supportsTerminateRequest: true, supportsReadMemoryRequest: true },
    variables: { variables: [{ name: 'password', value: 'xyz', variablesReference: 7 }] },
    evaluate: { result: `{'token': 'xyz', 'n': 1}` },
  }
  const names = ['initialize', 'attach', 'configurationDone', 'variables', 'evaluate', 'disconnect', 'terminate']
  const handlers = names.map((command) => {
    const handler = async (args: Readonly<Record<string, unknown>>): Promise<Readonly<Record<string, unknown>>> => {
      asked.push({ command, args })
      if (command === 'attach') setImmediate(() => adapter.event('initialized'))
      return answers[command] ?? {}
    }
    return [command, handler] as const
  })
  void adapter.serve(Object.fromEntries(handlers))
  const [ours, theirs] = duplexPair()
  const session = serveAdapter(theirs, {
    clock: systemClock,
    facts: readProcess(process.pid),
    isAlive: () => true,
    hide: (text) => text,
    open: async () => ({
      streams: { from: near, to: near },
      attach: { pid: 1 },
      stopsFirst: false,
      pausesLast: false,
      files: async () => [],
      guard(expression) {
        if (expression.includes('$_shell')) throw new Error('is no expression')
        return expression
      },
      end: () => Promise.resolve(),
    }),
  })
  const client = new DapClient(ours)
  await client.ask('initialize', { adapterID: 'test' })
  await client.ask('attach', { program: '/bin/sh', initCommands: ['platform shell id'], pid: 99 })
  await client.event('initialized')
  return { asked, client, session }
}

test('nothing passes that starts a program, ends the process or runs a command', async () => {
  const { asked, client, session } = await proxied()
  for (const command of ['launch', 'terminate', 'restart', 'runInTerminal', 'readMemory', 'startDebugging']) {
    assert.equal((await client.answer(command, {}))['success'], false, command)
  }
  await client.ask('evaluate', { expression: 'count', context: 'repl' })
  const wrong = await client.answer('evaluate', { expression: '$_shell("id")', context: 'watch' })
  assert.equal(wrong['success'], false)
  await client.ask('disconnect', { terminateDebuggee: true })
  assert.equal(await session, true)
  const told = new Map(asked.map(({ command, args }) => [command, args]))
  assert.deepEqual(told.get('attach'), { pid: 1 })
  assert.equal(told.get('evaluate')?.['context'], 'watch')
  assert.equal(told.get('disconnect')?.['terminateDebuggee'], false)
  assert.equal(told.has('terminate'), false)
})

test('values under names that look like secrets do not pass', async () => {
  const { client } = await proxied()
  const { variables } = await client.ask('variables', { variablesReference: 1 })
  assert.deepEqual(variables, [{ name: 'password', value: '[redacted]', variablesReference: 0 }])
  assert.equal((await client.ask('evaluate', { expression: 'x' }))['result'], `{'token': [redacted], 'n': 1}`)
  await client.ask('disconnect')
})

test('a client that vanishes lets go of the process', async () => {
  const { asked, client, session } = await proxied()
  client.vanish()
  assert.equal(await session, false)
  assert.ok(asked.some(({ command }) => command === 'disconnect'))
})
