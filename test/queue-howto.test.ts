/** The page on queues for every language: its lines run, against the real server, and print what the page says. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { promisify } from 'node:util'
import { TestServer } from '../src/queue/drivers/http/place.test-helper.ts'
import { needsAll, needsFile } from './needs.ts'

const page = readFileSync(join(import.meta.dirname, '../docs/howto/use-queues.md'), 'utf8')
/** Each block that is run, with the output that stands behind it; null where none does. */
const blocks = [...page.matchAll(/```(sh|python)\n(.*?)```(?:\n\n```text\n(.*?)```)?/gs)].map(
  ([, language = '', code = '', output = null]) => ({ language, code, output }),
)
const skip = needsAll(
  needsFile('/usr/bin/curl', 'apt-get install curl'),
  needsFile('/usr/bin/python3', 'apt-get install python3'),
)

async function run(command: string, args: readonly string[], env: Readonly<Record<string, string>>): Promise<string> {
  return (await promisify(execFile)(command, [...args], { env: { ...env }, timeout: 60_000 })).stdout
}

suite('the page on queues', { skip }, () => {
  test('its lines do what it says', async () => {
    await using server = await TestServer.start({ bodyBytesMax: 1_000_000 })
    const url = new URL(await server.letIn('web'))
    const env = {
      PATH: '/usr/bin:/bin',
      QUEUE_URL: url.href,
      QUEUE_TOKEN: url.password,
      QUEUE_ENDPOINT: `http://${url.host}${url.pathname}`,
    }
    assert.equal(blocks.length, 4)
    for (const { language, code, output } of blocks) {
      const argv = language === 'sh' ? ['/bin/sh', '-euc', code] : ['/usr/bin/python3', '-c', code]
      const [command = '', ...args] = argv
      const printed = await run(command, args, env)
      if (output !== null) assert.equal(printed.trimEnd(), output.trimEnd())
      else assert.match(printed, /"ready":2/)
    }
    assert.match(await run('/usr/bin/curl', ['-s', url.href], env), /"ready":0,"delayed":0,"held":0,"dead":0/)
  })
})
