#!/usr/bin/env -S node --disable-warning=ExperimentalWarning
/**
 * What the installed command starts: the real one, when this Node can run it. Invariant: imports nothing before it has
 * looked, because an old Node ends on what it does not know before a line has run.
 */
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)

if (major > 24 || (major === 24 && minor >= 12)) {
  await import('./main.ts')
} else {
  process.stderr.write(`stead: needs Node 24.12 or newer, and this is ${process.version}\n`)
  process.stderr.write('  Install a newer one, for example from https://nodejs.org\n')
  process.exitCode = 1
}
