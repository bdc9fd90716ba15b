/**
 * Runs the tests in two lanes: units (beside the code) in one process, whole-system tests (test/) one process per file,
 * two at a time, for they mostly wait. `--full` adds the long ones, `*.long.test.ts`, and runs one at a time, for some of those measure. Arguments that do not start with a dash choose files
 * by a part of their path. Everything is node:test; its summary closes the output.
 */
import { spawnSync } from 'node:child_process'
import { globSync } from 'node:fs'

const options = process.argv.slice(2)
const full = options.includes('--full')
const chosen = options.filter((option) => !option.startsWith('-'))

const files = globSync(['src/**/*.test.ts', 'test/**/*.test.ts', 'examples/*/*.test.ts'])
  .filter((file) => !file.includes('node_modules'))
  .filter((file) => full || chosen.length > 0 || !file.endsWith('.long.test.ts'))
  .filter((file) => chosen.length === 0 || chosen.some((part) => file.includes(part)))
  .sort()

const lanes = [
  {
    name: 'units',
    files: files.filter((file) => file.startsWith('src/') && !file.endsWith('.long.test.ts')),
    flags: ['--test-isolation=none'],
  },
  {
    name: 'system',
    files: files.filter((file) => !file.startsWith('src/') || file.endsWith('.long.test.ts')),
    flags: [`--test-concurrency=${full ? 1 : 2}`],
  },
]

// The environment of tests is that of a plain shell: extra certificates slow every Node start and belong to the machine.
const { NODE_EXTRA_CA_CERTS: _dropped, ...env } = process.env

let failed = false
for (const lane of lanes.filter((candidate) => candidate.files.length > 0)) {
  process.stdout.write(`\n# ${lane.name}: ${lane.files.length} files\n`)
  const flags = [
    '--disable-warning=ExperimentalWarning',
    '--test',
    '--test-reporter=spec',
    '--test-timeout=300000',
    ...lane.flags,
  ]
  const result = spawnSync(process.execPath, [...flags, ...lane.files], { stdio: 'inherit', env })
  if (result.status !== 0) failed = true
}
process.exit(failed ? 1 : 0)
