/** Conformance cases about a root of the program's own: what it sees, what it may write, and where links lead. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { hostname } from 'node:os'
import { filesBelow, hostIds, mountOf, until, within } from './bench.conformance.ts'
import type { Bench, ConformanceCase } from './bench.conformance.ts'
import type { SandboxSpec } from './driver.ts'

/** A spec in a root; null when the driver refuses roots, which is proven then. */
async function inRoot(bench: Bench, script: string, root: Partial<SandboxSpec['root']>): Promise<SandboxSpec | null> {
  if (bench.driver.capabilities.root !== 'refused')
    return bench.spec(script, { root: { layers: [bench.layer()], writable: false, ...root } })
  await bench.refused(bench.spec(script, { root: { layers: [bench.directory()], writable: false } }), 'sandbox.refused')
  return null
}

/** A layer over the usual one. */
function upper(bench: Bench, fill: (directory: string) => void): Partial<SandboxSpec['root']> {
  if (bench.driver.capabilities.root === 'refused') return {}
  const directory = bench.directory()
  fill(directory)
  return { layers: [bench.layer(), directory] }
}

/** A root with several users, the program of `user`; null when the driver refuses that, which is proven then. */
async function withUsers(bench: Bench, script: string, user: number): Promise<SandboxSpec | null> {
  const { root, users } = bench.driver.capabilities
  const layers = root === 'refused' ? [bench.directory()] : [bench.layer(), bench.directory()]
  const spec = bench.spec(script, { root: { layers, writable: true, user: { uid: user, gid: user }, hostIds } })
  if (users !== 'refused') return spec
  await bench.refused(spec, 'sandbox.refused')
  return null
}

/** What a root of its own is. */
export const rootCases: readonly ConformanceCase[] = [
  [
    "a root: the layers above one another, all of it the program's, nothing of the host",
    async (bench) => {
      const root = upper(bench, (directory) => {
        mkdirSync(`${directory}/etc`)
        writeFileSync(`${directory}/etc/own`, 'mine\n', { mode: 0o400 })
        writeFileSync(`${directory}/etc/passwd`, 'app:x:1000:1000::/tmp:/bin/sh\n')
        spawnSync('mknod', [`${directory}/data`, 'c', '0', '0'])
      })
      const script =
        'cat /etc/own; stat -c "%u %a" /etc/own /bin/sh; wc -l </etc/passwd; ls -d /data /root /home /usr/share; hostname; id -u'
      const spec = await inRoot(bench, `exec 2>&1; ${script}`, root)
      if (spec === null) return
      const { lines, exit } = await bench.run(spec)
      assert.equal(exit.code, 0, lines.join('\n'))
      assert.deepEqual([lines[0], lines[1], lines[3]], ['mine', '1000 400', '1'])
      assert.equal(lines.filter((line) => line.includes('No such file')).length, 4, lines.join('\n'))
      assert.ok(!lines.includes(hostname()) && lines.at(-1) === '1000')
    },
  ],
  [
    'a root: the program is the user that it names, who has what is handed in and what it makes; another program inside is too',
    async (bench) => {
      const place = bench.shared()
      const root = upper(bench, (directory) => {
        mkdirSync(`${directory}/srv/kept`, { recursive: true })
        writeFileSync(`${directory}/srv/kept/given`, 'given\n', { mode: 0o600 })
      })
      const given = { path: '/run/given', content: 'handed in\n', mode: 0o400 }
      const look = 'id -u; id -g; stat -c "%u:%g" /srv/kept/given /run/given /tmp/own /srv/kept/own /data/own'
      const script = `cat /srv/kept/given /run/given; for at in /tmp /srv/kept /data; do echo x >$at/own; done; ${look}`
      for (const [uid, gid] of [
        [999, 998],
        [0, 0],
      ] as const) {
        const asked = { ...root, user: { uid, gid }, scratch: ['/srv/kept'] }
        const spec = await inRoot(bench, `${script}; exec sleep 60`, asked)
        if (spec === null) return
        const sandbox = await bench.start({ ...spec, files: [given], mounts: mountOf({ ...place, inside: '/data' }) })
        await until('all its lines', async () => (await bench.lines(spec.recordDir)).length === 9)
        const own = `${uid}:${gid}`
        const lines = await bench.lines(spec.recordDir)
        assert.deepEqual(lines, ['given', 'handed in', String(uid), String(gid), own, own, own, own, own])
        assert.deepEqual(statSync(`${place.host}/own`).uid, spec.hostUid, 'on the host it is nobody but its own user')
        if (bench.driver.capabilities.exec !== 'refused') {
          const inside = await sandbox.exec({ argv: ['sh', '-c', 'id -u; id -g'], env: {}, terminal: null })
          assert.equal((await within(inside.output.toArray(), 'its output')).join(''), `${uid}\n${gid}\n`)
        }
        await sandbox.kill()
        rmSync(`${place.host}/own`)
      }
    },
  ],
  [
    'a root that is read-only cannot be written; what is written into another is gone with the program',
    async (bench) => {
      const script =
        'echo changed >/etc/passwd || echo refused; echo x >/etc/new || echo refused; cat /etc/passwd | head -1'
      const closed = await inRoot(bench, `exec 2>/dev/null; ${script}`, {})
      if (closed === null) return
      const before = readFileSync(`${bench.layer()}/etc/passwd`, 'utf8')
      assert.deepEqual((await bench.run(closed)).lines, ['refused', 'refused', before.split('\n')[0]])
      const open = await inRoot(bench, `rm /etc/group; ${script}`, { writable: true })
      assert.ok(open !== null)
      assert.deepEqual((await bench.run(open)).lines, ['changed'])
      assert.equal(readFileSync(`${bench.layer()}/etc/passwd`, 'utf8'), before)
      assert.deepEqual(readdirSync(`${bench.layer()}/etc`).sort(), ['group', 'passwd'])
    },
  ],
  [
    'a root: what is written into it has a bound',
    async (bench) => {
      const spec = await inRoot(bench, 'head -c 9000000 /dev/zero >/etc/full; stat -c %s /etc/full', { writable: true })
      if (spec === null) return
      const { lines } = await bench.run({ ...spec, limits: { ...spec.limits, tmpBytes: 2 ** 20 } })
      const written = Number(lines.at(-1))
      assert.ok(written > 0 && written <= 2 ** 20, lines.join('\n'))
    },
  ],
  [
    'a root: scratch directories can be written in one that is read-only, with what the layers have in them',
    async (bench) => {
      const root = upper(bench, (directory) => {
        mkdirSync(`${directory}/srv/kept`, { recursive: true })
        writeFileSync(`${directory}/srv/kept/given`, 'given\n')
        symlinkSync('/srv', `${directory}/way`)
      })
      const script =
        'cat /srv/kept/given; echo new >/srv/kept/new; echo more >/made/here/new; cat /srv/kept/new /made/here/new; echo x >/srv/no || echo refused'
      const spec = await inRoot(bench, `exec 2>/dev/null; ${script}`, { ...root, scratch: ['/way/kept', '/made/here'] })
      if (spec === null) return
      assert.deepEqual((await bench.run(spec)).lines, ['given', 'new', 'more', 'refused'])
    },
  ],
  [
    'a root: links of the layers lead nowhere outside, neither for mounts nor for files',
    async (bench) => {
      const place = bench.shared()
      const outside = bench.directory()
      const root = upper(bench, (directory) => {
        mkdirSync(`${directory}/way`)
        symlinkSync(outside, `${directory}/way/absolute`)
        symlinkSync(`../../../../../..${outside}`, `${directory}/way/relative`)
        symlinkSync(`/oldroot${outside}`, `${directory}/way/old`)
      })
      const script =
        'cat /way/absolute/key /way/relative/key /way/old/key; echo x >/way/relative/mounted/made; ls /way/old/mounted'
      const spec = await inRoot(bench, script, root)
      if (spec === null) return
      const file = (path: string): SandboxSpec['files'][number] => ({ path, content: `${path}\n`, mode: 0o400 })
      const { lines, exit } = await bench.run({
        ...spec,
        files: ['/way/absolute/key', '/way/old/key'].map(file),
        mounts: ['/way/relative/mounted', '/way/old/mounted'].flatMap((target) =>
          mountOf({ ...place, inside: target }),
        ),
      })
      assert.equal(exit.code, 0, lines.join('\n'))
      assert.deepEqual(lines, ['/way/absolute/key', '/way/absolute/key', '/way/old/key', 'made'])
      assert.deepEqual(filesBelow(outside), [])
      assert.ok(!existsSync(`/oldroot${outside}`))
    },
  ],
  [
    'a root with several users: files belong to whom the layers say, user 0 gives them away, no other does',
    async (bench) => {
      const asked = await withUsers(bench, '', 0)
      if (asked === null) return
      const [layer = '', upper = ''] = asked.root?.layers ?? []
      mkdirSync(`${upper}/srv`)
      for (const [name, owner] of [
        ['shared', 33],
        ['closed', 34],
      ] as const) {
        writeFileSync(`${upper}/srv/${name}`, `${name}\n`, { mode: 0o600 })
        chownSync(`${upper}/srv/${name}`, owner, owner)
      }
      const given = { path: '/run/given', content: 'given\n', mode: 0o400 }
      const look = 'stat -c "%u:%g" /srv/shared /srv/closed /etc/passwd /run/given; cat /run/given /srv/closed'
      const give = 'chown 7:8 /srv/shared && stat -c "%u:%g" /srv/shared'
      const run = async (user: number): Promise<readonly string[]> => {
        const spec = await withUsers(bench, `exec 2>/dev/null; id -u; ${look}; ${give}; echo $?`, user)
        assert.ok(spec !== null)
        const root = { ...spec.root, layers: [layer, upper], writable: true }
        return (await bench.run({ ...spec, root, files: [given] })).lines
      }
      assert.deepEqual(await run(0), ['0', '33:33', '34:34', '0:0', '0:0', 'given', 'closed', '7:8', '0'])
      assert.deepEqual(await run(33), ['33', '33:33', '34:34', '0:0', '33:33', 'given', '1'])
      assert.equal(statSync(`${upper}/srv/shared`).uid, 33, 'the layer is as it was')
    },
  ],
  [
    'a root with several users: what one of them writes outside belongs to nobody of the host but it',
    async (bench) => {
      const place = bench.shared()
      const script = `echo x >${place.inside}/own; echo x >${place.inside}/other; chown 33:34 ${place.inside}/other`
      const spec = await withUsers(bench, script, 0)
      if (spec === null) return
      const { exit, lines } = await bench.run({ ...spec, mounts: mountOf(place) })
      assert.equal(exit.code, 0, lines.join('\n'))
      const ownerOf = (name: string): readonly number[] => {
        const { uid, gid } = statSync(`${place.host}/${name}`)
        return [uid, gid]
      }
      assert.deepEqual(ownerOf('own'), [spec.hostUid, spec.hostUid])
      assert.deepEqual(ownerOf('other'), [hostIds.first + 33, hostIds.first + 34])
    },
  ],
  [
    'a root needs neither a shell nor anything else but the program; another program can be run inside',
    async (bench) => {
      const root = upper(bench, (directory) => {
        mkdirSync(`${directory}/usr/bin`, { recursive: true })
        for (const name of ['sh', 'setsid', 'cat', 'ls'])
          spawnSync('mknod', [`${directory}/usr/bin/${name}`, 'c', '0', '0'])
      })
      const whole = { ...root, user: { uid: 0, gid: 0 } }
      const first = await inRoot(bench, '', whole)
      if (first === null) return
      const { lines, exit } = await bench.run({ ...first, argv: ['/usr/bin/id', '-u'], cwd: '/not/there/yet' })
      assert.deepEqual([lines, exit.code], [['0'], 0])
      const second = (await inRoot(bench, '', whole)) ?? first
      const sandbox = await bench.start({ ...second, argv: ['/usr/bin/sleep', '60'] })
      if (bench.driver.capabilities.exec !== 'refused') {
        const inside = await sandbox.exec({ argv: ['id', '-u'], env: {}, terminal: { columns: 80, rows: 24 } })
        assert.equal((await within(inside.output.toArray(), 'its output')).join(''), '0\r\n')
        assert.equal((await within(inside.exited, 'its end')).code, 0)
      }
      await sandbox.kill()
    },
  ],
]
