/**
 * The attachment of a language that is debugged through an adapter. Invariant: between uses nothing is done to the process, and
 * nobody is attached to it: each use opens an adapter and lets go at its end.
 */
import type { Clock } from '../../base/index.ts'
import type { Attachment, ProcessFacts, Profile, ProfileRequest, StackReport } from '../recipe.ts'
import { processGone, refused } from '../refusals.ts'
import { snapshotOf, stackOf } from './look.ts'
import type { OpenAdapter } from './open.ts'
import { serveAdapter } from './serve.ts'

/** How often is looked whether the process is there. */
const aliveMs = 1000

export interface AdapterLanguage {
  readonly facts: ProcessFacts
  readonly clock: Clock
  readonly language: string
  readonly version: string
  readonly effects: readonly string[]
  /** Throws `debug.refused` where it cannot be debugged, with the reason. */
  readonly open: () => Promise<OpenAdapter>
  readonly isAlive: () => boolean
  /** Looks now, and answers for threads later. */
  readonly running: () => (name: string, index: number) => boolean
  readonly hide: (text: string) => string
  /** Other ways to a stack or a profile, where the language has one that costs less. */
  readonly stack?: () => Promise<StackReport>
  readonly profile?: (request: ProfileRequest, signal?: AbortSignal) => Promise<Profile>
  /** Why there is none, and what to do. */
  readonly noProfile: { readonly reason: string; readonly hint: string }
}

export function adapterAttachment(language: AdapterLanguage): Attachment {
  const { facts, clock, open, isAlive, hide } = language
  const under = new Set<Promise<unknown>>()
  const closing = new AbortController()
  const present = async <T>(use: () => Promise<T>): Promise<T> => {
    if (!isAlive()) throw processGone(facts)
    // Of a process that is gone everything fails, each in its own words.
    const used = use().catch((error: unknown): never => {
      throw isAlive() ? error : processGone(facts)
    })
    under.add(used)
    return await used.finally(() => under.delete(used))
  }
  const gone = new Promise<string>((resolve) => {
    const look = (): void => {
      if (closing.signal.aborted) return
      // Whoever uses it is told by his adapter.
      if (isAlive() || under.size > 0) clock.after(aliveMs, look)
      else resolve(`process ${facts.pid} ended`)
    }
    look()
  })
  return {
    language: language.language,
    version: language.version,
    effects: language.effects,
    lost: gone,
    stack: () =>
      present(
        language.stack ??
          (async () => ({ ...(await stackOf(await open(), clock, language.running())), waitingFor: [] })),
      ),
    snapshot: (request, signal) =>
      present(async () => {
        const asked = signal === undefined ? closing.signal : AbortSignal.any([signal, closing.signal])
        return await snapshotOf(await open(), clock, facts, request, hide, asked)
      }),
    profile: (request, signal) =>
      language.profile === undefined
        ? Promise.reject(refused(language.noProfile.reason, language.noProfile.hint))
        : present(() => language.profile?.(request, signal) ?? Promise.reject(processGone(facts))),
    serveDap: (client) =>
      present(async () => {
        const close = (): void => void client.destroy()
        closing.signal.addEventListener('abort', close, { once: true })
        try {
          return await serveAdapter(client, { clock, facts, open, isAlive, hide })
        } finally {
          closing.signal.removeEventListener('abort', close)
        }
      }),
    // Whoever comes next finds nobody attached.
    async [Symbol.asyncDispose]() {
      closing.abort()
      await Promise.allSettled(under)
    },
  }
}
