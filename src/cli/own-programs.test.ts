/** Programs of Stead's own run where Stead itself cannot be read, and are copied once. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, globSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { createBundleStore, type BundleStore } from '../artifact/index.ts'
import { isSteadError, systemClock } from '../base/index.ts'
import { processDriver, type SandboxCapabilities } from '../sandbox/index.ts'
import { ownPrograms } from './own-programs.ts'

/** Any module of Stead that needs others, and one that is asked for beside it. */
const entries = ['queue/drivers/embedded/host', 'queue/drivers/ledger/tool']

suite('programs of our own', () => {
  let root = ''
  let bundles: BundleStore
  const plain = processDriver({ clock: systemClock, groups: null }).capabilities
  const isolating: SandboxCapabilities = { ...plain, isolation: 'native' }

  before(async () => {
    root = mkdtempSync(join(tmpdir(), 'stead-own-test-'))
    chmodSync(root, 0o755)
    bundles = await createBundleStore({ root: join(root, 'bundles'), clock: systemClock })
  })
  after(() => {
    spawnSync('chmod', ['-R', 'u+w', root])
    rmSync(root, { recursive: true, force: true })
  })

  test('run as another user from what they read, which is JavaScript', async () => {
    const { argv, reads } = await ownPrograms(bundles, { capabilities: isolating })(entries)
    const [command = '', ...args] = argv
    const user = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {}
    const { status, stderr } = spawnSync(command, args, { ...user, env: {}, cwd: '/', encoding: 'utf8' })
    assert.deepEqual([status, stderr], [0, ''])
    assert.ok([command, ...args.slice(-1)].every((path) => reads.some((read) => path.startsWith(`${read}/`))))
    const tree = reads.at(-1) ?? ''
    assert.ok(globSync('queue/drivers/ledger/tool.js', { cwd: tree }).length === 1)
    assert.deepEqual(globSync('**/*.ts', { cwd: tree }), [])
  })

  test('are copied once for each content, and again by nobody', async () => {
    const find = ownPrograms(bundles, { capabilities: isolating })
    const first = await find(entries)
    assert.equal(await find(entries), first)
    assert.deepEqual(await ownPrograms(bundles, { capabilities: isolating })(entries), first)
  })

  test('may use nothing that is not of Stead', async () => {
    const find = ownPrograms(bundles, { capabilities: isolating })
    await assert.rejects(find(['objects/drivers/s3/client']), /imports undici, which is not of Stead/)
    await assert.rejects(find(['queue/no-such-module']), (error) => !isSteadError(error))
  })

  test('are used where they are when there is no sandbox', async () => {
    const { argv, reads } = await ownPrograms(bundles, { capabilities: plain })(entries)
    assert.deepEqual(reads, [])
    assert.equal(argv.at(-1), join(import.meta.dirname, '../queue/drivers/embedded/host.ts'))
  })
})
