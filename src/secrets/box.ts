/** Sealed texts outside a store: a file that holds credentials, such as a node's plan. Pure but for where its key is kept. */
import { z } from 'zod'
import { messageOf, type Random } from '../base/index.ts'
import { newKey, open, seal, type Sealed } from './envelope.ts'
import { failure } from './errors.ts'
import type { KeySource } from './keys.ts'

/** Seals and opens texts with one key. What a text is (`what`) is bound to it. */
export interface Box {
  seal(what: string, text: string): Sealed
  /** Throws `secrets.damaged`, `secrets.wrong-key`. */
  open(what: string, sealed: unknown): string
}

const sealedSchema: z.ZodType<Sealed> = z.object({ key: z.string(), wrapped: z.string(), value: z.string() })

/** The box of a key, which is made on first use. Throws as the source does. */
export async function openBox(keys: KeySource, random: Random): Promise<Box> {
  const ring = (await keys.read()) ?? (await keys.writeFirst([newKey(random)]))
  const [key] = ring
  if (key === undefined) throw failure('no-key', `${keys.place} holds no key`, 'Put the key file back.')
  const binding = (what: string): { app: string; name: string; version: number } => ({
    app: 'box',
    name: what,
    version: 1,
  })
  return {
    seal: (what, text) => seal(Buffer.from(text), binding(what), key, random),
    open(what, sealed) {
      const parsed = sealedSchema.safeParse(sealed)
      if (parsed.success) return open(parsed.data, binding(what), ring).toString()
      throw failure(
        'damaged',
        `${what} is not sealed as it should be: ${messageOf(parsed.error).slice(0, 100)}`,
        'It was changed or cut.',
      )
    },
  }
}
