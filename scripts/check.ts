/** Everything a change must pass: format, lint, types, then all tests of `npm test` (structure and package among them). */
import { spawnSync } from 'node:child_process'

const steps = [
  { name: 'format', argv: ['node_modules/.bin/oxfmt', '--check', 'src', 'test', 'scripts', 'examples'] },
  { name: 'lint', argv: ['node_modules/.bin/oxlint', '--deny-warnings', 'src', 'test', 'scripts', 'examples'] },
  { name: 'types', argv: ['node_modules/.bin/tsc', '-p', '.'] },
  { name: 'types of the dashboard', argv: ['node_modules/.bin/tsc', '-p', 'src/dashboard/web'] },
  { name: 'types of the examples', argv: ['node_modules/.bin/tsc', '-p', 'examples'] },
  { name: 'tests', argv: [process.execPath, 'scripts/test.ts'] },
]

for (const { name, argv } of steps) {
  const startMs = performance.now()
  const [command = '', ...args] = argv
  const result = spawnSync(command, args, { stdio: 'inherit' })
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1)
  process.stdout.write(`check: ${name} ${result.status === 0 ? 'passed' : 'FAILED'} in ${seconds} s\n`)
  if (result.status !== 0) process.exit(1)
}
