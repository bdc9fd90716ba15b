/**
 * Builds the browser half of the dashboard with Vite: for this checkout into `node_modules/.cache`, unless what is there is
 * of the same source; with `--out DIR` into a directory, for the package. Invariant: what lies there is whole and says what
 * it was built from; a build that fails leaves the one before.
 */
import { createHash } from 'node:crypto'
import { existsSync, globSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

const root = join(import.meta.dirname, '..')
const web = join(root, 'src', 'dashboard', 'web')
const outAt = process.argv.indexOf('--out')
const out = outAt === -1 ? join(root, 'node_modules', '.cache', 'stead-dashboard') : (process.argv[outAt + 1] ?? '')

/** A digest of everything that the built half is made of. */
function sourceDigest(): string {
  const hash = createHash('sha256')
  const own = globSync('src/dashboard/{wire.ts,web/**/*.*}', { cwd: root }).sort()
  for (const path of [...own, 'package-lock.json', 'scripts/dashboard.ts'])
    hash.update(`${path}\n`).update(readFileSync(join(root, path)))
  return hash.digest('hex')
}

/** The licences of what the built half holds. */
function licences(): string {
  const packages = ['preact', 'uplot', '@fontsource-variable/inter', '@fontsource-variable/jetbrains-mono']
  const texts = packages.map(
    (name) => `${name}\n\n${readFileSync(join(root, 'node_modules', name, 'LICENSE'), 'utf8').trim()}`,
  )
  return `${texts.join(`\n\n${'-'.repeat(80)}\n\n`)}\n`
}

const digest = sourceDigest()
const stamp = join(out, 'source.sha256')
if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== digest) {
  const fresh = `${out}.new`
  rmSync(fresh, { recursive: true, force: true })
  // Loaded only when there is something to build: it is asked at every start.
  const { build } = await import('vite')
  await build({
    configFile: false,
    root: web,
    logLevel: 'warn',
    oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
    build: {
      outDir: fresh,
      emptyOutDir: true,
      target: 'es2023',
      assetsInlineLimit: 0,
      modulePreload: { polyfill: false },
      chunkSizeWarningLimit: 300,
    },
  })
  writeFileSync(join(fresh, 'licenses.txt'), licences())
  writeFileSync(join(fresh, 'source.sha256'), digest)
  mkdirSync(dirname(out), { recursive: true })
  rmSync(out, { recursive: true, force: true })
  renameSync(fresh, out)
}
