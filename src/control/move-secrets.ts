/**
 * Moves what an earlier release kept in plain text in its records into the vault, at the start of control.
 *
 * Invariant: a value is in the vault before it goes from its record, so a crash in between loses nothing; what is in the
 * vault already is not overwritten; and at the end the store is asked to leave nothing of the old values on the disk.
 */
import { isSteadError } from '../base/index.ts'
import { parseGraph } from '../model/index.ts'
import type { Vault } from '../secrets/index.ts'
import type { Lease, Operation, Store } from '../store/index.ts'
import { adminName, consumerName } from './credentials.ts'
import type { ResourceType } from './derive.ts'
import { keys, put, writeAll } from './records.ts'
import type { DesiredApp, PartIdentity } from './state.ts'

const prefix = 'identity/'

/** An identity as the first release wrote it. */
interface PlainIdentity extends PartIdentity {
  readonly adminPassword?: string
  readonly passwords?: Readonly<Record<string, string>>
}

/** Moves all there are. Answers how many records it cleaned. */
export async function moveSecrets(
  store: Store,
  lease: Lease,
  vault: Vault,
  types: readonly ResourceType[],
): Promise<number> {
  const { entries } = await store.list(prefix)
  const plain = entries.filter(({ value }) => (value as unknown as PlainIdentity).adminPassword !== undefined)
  if (plain.length === 0) return 0
  const operations: Operation[] = []
  for (const { key, value } of plain) {
    const identity = value as unknown as PlainIdentity
    const [app = '', part = ''] = key.slice(prefix.length).split('/')
    for (const [name, text] of valuesOf(part, await typeOf(store, app, part), identity, types))
      await vault.ensure([{ app, name }], () => Buffer.from(text))
    operations.push(put(key, { hostUid: identity.hostUid, edge: identity.edge }))
  }
  await writeAll(store, lease, operations)
  await store.scrub()
  return plain.length
}

/** What an identity holds, by the names it has in the vault. */
function valuesOf(
  part: string,
  type: string | null,
  { adminPassword = '', passwords = {} }: PlainIdentity,
  types: readonly ResourceType[],
): readonly (readonly [string, string])[] {
  // Parts that run had a password too, which nothing was ever done with.
  if (type === null) return []
  if (types.find((known) => known.type === type)?.credential === 'shared') return [[part, adminPassword]]
  const consumers = Object.entries(passwords).map(([consumer, text]) => [consumerName(part, consumer), text] as const)
  return [[adminName(part), adminPassword], ...consumers]
}

/** The type of a resource; null for a part that is none. One that is no part of the app any more counts as having logins. */
async function typeOf(store: Store, app: string, part: string): Promise<string | null> {
  const record = (await store.get(keys.app(app)))?.value as unknown as DesiredApp | undefined
  if (record === undefined) return ''
  try {
    const found = (await parseGraph(record.graph)).parts.find((candidate) => candidate.name === part)
    if (found === undefined) return ''
    return found.kind === 'resource' ? found.type : null
  } catch (error) {
    if (!isSteadError(error)) throw error
    return ''
  }
}
