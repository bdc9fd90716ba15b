/** People on a real daemon, by the real command line: roles, tokens, what is recorded, and a record that somebody edited. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import type { Result } from './command-line.ts'
import { DaemonBench } from './daemon-bench.ts'
import { appFile, server, web } from './small-app.ts'

suite('access to a daemon', () => {
  let daemon: DaemonBench
  before(async () => {
    daemon = await DaemonBench.start()
    daemon.bench.write({ 'app.ts': appFile(web()), 'web/server.js': server })
    await daemon.deploy('small')
  })
  after(() => daemon[Symbol.asyncDispose]())

  /** Runs a command as whoever holds the token. */
  const as = (token: string, ...args: readonly string[]): Promise<Result> =>
    daemon.bench.as({ STEAD_TOKEN: token }, ...args)

  /** Adds a person; answers a token. */
  async function person(name: string, ...options: readonly string[]): Promise<string> {
    const added = await daemon.bench.stead('access', 'add', name, ...options)
    assert.equal(added.code, 0, added.stderr)
    const issued = await daemon.bench.stead('access', 'token', name)
    assert.equal(issued.code, 0, issued.stderr)
    return issued.stdout.trim()
  }

  function refused({ code, stderr }: Result, says: RegExp): void {
    assert.equal(code, 1, stderr)
    assert.match(stderr, says)
    assert.ok(!stderr.includes('    at '), stderr)
  }

  test('a developer deploys and reads logs, and may not stop or add people', async () => {
    const token = await person('dev', '--role', 'developer', '--app', 'small')
    daemon.bench.write({ 'web/server.js': `${server} // by dev` })
    const deployed = await as(token, 'deploy', '.')
    assert.equal(deployed.code, 0, deployed.stderr)
    assert.equal((await as(token, 'logs', 'web', 'small')).code, 0)
    refused(await as(token, 'down', 'small'), /dev may not do this: it needs the right operate on small/)
    refused(await as(token, 'access', 'list'), /it needs the right admin on the platform itself/)
  })

  test('a viewer sees what runs, and nothing more', async () => {
    const token = await person('vic', '--role', 'viewer')
    const seen = await as(token, 'status', 'small', '--json')
    assert.equal((JSON.parse(seen.stdout) as { app: string }).app, 'small')
    refused(await as(token, 'deploy', '.'), /vic may not do this: it needs the right deploy on small/)
    refused(await as(token, 'logs', 'web', 'small'), /it needs the right logs on small/)
  })

  test('tokens that are wrong or over say so, and are shown once', async () => {
    refused(await as('stead_nonsense', 'status', 'small'), /this token is not known here/)
    const brief = await daemon.bench.stead('access', 'add', 'tim', '--role', 'viewer', '--expires', '1ms')
    assert.equal(brief.code, 0, brief.stderr)
    const { stdout: token } = await daemon.bench.stead('access', 'token', 'tim')
    refused(await as(token.trim(), 'status', 'small'), /this token of tim expired at 20/)
    assert.ok(!(await daemon.bench.stead('access', 'list', '--json')).stdout.includes(token.trim().slice(-20)))
    const wrong = await daemon.bench.stead('access', 'add', 'tim', '--role', 'king')
    assert.deepEqual([wrong.code, /--role must be one of viewer/.test(wrong.stderr)], [2, true])
    refused(await daemon.bench.stead('access', 'remove', 'nobody'), /there is no person called nobody/)
  })

  test('the record says who did what, and shows an edit', async () => {
    const { stdout } = await daemon.bench.stead('audit', '--who', 'dev', '--json')
    const lines = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { operation: string; outcome: string; code: string | null; from: string })
    const told = lines.map(({ operation, outcome, code }) => [operation, outcome, code].join(' '))
    assert.ok(told.includes('PUT /v1/apps/:app done '), told.join('\n'))
    assert.ok(told.includes('POST /v1/apps/:app/down refused operator.forbidden'), told.join('\n'))
    assert.ok(lines.every(({ from }) => /^token [0-9a-z]{8}$/.test(from)))
    const whole = await daemon.bench.stead('audit', '--verify')
    assert.equal(whole.code, 0, whole.stdout)
    const directory = join(daemon.bench.env['STEAD_STATE'] ?? '', 'serve', 'access', 'audit')
    const path = join(directory, readdirSync(directory).filter((name) => name.endsWith('.jsonl'))[0] ?? '')
    assert.equal(statSync(path).mode & 0o777, 0o600)
    const rename = (from: string, to: string): void =>
      writeFileSync(path, readFileSync(path, 'utf8').replace(`"who":"${from}"`, `"who":"${to}"`))
    rename('dev', 'nobody')
    const edited = await daemon.bench.stead('audit', '--verify')
    assert.equal(edited.code, 4)
    assert.match(edited.stdout, /not whole.*: line \d+ of .* was changed/)
    // The look at it was recorded too, behind the edit.
    rename('nobody', 'dev')
  })

  test('people and record outlive control, and what it was doing is no cut', async () => {
    const token = await person('kim', '--role', 'viewer')
    await daemon.kill('control')
    await daemon.ready('small', 'web')
    assert.equal((await as(token, 'status', 'small')).code, 0)
    assert.equal((await daemon.bench.stead('audit', '--verify')).code, 0)
  })
})
