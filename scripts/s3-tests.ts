/**
 * The public suite for S3 servers, ceph/s3-tests, against the embedded server; writes docs/s3-conformance.md. The suite and its
 * Python packages lie in a cache beside the repository and are fetched when they are not there. Takes some ten minutes. Every
 * test that does not pass is listed with a reason; one without a reason ends the run with an error.
 *
 * `scripts/node scripts/s3-tests.ts [-k EXPRESSION]`: with an expression of pytest only some are run, and nothing is written.
 */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openEmbeddedObjects } from '../src/objects/index.ts'
import { cache, cached, fetching, run } from '../test/fetch.ts'
import { pageOf } from './s3-tests-page.ts'
import type { Outcome } from './s3-tests-page.ts'

const commit = '8f0ae7b404a3a2fcf7038bf1e6bf29544fe9b6a3'
const checkout = cached('s3-tests')
const venv = cached('s3-tests-venv')
const python = join(venv, 'bin', 'python')
const packages = [
  'boto3',
  'munch',
  'isodate',
  'gevent',
  'lxml',
  'httplib2',
  'pytest',
  'pytest-timeout',
  'requests',
  'pytz',
  'PyYAML',
]
/** Outside of what is looked at: they time what a day takes, or need a second system. */
const markers = [
  'lifecycle',
  'lifecycle_expiration',
  'lifecycle_transition',
  'bucket_logging',
  'bucket_logging_cleanup',
  'cloud_transition',
  'cloud_restore',
]

/** Fetches what is not in the cache. */
function prepare(): void {
  if (!existsSync(checkout))
    fetching((dir) => {
      run(dir, 'git', 'clone', '--quiet', 'https://github.com/ceph/s3-tests', 'suite')
      run(join(dir, 'suite'), 'git', 'checkout', '--quiet', commit)
      renameSync(join(dir, 'suite'), checkout)
    })
  if (existsSync(python)) return
  // It cannot be moved once it is made.
  run(cache, 'python3', '-m', 'venv', venv)
  run(cache, python, '-m', 'pip', 'install', '--quiet', ...packages)
}

const accounts = [
  { section: 's3 main', id: 'testid', displayName: 'M. Tester', email: 'tester@ceph.com' },
  { section: 's3 alt', id: '56789abcdef', displayName: 'john.doe', email: 'john.doe@example.com' },
  {
    section: 's3 tenant',
    id: 'testx$9876543210',
    displayName: 'testx$tenanteduser',
    email: 'tenanteduser@example.com',
  },
  { section: 'iam', id: 'iamid', displayName: 'iam', email: 's3@example.com' },
  { section: 'iam root', id: 'RGW11111111111111111', displayName: 'root', email: 'account1@ceph.com' },
  { section: 'iam alt root', id: 'RGW22222222222222222', displayName: 'alt', email: 'account2@ceph.com' },
].map((account, index) => ({ ...account, accessKeyId: `KEY${index}`, secretAccessKey: `secret${index}` }))

function configuration(port: number): string {
  const sections = accounts.map(({ section, id, displayName, email, accessKeyId, secretAccessKey }) =>
    [
      `[${section}]`,
      `user_id = ${id}`,
      `display_name = ${displayName}`,
      `email = ${email}`,
      `access_key = ${accessKeyId}`,
      `secret_key = ${secretAccessKey}`,
      'api_name = default',
      'tenant = testx',
    ].join('\n'),
  )
  const defaults = `[DEFAULT]\nhost = 127.0.0.1\nport = ${port}\nis_secure = False\nssl_verify = False\n`
  return [
    defaults,
    '[fixtures]\nbucket prefix = stead-{random}-\niam name prefix = s3-tests-\niam path prefix = /s3-tests/',
    ...sections,
  ].join('\n\n')
}

/** Runs the tests; standard output goes to the terminal, outcomes come from the report. */
async function outcomesOf(scratch: string, port: number, chosen: readonly string[]): Promise<readonly Outcome[]> {
  const [config, report] = [join(scratch, 'conf'), join(scratch, 'report.xml')]
  writeFileSync(config, configuration(port))
  const args = [
    '-m',
    'pytest',
    '-q',
    '--no-header',
    '--tb=line',
    '--timeout=120',
    '-p',
    'no:cacheprovider',
    `--junit-xml=${report}`,
  ]
  const selected = ['-m', markers.map((marker) => `not ${marker}`).join(' and '), ...chosen]
  const child = spawn(python, [...args, 's3tests/functional/test_s3.py', ...selected], {
    cwd: checkout,
    env: { ...process.env, S3TEST_CONF: config, PYTHONDONTWRITEBYTECODE: '1' },
    stdio: 'inherit',
  })
  await new Promise((resolve) => child.on('close', resolve))
  const cases = readFileSync(report, 'utf8').matchAll(
    /<testcase [^>]*?\sname="([^"]+)"[^>]*?(?:\/>|>(.*?)<\/testcase>)/gs,
  )
  return [...cases].map(([, name = '', inner = '']) => ({
    name,
    state: inner.includes('<skipped') ? 'skipped' : /<(?:failure|error)/.test(inner) ? 'failed' : 'passed',
  }))
}

function versions(): string {
  const script = 'import boto3, platform; print(f"Python {platform.python_version()}, boto3 {boto3.__version__}")'
  return spawnSync(python, ['-c', script], { encoding: 'utf8' }).stdout.trim()
}

prepare()
const scratch = mkdtempSync(join(tmpdir(), 'stead-s3-tests-'))
const chosen = process.argv.slice(2)
let whole = true
try {
  await using objects = await openEmbeddedObjects({ dir: join(scratch, 'objects') })
  const keys = new Map(
    accounts.map(({ accessKeyId, secretAccessKey, id }) => [
      accessKeyId,
      { accessKeyId, secretAccessKey, account: id },
    ]),
  )
  await using server = await objects.listen({
    port: 0,
    credentials: (accessKeyId) => keys.get(accessKeyId),
    accounts,
    region: 'default',
    defaultOwnership: 'ObjectWriter',
    onBug: (error) =>
      process.stderr.write(`the server met a bug: ${error instanceof Error ? (error.stack ?? '') : String(error)}\n`),
  })
  const outcomes = await outcomesOf(scratch, server.port, chosen)
  const made = pageOf(outcomes, { commit, versions: versions() })
  if (chosen.length === 0) writeFileSync(join(import.meta.dirname, '..', 'docs', 's3-conformance.md'), made.text)
  whole = made.whole
  process.stdout.write(`${outcomes.filter(({ state }) => state === 'passed').length} of ${outcomes.length} passed\n`)
} finally {
  rmSync(scratch, { recursive: true, force: true })
}
process.exitCode = whole ? 0 : 1
