/**
 * The registry and the tools of others that images are tested against: docker-registry, skopeo, umoci and runc of Debian, unpacked
 * into the cache and not installed, and an unmodified Debian with Redis as a program of others. `npm run image-tools` fetches;
 * tests only look.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from './command-line.ts'
import { cached, fetchDebianPackages, fetchDebianRoot } from './fetch.ts'

const tools = cached('image-tools-bookworm')
const libraries = ['libsubid4', 'libgpgme11', 'libassuan0', 'libostree-1-1', 'libyajl2']

const builders = cached('image-builders-bookworm')
const builderPackages = ['buildah', 'podman', 'conmon', 'libdevmapper1.02.1', 'libglib2.0-0', 'libip4tc2']

/** The root of a Debian with redis-server in it, as its packages make it. */
export const redisRoot: string = cached('image-redis-bookworm')

/** The root of a Debian with servers that start as root and become another user: PostgreSQL, nginx, and Redis by gosu. */
export const serversRoot: string = cached('image-servers-bookworm')
const serverPackages = ['postgresql-15', 'nginx-light', 'redis-server', 'redis-tools', 'gosu']

/** Fetches what is not there. Throws in words. */
export function fetchImageTools(): void {
  if (!existsSync(tools))
    fetchDebianPackages(['docker-registry', 'skopeo', 'umoci', 'runc', 'crun', ...libraries], tools)
  if (!existsSync(builders)) fetchDebianPackages(builderPackages, builders)
  if (!existsSync(redisRoot)) fetchDebianRoot('bookworm', ['redis-server', 'redis-tools'], redisRoot)
  if (!existsSync(serversRoot)) fetchDebianRoot('bookworm', serverPackages, serversRoot)
}

/** A tool by its name, or the reason to skip with. */
export function needsTool(name: 'docker-registry' | 'skopeo' | 'umoci' | 'runc' | 'crun'): string | false {
  return existsSync(toolPath(name)) ? false : `needs ${name}: npm run image-tools`
}

export function needsRedisRoot(): string | false {
  return existsSync(redisRoot) ? false : 'needs a Debian with Redis: npm run image-tools'
}

export function toolPath(name: string): string {
  return join(tools, 'usr/bin', name)
}

export const toolEnv: NodeJS.ProcessEnv = {
  PATH: process.env['PATH'],
  HOME: '/nonexistent',
  LD_LIBRARY_PATH: join(tools, 'usr/lib', process.arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu'),
}

/** Runs a tool to its end. Throws with what it said. */
export function runTool(name: string, ...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(toolPath(name), args, {
    encoding: 'utf8',
    env: toolEnv,
    timeout: 120_000,
  })
  if (status === 0) return stdout
  throw new Error(`${name} ${args.join(' ')}: ${stderr.slice(-500)}`)
}

/** A registry of Debian on loopback, with its data in a directory; with a file of passwords it asks for one. */
export class RegistryServer implements AsyncDisposable {
  readonly host: string
  readonly #child: ChildProcess
  readonly #ended: Promise<void>

  private constructor(host: string, child: ChildProcess) {
    this.host = host
    this.#child = child
    this.#ended = new Promise((resolve) => child.once('exit', () => resolve()))
  }

  static async start(directory: string, passwords: string | null = null): Promise<RegistryServer> {
    mkdirSync(join(directory, 'data'), { recursive: true })
    const host = `127.0.0.1:${await freePort()}`
    const auth = passwords === null ? [] : ['auth:', '  htpasswd:', '    realm: test', `    path: ${passwords}`]
    const config = [
      'version: 0.1',
      'log: { level: error }',
      `storage: { filesystem: { rootdirectory: ${join(directory, 'data')} } }`,
      `http: { addr: "${host}" }`,
      ...auth,
    ]
    writeFileSync(join(directory, 'config.yml'), config.join('\n'))
    const child = spawn(toolPath('docker-registry'), ['serve', join(directory, 'config.yml')], {
      env: toolEnv,
      stdio: 'ignore',
    })
    const server = new RegistryServer(host, child)
    for (let tries = 0; tries < 600; tries++) {
      if (child.exitCode !== null) throw new Error(`the registry ended with code ${child.exitCode}`)
      const answer = await fetch(`http://${host}/v2/`).catch(() => null)
      if (answer !== null) return server
      await new Promise((resolve) => void setTimeout(resolve, 50))
    }
    await server[Symbol.asyncDispose]()
    throw new Error('the registry does not answer')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGTERM')
    await this.#ended
  }
}
