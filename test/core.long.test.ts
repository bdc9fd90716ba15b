/**
 * A core file from the end of a part to the values in an editor. The kernel's one setting for a whole machine is changed for the time
 * of the test, so that it runs where that was asked for: on machines of CI, and with STEAD_TEST_CORES=1.
 */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { DapClient, listIn } from '../src/debug/dap-client.conformance.ts'
import { eventually, freePort, Workbench } from './command-line.ts'
import { needsAll, needsFile, needsRoot } from './needs.ts'
import { appFile } from './small-app.ts'

const pattern = '/proc/sys/kernel/core_pattern'
const source = `#include <stdio.h>
#include <unistd.h>
struct order { int id; const char *who; };
static void pay(struct order *order, int amount) {
  int left = amount - 7;
  printf("%d\\n", order->id);
  fflush(stdout);
  *(volatile int *)0 = left;
}
int main(void) {
  struct order order = {42, "ann"};
  sleep(1);
  pay(&order, 100);
}
`
const asked = process.env['CI'] === 'true' || process.env['STEAD_TEST_CORES'] === '1'
const skip = needsAll(
  needsRoot(),
  asked ? false : "needs to change this machine's kernel.core_pattern for a while: STEAD_TEST_CORES=1 allows it",
  needsFile('/usr/bin/bwrap', 'install bubblewrap'),
  needsFile('/usr/bin/gcc', 'apt-get install gcc'),
  needsFile('/usr/bin/lldb-dap-19', 'scripts/setup.mjs --debuggers'),
)

test('a core file is kept where it is wanted and allowed, and opened', { skip }, async () => {
  await using bench = new Workbench()
  const former = readFileSync(pattern, 'utf8')
  const declared = `const web = service('web', { from: './web', run: ['./pay'], limits: { core: '50MB' } })`
  bench.write({ 'app.ts': appFile(declared, '{ parts: { web } }'), 'web/pay.c': source })
  const program = join(bench.appDir, 'web/pay')
  execFileSync('gcc', ['-g', '-O0', '-o', program, `${program}.c`])
  try {
    const before = await bench.stead('core', '--json')
    assert.equal(JSON.parse(before.stdout).kept, false)
    const first = bench.up('--port', String(await freePort()))
    // Not allowed: that is said once it starts, and nothing is kept.
    await first.until(/small runs, after/)
    const said = async (): Promise<string> => (await bench.stead('logs', 'web')).stdout
    await eventually('the note', said, (text) => /no core file would be kept: .*`stead core --on`/.test(text))
    const none = await bench.stead('core', 'web')
    assert.match(none.stderr, /no core file of web is kept/)
    await first.stop()

    assert.equal((await bench.stead('core', '--on')).code, 0)
    const second = bench.up('--port', String(await freePort()))
    await second.until(/small runs, after/)
    const why = async (): Promise<string> => (await bench.stead('why', 'web', '--json')).stdout
    const text = await eventually('a core', why, (found) => found.includes('"core":{'))
    const { core, sentence } = JSON.parse(text)
    assert.match(sentence, /SIGSEGV/)
    assert.ok(core.bytes > 100_000 && core.isCut === false, text)
    const file = join(bench.dir, 'web.core')
    const fetched = await bench.stead('core', 'web', '--out', file)
    assert.equal(fetched.code, 0, fetched.stderr)
    assert.deepEqual([statSync(file).mode & 0o777, statSync(file).size], [0o600, core.bytes])
    await second.stop()

    const stack = await bench.stead('stack', '--core', file, '--program', program)
    assert.match(stack.stdout, /^ {2}pay .*pay\.c:8$/m, stack.stderr)
    const wrong = await bench.stead('stack', '--core', program, '--program', program)
    assert.match(wrong.stderr, /is no core file/)

    const debug = bench.start('debug', '--core', file, '--program', program, '--json')
    await debug.until(/"port":\d+/)
    const client = DapClient.to(Number(/"port":(\d+)/.exec(debug.output())?.[1]))
    await client.ask('initialize', { adapterID: 'native' })
    await client.ask('attach', {})
    await client.ask('configurationDone')
    const { threadId } = await client.event('stopped')
    const frames = listIn(await client.ask('stackTrace', { threadId }), 'stackFrames')
    const at = frames.findIndex(({ name }) => name === 'pay')
    const { result } = await client.ask('evaluate', { expression: 'amount', frameId: frames[at]?.['id'] })
    assert.match(String(result), /100/)
    await client.ask('disconnect')
  } finally {
    await bench.stead('core', '--off')
    assert.equal(readFileSync(pattern, 'utf8'), former)
  }
})
