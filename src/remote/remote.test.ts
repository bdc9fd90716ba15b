/** What can be said of servers without one: addresses, refusals, plans, archives, and words that survive a shell. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createWriteStream, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { suite, test } from 'node:test'
import { describeServer, parseServerAddress } from './address.ts'
import { commandOf } from './connection.ts'
import { readServerState, type ServerState, wantedPrograms } from './look.ts'
import { listPackage } from './package.ts'
import { compareVersions, planServer } from './plan.ts'
import { connectionRefusal } from './refusals.ts'
import { writeTar } from './tar.ts'

suite('addresses', () => {
  test('are read into user, host, port and app', () => {
    const read = (word: string): unknown[] => {
      const { address, app } = parseServerAddress(word)
      return [address.user, address.host, address.port, app]
    }
    assert.deepEqual(read('ssh://box'), [null, 'box', null, null])
    assert.deepEqual(read('ssh://root@shop.example.com:2222/shop'), ['root', 'shop.example.com', 2222, 'shop'])
    assert.deepEqual(read('ssh://ann@[2001:db8::7]:22/'), ['ann', '2001:db8::7', 22, null])
    for (const word of ['ssh://ann@[2001:db8::7]:22', 'ssh://box', 'ssh://u@box:1'])
      assert.equal(`ssh://${describeServer(parseServerAddress(word).address)}`, word)
  })

  test('never become an option of ssh, nor another word', () => {
    for (const word of [
      'ssh://',
      'ssh://-oProxyCommand=x',
      'ssh://-l@box',
      'ssh://a b',
      'ssh://box:0',
      'ssh://box:70000',
      'ssh://box/../x',
      'ssh://box/Shop',
      'ssh://u:pw@box',
      'ssh://box;reboot',
      'ssh://$(reboot)',
      'ssh://box\n',
    ])
      assert.throws(() => parseServerAddress(word), { code: 'remote.bad-address' }, word)
  })
})

test('a script and its arguments reach the shell of the server as they are', () => {
  const args = ['plain', `it's "quoted"`, '$(touch /tmp/x) `id` \\ ; | & > <', 'a\nb', '', '*']
  const script = `for word in "$@"; do printf '[%s]' "$word"; done`
  const said = execFileSync('sh', ['-c', commandOf(script, { args })], { encoding: 'utf8' })
  assert.equal(said, args.map((word) => `[${word}]`).join(''))
})

test('what ssh says is told in a sentence of ours', () => {
  const code = (said: string): string => connectionRefusal('box', said).code
  assert.equal(code('ssh: connect to host box port 22: Connection refused\n'), 'remote.unreachable')
  assert.equal(code('ssh: Could not resolve hostname box: Name or service not known\n'), 'remote.unreachable')
  assert.equal(code('root@box: Permission denied (publickey).\n'), 'remote.key-refused')
  assert.equal(
    code(
      'No ED25519 host key is known for box and you have requested strict checking.\nHost key verification failed.\n',
    ),
    'remote.host-key-unknown',
  )
  assert.equal(
    code(
      '@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nOffending ED25519 key in /x:1\nHost key verification failed.\n',
    ),
    'remote.host-key-changed',
  )
  assert.match(connectionRefusal('box', '').message, /^box cannot be reached: ssh said nothing$/)
})

const debian = `kernel=Linux
machine=x86_64
os=Debian GNU/Linux 12 (bookworm)
uid=0
systemd=yes
prefix=/opt/stead
free=9000000
free=8000000
${wantedPrograms.map((name) => `program=${name}`).join('\n')}
`

suite('a server', () => {
  const own = { version: '1.2.0', build: 'b1', platform: 'linux', arch: 'x64' }
  const options = { upgrade: false, packages: true, python: false, backups: false }
  const bare = readServerState(debian, 'box')
  const plan = (server: Partial<ServerState>, more: Partial<typeof options> = {}): ReturnType<typeof planServer> =>
    planServer({ ...bare, ...server }, own, { ...options, ...more }, 'box')

  test('is read from what its script said', () => {
    assert.deepEqual(
      [bare.platform, bare.arch, bare.root, bare.systemd, bare.version, bare.freeBytes],
      ['linux', 'x64', true, true, null, 8_000_000 * 1024],
    )
    assert.throws(() => readServerState(debian.replace('uid=0', 'uid=1000'), 'box'), { code: 'remote.no-sudo' })
    assert.equal(readServerState(debian.replace('uid=0', 'uid=1000\nsudo=yes'), 'box').root, false)
    assert.throws(() => readServerState('Welcome!\n', 'box'), { code: 'remote.strange-server' })
  })

  test('gets what it lacks, each package with its reason, and nothing when declined', () => {
    assert.deepEqual([plan({}).install, plan({}).packages], [true, []])
    const without = (...names: string[]): ReadonlySet<string> =>
      new Set(wantedPrograms.filter((name) => !names.includes(name)))
    const lacking = { programs: without('bwrap', 's6-log', 'python3') }
    assert.deepEqual(
      plan(lacking).packages.map(({ name }) => name),
      ['bubblewrap', 's6'],
    )
    assert.deepEqual(
      plan(lacking, { python: true }).packages.map(({ name }) => name),
      ['bubblewrap', 's6', 'python3'],
    )
    const noTool = { programs: without('restic') }
    assert.deepEqual(plan(noTool).packages, [])
    assert.deepEqual(
      plan(noTool, { backups: true }).packages.map(({ name }) => name),
      ['restic'],
    )
    const declined = plan(lacking, { packages: false })
    assert.deepEqual([declined.packages, declined.without.map(({ name }) => name)], [[], ['bubblewrap', 's6']])
    assert.deepEqual(
      plan({ programs: without('bwrap', 'apt-get') }).without.map(({ name }) => name),
      ['bubblewrap'],
    )
    assert.throws(() => plan({ programs: without('flock') }), { code: 'remote.strange-server' })
    const smallest = { programs: without('libatomic.so.1') }
    assert.deepEqual(
      plan(smallest).packages.map(({ name }) => name),
      ['libatomic1'],
    )
    assert.throws(() => plan(smallest, { packages: false }), { code: 'remote.strange-server' })
  })

  test('is left alone by a version that does not fit, and upgraded when asked', () => {
    assert.equal(plan({ version: '1.2.0', build: 'b0' }).install, false)
    assert.equal(plan({ version: '1.2.0', build: 'b0' }, { upgrade: true }).install, true)
    assert.equal(plan({ version: '1.2.0', build: 'b1' }, { upgrade: true }).install, false)
    assert.throws(() => plan({ version: '1.1.9', build: 'b0' }), { code: 'remote.older' })
    assert.equal(plan({ version: '1.1.9', build: 'b0' }, { upgrade: true }).install, true)
    assert.throws(() => plan({ version: '1.3.0', build: 'b0' }, { upgrade: true }), { code: 'remote.newer' })
  })

  test('of another kind, or with a full disk, is refused before anything is sent', () => {
    assert.throws(() => plan({ arch: 'arm64' }), { code: 'remote.other-platform', message: /box is linux arm64/ })
    assert.throws(() => plan({ platform: 'linux with musl' }), { code: 'remote.other-platform' })
    // One that has Stead takes apps from every kind of machine; what is in their bundles is looked at then.
    assert.equal(plan({ arch: 'arm64', version: '1.2.0' }).install, false)
    assert.throws(() => plan({ arch: 'arm64', version: '1.2.0' }, { upgrade: true }), { code: 'remote.other-platform' })
    assert.throws(() => plan({ freeBytes: 500 * 1024 ** 2 }), { code: 'remote.disk-full' })
    assert.equal(plan({ freeBytes: 500 * 1024 ** 2, version: '1.2.0' }).install, false)
  })

  test('versions are ordered by their numbers', () => {
    const order = ['0.9.9', '0.10.0-rc.1', '0.10.0', '1.0.0-beta', '1.0.0', '1.0.10']
    for (const [index, version] of order.entries()) {
      assert.equal(compareVersions(version, version), 0)
      for (const later of order.slice(index + 1)) {
        assert.ok(compareVersions(version, later) < 0, `${version} < ${later}`)
        assert.ok(compareVersions(later, version) > 0, `${later} > ${version}`)
      }
    }
  })
})

suite('an archive', () => {
  test('is read by tar, with long paths, empty files and programs, and is equal each time', async (context) => {
    const dir = mkdtempSync(join(tmpdir(), 'tar-'))
    context.after(() => rmSync(dir, { recursive: true }))
    writeFileSync(join(dir, 'source'), 'x'.repeat(1000))
    const long = `${'d'.repeat(90)}/${'e'.repeat(60)}/${'f'.repeat(95)}`
    const entries = [
      { path: 'empty', executable: false, sizeBytes: 0, from: { text: '' } },
      { path: long, executable: false, sizeBytes: 1000, from: { file: join(dir, 'source') } },
      { path: 'bin/run', executable: true, sizeBytes: 512, from: { text: 'y'.repeat(512) } },
    ]
    for (const name of ['one.tar', 'two.tar']) await pipeline(writeTar(entries), createWriteStream(join(dir, name)))
    assert.deepEqual(readFileSync(join(dir, 'one.tar')), readFileSync(join(dir, 'two.tar')))
    execFileSync('tar', ['-xf', join(dir, 'one.tar'), '-C', dir])
    assert.equal(readFileSync(join(dir, long), 'utf8'), 'x'.repeat(1000))
    assert.equal(statSync(join(dir, 'empty')).size, 0)
    assert.equal(statSync(join(dir, 'bin/run')).mode & 0o777, 0o755)
    const wrong = [{ path: 'a', executable: false, sizeBytes: 999, from: { file: join(dir, 'source') } }]
    await assert.rejects(Array.fromAsync(writeTar(wrong)), /changed while it was packed/)
  })

  test('of this Stead holds its code, its packages and its Node, and no tests', async () => {
    const { entries, build } = await listPackage()
    const paths = new Set(entries.map(({ path }) => path))
    for (const path of [
      'bin/node',
      'bin/stead',
      'package.json',
      '.build',
      'src/cli/main.ts',
      'node_modules/zod/package.json',
      // A server has no npm to fetch it with.
      'node_modules/acme-client/package.json',
    ])
      assert.ok(paths.has(path), path)
    assert.deepEqual(
      [...paths].filter((path) => /\.test\.ts$|node_modules\/(?:typescript|oxlint|node-linux-)|^test\//.test(path)),
      [],
    )
    assert.equal((await listPackage()).build, build)
  })
})
