/**
 * What is sent to a server to look into a process there: one look, told by the words of its command line, over its standard
 * streams. Part of no installation; whoever sent it removes it.
 *
 * Invariants: an answer is one JSON value, or the bytes of the Debug Adapter Protocol; what is said meanwhile are lines of the
 * error output, and a failure is the last of them. When the input ends, so does the look, with what there is.
 */
import { duplexPair } from 'node:stream'
import { isSteadError, messageOf, systemClock, systemRandom } from '../../base/index.ts'
import {
  type Ability,
  abilityOf,
  allRecipes,
  type Attachment,
  chooseRecipe,
  demand,
  findProcess,
  readProcess,
} from '../../debug/index.ts'
import type { DebugLook } from '../../protocol/index.ts'

/** Begins the line that says what failed. */
const failureSign = '!'

async function main([target = '', told = '{}']: readonly string[]): Promise<number> {
  // Its own sender wrote it.
  const look = JSON.parse(told) as DebugLook
  const facts = readProcess(findProcess(target))
  const chosen = await chooseRecipe(await allRecipes({ clock: systemClock, random: systemRandom }), facts)
  if (look.what === 'find') return answer({ finding: chosen.finding, pid: facts.pid })
  demand(chosen, abilityFor(look))
  await using attached = await chosen.recipe.attach(facts)
  for (const effect of attached.effects) process.stderr.write(`${effect}\n`)
  if (look.what === 'dap') {
    const [client, far] = duplexPair()
    process.stdin.pipe(far).pipe(process.stdout)
    return (await attached.serveDap(client)) ? 0 : 1
  }
  return answer(await answerTo(attached, look))
}

function abilityFor(look: Exclude<DebugLook, { what: 'find' }>): Ability {
  return look.what === 'profile' ? abilityOf(look.profile) : look.what
}

async function answerTo(attached: Attachment, look: Exclude<DebugLook, { what: 'find' | 'dap' }>): Promise<unknown> {
  const asked = new AbortController()
  process.stdin.on('end', () => asked.abort()).resume()
  switch (look.what) {
    case 'stack':
      return await attached.stack()
    case 'profile':
      return await attached.profile({ kind: look.profile, durationMs: look.durationMs }, asked.signal)
    case 'snapshot': {
      const { condition, what: _what, ...request } = look
      return await attached.snapshot(condition === null ? request : { ...request, condition }, asked.signal)
    }
  }
}

function answer(value: unknown): number {
  process.stdout.write(JSON.stringify(value))
  return 0
}

// The room's timers keep no process alive.
const awake = setInterval(() => undefined, 60_000)
try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  const { code = 'cli.look-failed', hint } = isSteadError(error) ? error : {}
  process.stderr.write(`${failureSign}${JSON.stringify({ code, message: messageOf(error), hint })}\n`)
  process.exitCode = 1
} finally {
  clearInterval(awake)
  process.stdin.destroy()
}
