/** The managed HAProxy when things go wrong with it: killed, or its owner gone. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { ask, backend, dial, route, until } from '../../../test/gateway-rig.ts'
import { needsFile } from '../../../test/needs.ts'
import { HaproxyGateway, haproxyProgram } from './engine.ts'

const skip = needsFile(haproxyProgram, 'node scripts/setup.mjs --servers')

/** Processes of HAProxy that were started for a directory. */
function processesOf(directory: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
        return line.includes('haproxy') && line.includes(`${directory}/`)
      } catch {
        return false
      }
    })
    .map(Number)
}

test('killed, it is started again with the table in force', { skip }, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'stead-ha-'))
  t.after(() => rmSync(directory, { recursive: true, force: true }))
  const web = await backend(t, (_request, response) => response.end('ok'))
  const notices: string[] = []
  const limits = { closeMs: 100 }
  const gateway = new HaproxyGateway({ connect: dial, directory, limits, onNotice: (text) => notices.push(text) })
  t.after(() => gateway.close())
  const { port } = await gateway.listen(0)
  await gateway.apply({ revision: 1, routes: [route([web.target('web-1')])] })
  assert.equal((await ask(port)).body, 'ok')
  for (const pid of processesOf(directory)) process.kill(pid, 'SIGKILL')
  await until('it is said', () => notices.some((text) => text.startsWith('HAProxy has ended')))
  let body = ''
  await until('it serves again', () => {
    ask(port).then(
      (answer) => (body = answer.body),
      () => undefined,
    )
    return body === 'ok'
  })
  await gateway.close()
  assert.deepEqual(processesOf(directory), [])
})

test('when its owner is killed it ends too', { skip }, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'stead-ha-'))
  t.after(() => rmSync(directory, { recursive: true, force: true }))
  const file = join(import.meta.dirname, 'engine.ts')
  const script = `const { HaproxyGateway } = await import(${JSON.stringify(file)})
const gateway = new HaproxyGateway({ connect: () => { throw new Error() }, directory: ${JSON.stringify(directory)} })
await gateway.listen(0)
console.log('up')`
  const owner = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(() => owner.kill('SIGKILL'))
  await once(owner.stdout, 'data')
  assert.ok(processesOf(directory).length > 0)
  owner.kill('SIGKILL')
  await until('it has ended', () => processesOf(directory).length === 0)
})
