/**
 * Ceph's object gateway as one process that can be started and ended: a monitor, an OSD with its data in a file (BlueStore, so an
 * answered write is on the disk) and the gateway, out of Debian's packages unpacked into a folder, where nothing of them is
 * installed. `scripts/node scripts/object-ceph.ts ROOT DIR RGW-PORT MON-PORT`, with the key in STEAD_ACCESS_KEY and
 * STEAD_SECRET_KEY; it needs no rights of its own but a file system with direct I/O.
 */
import { spawn, spawnSync } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { existsSync, mkdirSync, openSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const waitMsMax = 90_000
const blockBytes = 12 * 1024 ** 3

/** The environment in which programs of unpacked packages find their libraries. */
export function cephEnvironment(root: string): Readonly<Record<string, string>> {
  const libraries = ['usr/lib/x86_64-linux-gnu', 'usr/lib/x86_64-linux-gnu/ceph', 'lib/x86_64-linux-gnu']
  return {
    LD_LIBRARY_PATH: libraries.map((path) => join(root, path)).join(':'),
    PYTHONPATH: join(root, 'usr/lib/python3/dist-packages'),
  }
}

function configuration(root: string, dir: string, rgwPort: number, monPort: number, fsid: string): string {
  const library = join(root, 'usr/lib/x86_64-linux-gnu')
  return `[global]
fsid = ${fsid}
mon host = v2:127.0.0.1:${monPort}
mon initial members = a
public addr = 127.0.0.1
ms bind msgr1 = false
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
run dir = ${dir}/run
admin socket =
pid file =
log file = ${dir}/log/$name.log
crash dir = ${dir}/run
keyring = ${dir}/run/$name.keyring
mon data = ${dir}/mon
osd data = ${dir}/osd
erasure code dir = ${library}/ceph/erasure-code
plugin dir = ${library}/ceph
osd class dir = ${library}/rados-classes
osd class load list = *
osd class default list = *
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
osd memory target = 1073741824
mon allow pool size one = true
mon warn on pool no redundancy = false
mon osd full ratio = 0.99
mon osd nearfull ratio = 0.98
mon data avail crit = 1
bluestore block size = ${blockBytes}
setuser match path =
[client.rgw.a]
rgw frontends = beast endpoint=127.0.0.1:${rgwPort}
rgw data = ${dir}/rgw
rgw enable usage log = false
rgw enable ops log = false
rgw max concurrent requests = 256
`
}

class Ceph {
  readonly #bin: string
  readonly #dir: string
  readonly #env: NodeJS.ProcessEnv
  readonly children: ChildProcess[] = []

  constructor(root: string, dir: string) {
    this.#bin = join(root, 'usr/bin')
    this.#dir = dir
    this.#env = { ...process.env, ...cephEnvironment(root), CEPH_CONF: join(dir, 'ceph.conf') }
  }

  /** Runs a program to its end; gives what it prints. Throws in its words. */
  run(program: string, ...args: readonly string[]): string {
    // Ceph's command is a program in Python that is made for Debian's own.
    const argv = program === 'ceph' ? ['/usr/bin/python3', join(this.#bin, 'ceph')] : [join(this.#bin, program)]
    const options = { encoding: 'utf8', env: this.#env, timeout: waitMsMax, cwd: this.#dir } as const
    const result = spawnSync(argv[0] ?? '', [...argv.slice(1), ...args], options)
    if (result.status === 0) return result.stdout
    throw new Error(`${program} ${args.join(' ')}: ${result.error?.message ?? result.stderr.slice(-800)}`)
  }

  start(program: string, ...args: readonly string[]): void {
    const out = openSync(join(this.#dir, 'log', `${program}.out`), 'a')
    const options = { env: this.#env, cwd: this.#dir, stdio: ['ignore', out, out] } as const
    const child = spawn(join(this.#bin, program), args, { ...options, stdio: [...options.stdio] })
    child.once('exit', (code) => {
      process.stderr.write(`${program} ended with ${code}\n`)
      process.exit(1)
    })
    this.children.push(child)
  }
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const deadlineMs = performance.now() + waitMsMax
  while (!holds()) {
    if (performance.now() > deadlineMs) throw new Error(`${what} within ${waitMsMax / 1000} s`)
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

/** Starts everything; resolves when the gateway runs and its user is there. */
async function main(root: string, dir: string, rgwPort: number, monPort: number): Promise<void> {
  for (const folder of ['run', 'log', 'mon', 'osd', 'rgw']) mkdirSync(join(dir, folder), { recursive: true })
  const fsid = randomUUID()
  writeFileSync(join(dir, 'ceph.conf'), configuration(root, dir, rgwPort, monPort, fsid))
  const ceph = new Ceph(root, dir)
  const run = join(dir, 'run')
  const [monKeys, adminKeys] = [join(run, 'mon.keyring'), join(run, 'client.admin.keyring')]
  ceph.run('ceph-authtool', '--create-keyring', monKeys, '--gen-key', '-n', 'mon.', '--cap', 'mon', 'allow *')
  const caps = ['mon', 'osd', 'mgr'].flatMap((name) => ['--cap', name, 'allow *'])
  ceph.run('ceph-authtool', '--create-keyring', adminKeys, '--gen-key', '-n', 'client.admin', ...caps)
  ceph.run('ceph-authtool', monKeys, '--import-keyring', adminKeys)
  const map = join(run, 'monmap')
  ceph.run('monmaptool', '--create', '--clobber', '--fsid', fsid, '--addv', 'a', `[v2:127.0.0.1:${monPort}]`, map)
  ceph.run('ceph-mon', '--mkfs', '-i', 'a', '--monmap', map, '--keyring', monKeys, '--no-mon-config')
  ceph.start('ceph-mon', '-f', '-i', 'a', '--keyring', monKeys)
  const osd = randomUUID()
  ceph.run('ceph', '--connect-timeout', '60', 'osd', 'new', osd)
  const keyring = (name: string, ...rights: readonly string[]): string => {
    const path = join(run, `${name}.keyring`)
    writeFileSync(path, ceph.run('ceph', 'auth', 'get-or-create', name, ...rights))
    return path
  }
  const osdKeys = keyring('osd.0', 'mon', 'allow profile osd', 'mgr', 'allow profile osd', 'osd', 'allow *')
  ceph.run('ceph-osd', '-i', '0', '--mkfs', '--osd-uuid', osd, '--keyring', osdKeys, '--no-mon-config')
  ceph.start('ceph-osd', '-f', '-i', '0', '--keyring', osdKeys)
  await until('the OSD was to be up', () => ceph.run('ceph', 'osd', 'stat').includes('1 up'))
  const rgwKeys = keyring('client.rgw.a', 'mon', 'allow rw', 'osd', 'allow rwx')
  const { STEAD_ACCESS_KEY: access = '', STEAD_SECRET_KEY: secret = '' } = process.env
  const user = ['--uid=stead', '--display-name=stead', `--access-key=${access}`, `--secret-key=${secret}`]
  ceph.run('radosgw-admin', 'user', 'create', ...user)
  ceph.start('radosgw', '-f', '-n', 'client.rgw.a', '--keyring', rgwKeys)
  await new Promise((resolve) => process.once('SIGINT', resolve).once('SIGTERM', resolve))
  for (const child of ceph.children) {
    child.removeAllListeners('exit')
    child.kill('SIGTERM')
  }
}

const [root, dir, rgwPort, monPort] = process.argv.slice(2)
if (import.meta.main) {
  if (root === undefined || dir === undefined || !existsSync(join(root, 'usr/bin/radosgw'))) {
    process.stderr.write('usage: object-ceph.ts ROOT DIR RGW-PORT MON-PORT\n')
    process.exit(2)
  }
  await main(root, dir, Number(rgwPort), Number(monPort))
}
