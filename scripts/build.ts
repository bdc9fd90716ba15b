/**
 * Builds `dist`, what the package holds: JavaScript and types of everything in src that is not a test, and the data files
 * the code reads. Invariants: nothing of an earlier build is left; what is built has started once, and every path that
 * package.json promises is there.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, copyFileSync, existsSync, globSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'

const root = join(import.meta.dirname, '..')
const dist = join(root, 'dist')

function fail(message: string): never {
  process.stderr.write(`build: ${message}\n`)
  process.exit(1)
}

function compile(): void {
  const tsc = join(root, 'node_modules', '.bin', 'tsc')
  const { status } = spawnSync(tsc, ['-p', 'tsconfig.build.json'], { cwd: root, stdio: 'inherit' })
  if (status !== 0) fail('the types do not fit: see the lines above')
}

/** Data files, beside the code that reads them. */
function copyData(): void {
  for (const path of globSync('src/**/*.json', {
    cwd: root,
    exclude: ['src/**/fixtures/**', 'src/dashboard/web/**'],
  })) {
    const target = join(dist, relative('src', path))
    mkdirSync(dirname(target), { recursive: true })
    copyFileSync(join(root, path), target)
  }
}

/** Every path of `exports` and `bin`; one with a star must fit a file. */
function promisedPaths(manifest: { readonly exports: unknown; readonly bin: unknown }): string[] {
  const paths = (value: unknown): string[] =>
    typeof value === 'string' ? [value] : Object.values(value ?? {}).flatMap(paths)
  return [...paths(manifest.exports), ...paths(manifest.bin)]
}

/** The pages of the dashboard, beside the code that serves them. */
function buildPages(): void {
  const argv = [join(root, 'scripts', 'dashboard.ts'), '--out', join(dist, 'dashboard', 'web')]
  const { status } = spawnSync(process.execPath, argv, { cwd: root, stdio: 'inherit' })
  if (status !== 0) fail('the pages of the dashboard cannot be built: see the lines above')
}

function check(): void {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { exports: unknown; bin: unknown }
  const missing = promisedPaths(manifest).filter((path) => globSync(path, { cwd: root }).length === 0)
  if (missing.length > 0) fail(`package.json names what is not there: ${missing.join(', ')}`)
  const bin = join(dist, 'cli', 'bin.js')
  chmodSync(bin, 0o755)
  const said = execFileSync(process.execPath, [bin, 'help'], { encoding: 'utf8', cwd: dist })
  if (!said.startsWith('stead:')) fail(`${bin} does not answer \`help\``)
}

if (existsSync(dist)) rmSync(dist, { recursive: true })
compile()
copyData()
buildPages()
check()
process.stdout.write(`build: ${globSync('**/*.js', { cwd: dist }).length} modules in dist\n`)
