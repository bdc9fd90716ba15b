/** People on a real daemon, by the real command line: roles, tokens, what is recorded, and a record that somebody edited. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { operatorClient, type Role } from '../src/operator/index.ts'
import { type Result, Workbench } from './command-line.ts'
import { DaemonBench } from './daemon-bench.ts'
import { needsRoot } from './needs.ts'
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

  /** Adds a person without the command, which has its own test; answers a token. */
  async function person(name: string, role: Role, apps: string[] | null = null): Promise<string> {
    const operator = await operatorClient(join(daemon.bench.env['STEAD_RUN'] ?? '', 'serve', 'operator.sock'))
    assert.ok(operator)
    await operator.grant({ name, role, rights: [], apps, expiresAtMs: null, sshKeys: [] })
    return (await operator.issueToken(name, Date.now() + 3_600_000)).token
  }

  function refused({ code, stderr }: Result, says: RegExp): void {
    assert.equal(code, 1, stderr)
    assert.match(stderr, says)
    assert.ok(!stderr.includes('    at '), stderr)
  }

  test('a developer deploys and reads logs, and may not stop or add people', async () => {
    const added = await daemon.bench.stead('access', 'add', 'dev', '--role', 'developer', '--app', 'small')
    assert.equal(added.code, 0, added.stderr)
    const token = (await daemon.bench.stead('access', 'token', 'dev')).stdout.trim()
    assert.match(token, /^stead_\S{41}$/)
    daemon.bench.write({ 'web/server.js': `${server} // by dev` })
    const deployed = await as(token, 'deploy', '.')
    assert.equal(deployed.code, 0, deployed.stderr)
    assert.equal((await as(token, 'logs', 'web', 'small')).code, 0)
    refused(await as(token, 'down', 'small'), /dev may not do this: it needs the right operate on small/)
    refused(await as(token, 'access', 'list'), /it needs the right admin on the platform itself/)
  })

  test('a viewer sees what runs, and nothing more', async () => {
    const token = await person('vic', 'viewer')
    const seen = await as(token, 'status', 'small', '--json')
    assert.equal((JSON.parse(seen.stdout) as { app: string }).app, 'small')
    refused(await as(token, 'deploy', '.'), /vic may not do this: it needs the right deploy on small/)
    refused(await as(token, 'logs', 'web', 'small'), /it needs the right logs on small/)
  })

  test('tokens that are wrong or over say so, and are shown once', async () => {
    refused(await as('stead_nonsense', 'status', 'small'), /this token is not known here/)
    const brief = await daemon.bench.stead('access', 'token', 'dev', '--expires', '1ms')
    refused(await as(brief.stdout.trim(), 'status', 'small'), /this token of dev expired at 20/)
    const wrong = await daemon.bench.stead('access', 'add', 'tim', '--role', 'king')
    assert.deepEqual([wrong.code, /--role must be one of viewer/.test(wrong.stderr)], [2, true])
    refused(await daemon.bench.stead('access', 'remove', 'nobody'), /there is no person called nobody/)
  })

  test('another user of the machine gets in by a token only', { skip: needsRoot() }, async () => {
    const token = await person('lea', 'viewer')
    await using other = new Workbench({ uid: 12_345, env: { STEAD_RUN: daemon.bench.env['STEAD_RUN'] } })
    const without = await other.stead('status', 'small')
    assert.equal(without.code, 1, without.stderr)
    assert.match(without.stderr, /belongs to another user[\s\S]*STEAD_TOKEN/)
    const seen = await other.as({ STEAD_TOKEN: token }, 'status', 'small', '--json')
    assert.equal((JSON.parse(seen.stdout) as { app: string }).app, 'small', seen.stderr)
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
    const token = await person('kim', 'viewer')
    await daemon.kill('control')
    await daemon.ready('small', 'web')
    assert.equal((await as(token, 'status', 'small')).code, 0)
    assert.equal((await daemon.bench.stead('audit', '--verify')).code, 0)
  })
})
