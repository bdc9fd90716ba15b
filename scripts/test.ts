/**
 * Runs the tests in two lanes beside one another: units (beside the code) in one process, whole-system tests (test/) one process
 * per file, two at a time, for all of them mostly wait. `--full` adds the long ones, `*.long.test.ts`, and runs one after
 * another, for some of those measure. Arguments that do not start with a dash choose files by a part of their path. Everything
 * is node:test; its summary closes the output of a lane.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { globSync } from 'node:fs'
import { PassThrough, type Readable } from 'node:stream'
import { finished } from 'node:stream/promises'

/** What a lane may print before it is shown. */
const outputBytesMax = 64 * 1024 * 1024

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

// The environment of tests is that of a plain shell: extra certificates slow every Node start and belong to the machine. Only
// npm is told of them, by the name that it alone reads: its registry may be behind them.
const { NODE_EXTRA_CA_CERTS: certificates, ...plainEnv } = process.env
const env = { ...(certificates === undefined ? {} : { npm_config_cafile: certificates }), ...plainEnv }

/** Starts a lane; answers its output as it comes, and whether it failed. */
function start({ name, files: chosenFiles, flags }: (typeof lanes)[number]): {
  output: Readable
  failed: Promise<boolean>
} {
  const common = [
    '--disable-warning=ExperimentalWarning',
    '--test',
    '--test-reporter=spec',
    '--test-timeout=300000',
    ...flags,
  ]
  const child = spawn(process.execPath, [...common, ...chosenFiles], { stdio: ['ignore', 'pipe', 'pipe'], env })
  const output = new PassThrough({ highWaterMark: outputBytesMax })
  output.write(`\n# ${name}: ${chosenFiles.length} files\n`)
  child.stdout.pipe(output, { end: false })
  child.stderr.pipe(output, { end: false })
  const failed = once(child, 'close').then(([code]) => {
    output.end()
    return code !== 0
  })
  return { output, failed }
}

let failed = false
const wanted = lanes.filter((lane) => lane.files.length > 0)
// Long ones measure: they have the machine to themselves.
for (const group of full ? wanted.map((lane) => [lane]) : [wanted]) {
  for (const lane of group.map(start)) {
    // The output of a lane is shown whole, after that of the one before.
    lane.output.pipe(process.stdout, { end: false })
    failed = (await lane.failed) || failed
    await finished(lane.output)
  }
}
process.exitCode = failed ? 1 : 0
