/**
 * An S3 server for tests: versitygw, built once from its Go module into a cache folder, on a directory of the test's own.
 *
 *     scripts/node test/s3-server.ts    builds it, in a minute or two; needs Go
 */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import { freePort } from './command-line.ts'
import { goPath, needsFile, needsGo } from './needs.ts'

const version = 'v1.8.0'
const cacheDir = join(homedir(), '.cache', 'stead-servers')
const startMs = 30_000

/** Where it lies once it is built. */
export const s3ServerPath: string = join(cacheDir, `versitygw-${version}`)

/** The reason to skip a test that needs it; false when it is there. */
export function needsS3Server(): string | false {
  return needsFile(s3ServerPath, '`scripts/node test/s3-server.ts` builds it')
}

export interface S3Server extends AsyncDisposable {
  readonly endpoint: string
  readonly bucket: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** The objects of the bucket as files. */
  readonly dir: string
  /** Ends it as a loss of power would. */
  kill(): Promise<void>
}

/** Starts it on `dir`, with one bucket. */
export async function startS3Server(dir: string): Promise<S3Server> {
  const bucket = 'backups'
  const [accessKeyId, secretAccessKey] = ['stead-test', 'a secret of the test']
  mkdirSync(join(dir, bucket), { recursive: true })
  const port = await freePort()
  const child = spawn(s3ServerPath, ['--port', `127.0.0.1:${port}`, '--quiet', 'posix', dir], {
    env: { ROOT_ACCESS_KEY_ID: accessKeyId, ROOT_SECRET_ACCESS_KEY: secretAccessKey },
    stdio: 'ignore',
  })
  const kill = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  const deadlineMs = Date.now() + startMs
  while (!(await answers(port))) {
    if (Date.now() > deadlineMs) {
      await kill()
      throw new Error('the S3 server does not answer')
    }
    await pause(50)
  }
  return {
    endpoint: `http://127.0.0.1:${port}`,
    bucket,
    accessKeyId,
    secretAccessKey,
    dir: join(dir, bucket),
    kill,
    [Symbol.asyncDispose]: kill,
  }
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

async function build(): Promise<void> {
  if (goPath === null) throw new Error(`the S3 server ${String(needsGo())}`)
  if (existsSync(s3ServerPath)) return
  const dir = join(cacheDir, `building-${process.pid}`)
  mkdirSync(dir, { recursive: true })
  try {
    const env = { ...process.env, GOBIN: dir, GOFLAGS: '-mod=mod' }
    await promisify(execFile)(goPath, ['install', `github.com/versity/versitygw/cmd/versitygw@${version}`], { env })
    renameSync(join(dir, 'versitygw'), s3ServerPath)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

if (import.meta.main) await build()
