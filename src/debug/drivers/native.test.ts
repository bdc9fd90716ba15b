/** What is said of machine code that cannot be looked into: each one sentence, and what to do. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { after, before, suite, test } from 'node:test'
import { systemClock, systemRandom } from '../../base/index.ts'
import { symbolsOf } from '../native/elf.ts'
import { findProcess, readProcess } from './proc.ts'
import { nativeRecipe } from './native.ts'
import { elfOf } from './program-file.ts'

const tool = { kind: 'lldb', path: '/bin/true' } as const
const recipeWith = (found: typeof tool | null): ReturnType<typeof nativeRecipe> =>
  nativeRecipe({ clock: systemClock, random: systemRandom, debugger: found })

suite('machine code that cannot be looked into', () => {
  let child: ChildProcess
  const pid = (): number => child.pid ?? 0
  before(async () => {
    child = spawn('/bin/sleep', ['300'], { stdio: 'ignore' })
    await once(child, 'spawn')
  })
  after(() => child.kill('SIGKILL'))

  test('a program without symbols', async (context) => {
    const facts = readProcess(pid())
    const elf = elfOf(facts)
    if (elf === null || symbolsOf(elf) !== 'none') return context.skip('the sleep of this machine has symbols')
    const found = await recipeWith(tool).find(facts)
    assert.deepEqual(found?.can, [])
    assert.match(found.cannot.stack?.reason ?? '', /sleep was stripped of its symbols$/)
    assert.match(found.cannot.stack?.hint ?? '', /^Keep them: build with -g/)
    await assert.rejects(recipeWith(tool).attach(facts), { code: 'debug.refused', message: /was stripped/, hint: /-g/ })
  })

  test('a shell, of which nobody has the symbols', async (context) => {
    const shell = spawn('/bin/sh', ['-c', 'read line'], { stdio: ['pipe', 'ignore', 'ignore'] })
    try {
      await once(shell, 'spawn')
      const facts = readProcess(shell.pid ?? 0)
      const elf = elfOf(facts)
      if (elf === null || symbolsOf(elf) !== 'none') return context.skip('the shell of this machine has symbols')
      const found = await recipeWith(tool).find(facts)
      assert.match(found?.cannot.stack?.reason ?? '', /is a shell \(.*\), which shows nothing of its script$/)
      assert.match(found?.cannot.stack?.hint ?? '', /`exec`/)
    } finally {
      shell.kill('SIGKILL')
    }
  })

  test('a machine without a debugger', async () => {
    const found = await recipeWith(null).find(readProcess(pid()))
    assert.match(found?.cannot.dap?.reason ?? '', /has neither gdb 14 or newer nor lldb-dap/)
    assert.match(found?.cannot.dap?.hint ?? '', /apt-get install lldb-19/)
  })

  test('a program that is for another recipe', async () => {
    assert.equal(await recipeWith(tool).find(readProcess(process.pid)), null)
  })

  test('a name that nothing has, and a process that has ended', async () => {
    assert.throws(() => findProcess('no-such-program'), {
      code: 'debug.no-process',
      message: /no process no-such-program/,
    })
    const facts = readProcess(pid())
    const gone = once(child, 'exit')
    child.kill('SIGKILL')
    await gone
    await assert.rejects(recipeWith(tool).attach(facts), { code: 'debug.process-gone' })
  })
})
