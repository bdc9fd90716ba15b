/** PostgreSQL as the system's packages install it: every major version from 15 on, in Debian's place or where pg_config says. */
import { execFile } from 'node:child_process'
import { access, readdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import type { PostgresBinaries } from '../binaries.ts'

const oldestMajor = 15

/** Where Debian puts what the programs need beside their own directory. */
const sharedDirs = ['/usr/share/postgresql', '/usr/share/zoneinfo']

/** Finds the installed versions. `root` is the directory that holds one directory for each major version. */
export async function systemBinaries(root = '/usr/lib/postgresql'): Promise<readonly PostgresBinaries[]> {
  const majors = (await readdir(root).catch(() => [])).filter((name) => /^\d+$/.test(name))
  const candidates = [...majors.map((major) => join(root, major, 'bin')), ...(await fromPgConfig())]
  const found = await Promise.all([...new Set(candidates)].map(binariesIn))
  return found
    .filter((binaries) => binaries !== null)
    .filter((binaries, index, all) => all.findIndex((other) => other.version === binaries.version) === index)
    .sort((a, b) => Number(b.version) - Number(a.version))
}

async function binariesIn(binDir: string): Promise<PostgresBinaries | null> {
  if (!(await exists(join(binDir, 'initdb')))) return null
  const version = /\(PostgreSQL\) (\d+)/.exec(await outputOf(join(binDir, 'postgres'), '--version'))?.[1]
  if (version === undefined || Number(version) < oldestMajor) return null
  const shared = await Promise.all(sharedDirs.map(async (dir) => ((await exists(dir)) ? [dir] : [])))
  return { name: 'system', version, binDir, reads: [dirname(binDir), ...shared.flat()] }
}

async function fromPgConfig(): Promise<readonly string[]> {
  const binDir = (await outputOf('pg_config', '--bindir')).trim()
  return binDir.startsWith('/') ? [binDir] : []
}

/** What a program prints, or nothing when it cannot be run. */
async function outputOf(program: string, argument: string): Promise<string> {
  return await promisify(execFile)(program, [argument], { timeout: 10_000, maxBuffer: 65_536 }).then(
    ({ stdout }) => stdout,
    () => '',
  )
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  )
}
