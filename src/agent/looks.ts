/**
 * People who look into programs of this node: stacks, values, profiles, debuggers, by the recipes of `debug`.
 *
 * Invariants: a look lives as long as the stream it was asked through; with it go breakpoints, pauses and probes, and the
 * program runs on. Secret values that this node was told are not handed on. While somebody may stand at a breakpoint the
 * program is not judged by whether it answers.
 */
import { type Duplex, duplexPair, PassThrough, pipeline, type Readable, Transform, type Writable } from 'node:stream'
import { sentencesOf } from '../base/index.ts'
import {
  type Ability,
  abilityOf,
  allRecipes,
  type Attachment,
  type Chosen,
  chooseRecipe,
  demand,
  type ProcessFacts,
  readProcess,
  type Recipe,
  type RecipesOptions,
  Standing,
} from '../debug/index.ts'
import type { DebugLook, StreamEnd } from '../protocol/index.ts'
import type { Sandbox } from '../sandbox/index.ts'
import type { Open } from './carried.ts'
import type { Hold } from './holds.ts'

/** What a stream says at its end when its client has said goodbye. */
const done: StreamEnd = { code: 0, signal: null, sentence: 'ended' }
const left: StreamEnd = { code: null, signal: null, sentence: 'the client went away' }

const abilities: Readonly<Record<Exclude<DebugLook['what'], 'find' | 'profile'>, Ability>> = {
  stack: 'stack',
  snapshot: 'snapshot',
  dap: 'dap',
}

export class Looks {
  readonly #options: Required<RecipesOptions>
  /** Found when they are first needed: tools of the machine are looked for. */
  #recipes: Promise<readonly Recipe[]> | null = null

  constructor(options: Required<RecipesOptions>) {
    this.#options = options
  }

  /** Begins a look. `hold` is taken while somebody may stop the program. */
  open(sandbox: Sandbox, look: DebugLook, hold: () => Hold): Open {
    const [near, far] = duplexPair()
    let held: Hold | null = null
    const client = look.what === 'dap' ? watched(near, (stands) => held?.stands(stands)) : { input: near, output: near }
    const { takeBack } = client
    const notes = new PassThrough()
    const asked = new AbortController()
    const chosen = this.#choose(sandbox)
    const attached = chosen.then(({ facts, ...found }) => (look.what === 'find' ? null : attach(found, facts, look)))
    const work = async (): Promise<StreamEnd> => {
      await using attachment = await attached
      for (const effect of attachment?.effects ?? []) notes.write(`${effect}\n`)
      if (look.what === 'dap') {
        using own = hold()
        held = own
        return (await attachment?.serveDap(far)) === true ? done : left
      }
      // The end of the input is a wish to end soon, with what there is.
      far.on('end', () => asked.abort()).resume()
      far.write(JSON.stringify(await answerTo(look, attachment, await chosen, asked.signal)))
      return done
    }
    const ended = work().finally(() => {
      notes.end()
      far.end()
    })
    return {
      input: client.input,
      outputs: [
        { to: 'out', from: client.output },
        { to: 'err', from: notes },
      ],
      terminal: false,
      resize() {},
      ...(takeBack === undefined ? {} : { takeBack }),
      opened: attached.then(() => undefined, explained),
      ended,
      async kill() {
        asked.abort()
        far.destroy()
        near.destroy()
        await ended.catch(() => undefined)
      },
    }
  }

  /**
   * The program itself, or the first below it that can be looked into: programs are started through shells and package
   * managers. Where none can, what is said of the first that is known.
   */
  async #choose(sandbox: Sandbox): Promise<Found> {
    const facts = readProcess(sandbox.pid)
    const recipes = await (this.#recipes ??= allRecipes(this.#options))
    let first: Found | null = null
    for (const pid of [sandbox.pid, ...sandbox.members()]) {
      const found = await known(recipes, pid)
      if (found !== null && found.finding.can.length > 0) return found
      first ??= found
    }
    return first ?? { ...(await chooseRecipe(recipes, facts)), facts }
  }
}

type Found = Chosen & { readonly facts: ProcessFacts }

/** The client's end of a look. */
interface ClientEnd {
  readonly input: Writable
  readonly output: Readable
  readonly takeBack?: () => number
}

/**
 * The client's end of a debugger's session, of which `onStands` is told whether the program stands. Messages go in whole: whoever
 * records them elsewhere and this end begin at the same place after a line was lost.
 */
function watched(near: Duplex, onStands: (stands: boolean) => void): ClientEnd {
  const standing = new Standing(onStands)
  let unfinished: Buffer = Buffer.alloc(0)
  const input = new Transform({
    transform(bytes: Buffer, _encoding, next) {
      const all = Buffer.concat([unfinished, bytes])
      const whole = all.length - standing.asked(bytes)
      unfinished = all.subarray(whole)
      next(null, all.subarray(0, whole))
    },
  })
  const output = new Transform({
    transform(bytes: Buffer, _encoding, next) {
      standing.answered(bytes)
      next(null, bytes)
    },
  })
  // Whichever goes away, the session ends with it.
  pipeline(input, near, output, () => near.destroy())
  return {
    input,
    output,
    takeBack() {
      const { length } = unfinished
      unfinished = Buffer.alloc(0)
      standing.askedAnew()
      return length
    },
  }
}

async function known(recipes: readonly Recipe[], pid: number): Promise<Found | null> {
  try {
    const facts = readProcess(pid)
    return { ...(await chooseRecipe(recipes, facts)), facts }
  } catch {
    // Of another language, or gone.
    return null
  }
}

function attach(chosen: Chosen, facts: ProcessFacts, look: Exclude<DebugLook, { what: 'find' }>): Promise<Attachment> {
  demand(chosen, look.what === 'profile' ? abilityOf(look.profile) : abilities[look.what])
  return chosen.recipe.attach(facts)
}

async function answerTo(
  look: Exclude<DebugLook, { what: 'dap' }>,
  attachment: Attachment | null,
  { finding, facts }: Found,
  signal: AbortSignal,
): Promise<unknown> {
  if (look.what === 'find' || attachment === null) return { finding, pid: facts.pid, innerPid: facts.innerPid }
  switch (look.what) {
    case 'stack':
      return await attachment.stack()
    case 'profile':
      return await attachment.profile({ kind: look.profile, durationMs: look.durationMs }, signal)
    case 'snapshot': {
      const { condition, what: _what, ...request } = look
      return await attachment.snapshot(condition === null ? request : { ...request, condition }, signal)
    }
  }
}

/** A stream is refused with one text: the hint goes into it. */
function explained(error: unknown): never {
  throw new Error(sentencesOf(error), { cause: error })
}
