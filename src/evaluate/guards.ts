/**
 * What stands around an app file while it runs, as the argv that puts it there: Node's permission model (files, network,
 * processes, threads, addons), limits on memory, and on Linux as root bubblewrap around it all (no network, no processes
 * of others, and no file but those below). README.md says which guard holds where.
 */
import { existsSync } from 'node:fs'
import type { Dirent } from 'node:fs'
import { readdir, realpath } from 'node:fs/promises'
import { dirname, extname, join, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Question } from './answer.ts'

const bubblewrap = '/usr/bin/bwrap'

/** What `ulimit -d` counts for Node itself before a line of code has run (0.6 GB), and room beside it. */
const nodeDataBytes = 1_000_000_000

/** Most entries of a node_modules that are looked at for links that lead out of it. */
const linksMax = 5000

/** Whether bubblewrap can be put around the file on this machine. */
export function hasBubblewrap(): boolean {
  return process.platform === 'linux' && process.getuid?.() === 0 && existsSync(bubblewrap)
}

/** Whether bubblewrap failed because this machine does not let it make namespaces, going by what it said. */
export function isForbidden(stderr: string): boolean {
  return /^bwrap: .*(?:namespace|not permitted|permission)/im.test(stderr)
}

/** The program and arguments that evaluate a file. */
export async function guardedCommand(
  question: Question,
  { memoryBytes, wrapped }: { memoryBytes: number; wrapped: boolean },
): Promise<readonly [string, ...string[]]> {
  const reads = [...ownCode(question), ...(await appCode(dirname(question.file)))]
  const node = [
    process.execPath,
    '--permission',
    ...reads.map((path) => `--allow-fs-read=${path}`),
    '--no-addons',
    `--max-old-space-size=${Math.ceil(memoryBytes / 2 ** 20)}`,
    '--disable-warning=ExperimentalWarning',
    '--disable-warning=SecurityWarning',
    join(import.meta.dirname, `child${extname(import.meta.filename)}`),
    JSON.stringify(question),
  ]
  const inner = wrapped ? [...wrapper(reads, dirname(question.file)), ...node] : node
  // Buffers do not count as heap: the data limit holds them. No core file when it is reached.
  const limits = 'ulimit -c 0; ulimit -d "$0" 2>/dev/null; exec "$@"'
  return ['/bin/sh', '-c', limits, String(Math.ceil((nodeDataBytes + memoryBytes) / 1024)), ...inner]
}

/** bubblewrap with nothing but libraries, Node and the given paths, all read-only. */
function wrapper(reads: readonly string[], directory: string): readonly string[] {
  const libraries = ['/usr/lib', '/usr/lib64', '/lib', '/lib64', '/nix/store']
  return [
    bubblewrap,
    '--unshare-all',
    '--die-with-parent',
    '--new-session',
    '--cap-drop',
    'ALL',
    '--clearenv',
    '--setenv',
    'TZ',
    'UTC',
    ...libraries.flatMap((path) => ['--ro-bind-try', path, path]),
    ...[process.execPath, ...reads].flatMap((path) => ['--ro-bind', path, path]),
    '--dev',
    '/dev',
    '--chdir',
    directory,
    '--',
  ]
}

/** What the child itself is made of. */
function ownCode(question: Question): string[] {
  const source = dirname(import.meta.dirname)
  const packages = Object.values(question.packages).map((url) => dirname(dirname(fileURLToPath(url))))
  const manifest = join(dirname(source), 'package.json')
  return [...['base', 'model', 'evaluate'].map((room) => join(source, room)), manifest, ...packages]
}

/** The app's directory, and the packages that its files can import: every node_modules on the way up, and what it links to. */
async function appCode(directory: string): Promise<string[]> {
  const found = new Set<string>([directory])
  for (let above = directory; ; above = dirname(above)) {
    const modules = join(above, 'node_modules')
    if (existsSync(modules)) {
      found.add(modules)
      found.add(await realpath(modules))
      for (const target of await linkTargets(modules)) found.add(target)
    }
    if (above === dirname(above)) break
  }
  return [...found]
}

/** Where links in a node_modules lead when they lead out of it: packages of the same workspace. */
async function linkTargets(modules: string): Promise<string[]> {
  const root = await realpath(modules)
  const list = (path: string): Promise<Dirent[]> => readdir(path, { withFileTypes: true }).catch(() => [])
  const entries = await list(modules)
  const scopes = entries.filter((entry) => entry.name.startsWith('@')).map((entry) => list(join(modules, entry.name)))
  const links = [...entries, ...(await Promise.all(scopes)).flat()].filter((entry) => entry.isSymbolicLink())
  const targets = await Promise.all(
    links.slice(0, linksMax).map((link) => realpath(join(link.parentPath, link.name)).catch(() => root)),
  )
  return targets.filter((target) => target !== root && !target.startsWith(root + sep))
}
