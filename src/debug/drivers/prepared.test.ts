/** Programs in languages that have to be prepared, and were not: what is said, and that nothing is done to them. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { suite, test } from 'node:test'
import { isSteadError, systemClock } from '../../base/index.ts'
import { needsFile } from '../../../test/needs.ts'
import { languagesOf, preparedLanguages, prepareFor } from '../prepare.ts'
import type { Recipe } from '../recipe.ts'
import { javaRecipe } from './java.ts'
import { isAlive, readProcess } from './proc.ts'
import { pythonRecipe } from './python.ts'
import { rubyRecipe } from './ruby.ts'

async function started(argv: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<ChildProcess> {
  const [command = '', ...args] = argv
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'ignore'], env: { PATH: '/usr/bin:/bin', ...env } })
  // It has said a line: what it starts with has been read.
  await once(child.stdout ?? child, 'data')
  return child
}

/** Asserts that it cannot be debugged, for that reason and with that hint, and that it runs on. */
async function refuses(recipe: Recipe, child: ChildProcess, reason: RegExp, hint: RegExp): Promise<void> {
  try {
    const facts = readProcess(child.pid ?? 0)
    const found = await recipe.find(facts)
    assert.equal(found?.can.includes('dap'), false)
    assert.match(found?.cannot.dap?.reason ?? '', reason)
    assert.match(found?.cannot.dap?.hint ?? '', hint)
    if (found?.can.length === 0) {
      await assert.rejects(recipe.attach(facts), (error) => isSteadError(error) && reason.test(error.message))
    }
    assert.ok(isAlive(facts))
  } finally {
    child.kill('SIGKILL')
  }
}

suite('programs that were not prepared are refused', () => {
  const debugpy = '/nowhere'
  test('Ruby', { skip: needsFile('/usr/bin/ruby', 'apt-get install ruby') }, async () => {
    const child = await started(['/usr/bin/ruby', '-e', '$stdout.sync = true; puts 1; sleep'])
    await refuses(rubyRecipe({ clock: systemClock }), child, /without the hook/, /--prepare DIR/)
  })

  test('Python before 3.14', { skip: needsFile('/usr/bin/python3.11', 'apt-get install python3') }, async () => {
    const child = await started(['/usr/bin/python3.11', '-c', 'import time; print(1, flush=True); time.sleep(60)'])
    const recipe = pythonRecipe({ clock: systemClock, pySpy: null, debugpy })
    await refuses(recipe, child, /without the hook .* before 3\.14/, /--prepare DIR/)
  })

  test(
    'a program that keeps no door is not sent the signal',
    { skip: needsFile('/usr/bin/ruby', 'apt-get install ruby') },
    async () => {
      // The variable alone says nothing: who has no handler would end by the signal.
      const child = await started(['/usr/bin/ruby', '--disable=rubyopt', '-e', '$stdout.sync = true; puts 1; sleep'], {
        RUBYOPT: '-r/x/stead-debug/door.rb',
      })
      await refuses(rubyRecipe({ clock: systemClock }), child, /without the hook/, /--prepare DIR/)
    },
  )

  test(
    'a Java machine, by what it was started with',
    { skip: needsFile('/usr/bin/java', 'apt-get install openjdk-17-jre-headless') },
    async () => {
      const source = `${import.meta.dirname}/../fixtures/Waits.java`
      const plain = await started(['/usr/bin/java', '-Xmx64m', source])
      await refuses(javaRecipe({ clock: systemClock }), plain, /agent that it was started with/, /JAVA_TOOL_OPTIONS=/)
      // What would listen for everybody of this machine, for ever, is not asked to.
      const { env } = prepareFor('java', '/x', {})
      const waiting = await started(['/usr/bin/java', '-Xmx64m', source], env)
      await refuses(javaRecipe({ clock: systemClock }), waiting, /no password and stays open/, /network of its own/)
    },
  )
})

test('what a program was started with otherwise is kept', () => {
  const own = { PYTHONPATH: '/lib', RUBYOPT: '-W0', JAVA_TOOL_OPTIONS: '-Xmx1g' }
  const env = Object.assign({}, ...preparedLanguages.map((language) => prepareFor(language, '/d', own).env))
  assert.equal(env.PYTHONPATH, '/d/stead-debug:/lib')
  assert.equal(env.RUBYOPT, '-r/d/stead-debug/door.rb -W0')
  assert.match(env.JAVA_TOOL_OPTIONS, /^-agentlib:jdwp=\S+onjcmd=y\S+ -Xmx1g$/)
  const agent = { JAVA_TOOL_OPTIONS: '-agentlib:jdwp=transport=dt_socket,server=y' }
  assert.deepEqual(prepareFor('java', '/d', agent).env, {})
})

test('a program is prepared for the languages that it may be in', () => {
  const cases: readonly (readonly [program: string, languages: readonly string[]])[] = [
    ['/usr/bin/node', []],
    ['java', ['java']],
    ['/usr/bin/ruby3.1', ['ruby']],
    ['bundle', ['ruby']],
    ['python3', ['python']],
    ['/bin/sh', ['python']],
  ]
  for (const [program, languages] of cases) assert.deepEqual(languagesOf([program, 'x']), languages, program)
})
