/** What the commands that look into a process share: which process is meant, and a hold on it for as long as they run. */
import { systemClock, systemRandom } from '../base/index.ts'
import { type Ability, type Attachment, chooseRecipe, demand, nodeRecipe, readProcess } from '../debug/index.ts'
import type { Command, Input } from './command.ts'
import { helpOf, usage } from './command.ts'
import { note } from './terminal.ts'

const pidMax = 2 ** 22

/** The option that all of them have. */
export const pidOption: Command['options'] = { pid: { type: 'string' } }

/** Attaches to the process that was named. Throws what a person can mend. */
export async function attachTo(input: Input, command: Command, ability: Ability): Promise<Attachment> {
  const pid = input.number('pid', 1, pidMax)
  if (pid === null) throw usage(`stead ${command.name} needs --pid and the id of a process`, helpOf(command))
  const recipes = [nodeRecipe({ clock: systemClock, random: systemRandom })]
  const facts = readProcess(pid)
  const chosen = await chooseRecipe(recipes, facts)
  demand(chosen, ability)
  const attached = await chosen.recipe.attach(facts)
  if (!input.json)
    for (const effect of attached.effects) note(`process ${pid} (${attached.language} ${attached.version}) ${effect}`)
  return attached
}

/** Aborts when the person presses Ctrl-C, once; a second one ends the command at once. */
export function untilInterrupted(): AbortSignal {
  const controller = new AbortController()
  const stop = (): void => controller.abort()
  process.once('SIGINT', stop)
  process.once('SIGTERM', stop)
  return controller.signal
}

/** Keeps the command alive while it waits for a process: the room's timers and sockets do not. */
export function awake(): Disposable {
  const timer = setInterval(() => undefined, 60_000)
  return { [Symbol.dispose]: () => clearInterval(timer) }
}
