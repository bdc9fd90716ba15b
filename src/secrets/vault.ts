/**
 * The vault: encrypted, versioned secrets as records of a store, on any of its drivers.
 *
 * Invariants: no value is in the store but sealed; a change is one conditional write of one record, guarded as the owner
 * of the vault wants it (a lease); a version number is never given out twice; every opening of a value is told to
 * `onRead` before the value is handed out.
 */
import type { Clock, Json, Random } from '../base/index.ts'
import type { Condition, Operation, Store } from '../store/index.ts'
import { newKey, open, rewrap, seal, type Sealed, type WrappingKey } from './envelope.ts'
import { failure } from './errors.ts'
import type { KeySource } from './keys.ts'
import { emptyRecord, parseRecord, type SecretRecord, type Source } from './record.ts'
import { type RotationEvent, type Rotation, stepRotation } from './rotation.ts'

/** Largest value, bytes. */
export const valueBytesMax = 65_536
/** Versions that are kept, the current one included, beside those that a rotation still needs. */
export const versionsKept = 5
/** Most versions of one secret at one time; more are refused until consumers have changed over. */
const versionsMax = 8
const nameBytesMax = 200
/** Lost races after which a change is given up. */
const triesMax = 8
/** Records that one transaction changes while the key is changed: their sizes together stay within the store's limit. */
const rewrapBatch = 8
/** Records that one transaction deletes. */
const forgetBatch = 128

const recordPrefix = 'secret/'
const markerKey = 'secrets'
const markerBinding = { app: '', name: 'vault', version: 1 }

/** Names a secret. */
export interface SecretRef {
  readonly app: string
  /** Lower-case letters, digits, dashes, in segments parted by slashes. */
  readonly name: string
}

/** That a value was opened. */
export interface SecretRead extends SecretRef {
  readonly version: number
  /** Who wanted it, and for what. */
  readonly by: string
}

/** What may be shown of a secret. */
export interface SecretInfo extends SecretRef {
  /** 0: it has no value. */
  readonly current: number
  readonly rotation: Rotation
  /** Oldest first. */
  readonly versions: readonly { readonly version: number; readonly createdMs: number; readonly source: Source }[]
}

export interface VaultOptions {
  readonly store: Store
  readonly keys: KeySource
  readonly clock: Clock
  readonly random: Random
  /** Conditions that hold every write: a lease that fences a vault that has been replaced. */
  readonly guard?: () => readonly Condition[]
  readonly onRead: (read: SecretRead) => void
}

export interface Vault {
  /** All secrets, or those of one app, by name. */
  list(app?: string): Promise<readonly SecretInfo[]>
  /** What is known of one; null when it was never given a value, or was removed. */
  info(ref: SecretRef): Promise<SecretInfo | null>
  /** Opens a version; the current one without a number. Throws `secrets.unknown`, `secrets.damaged`, `secrets.wrong-key`. */
  read(ref: SecretRef, by: string, version?: number): Promise<{ readonly version: number; readonly value: Buffer }>
  /** Gives it a new current value. Answers the version. Throws `secrets.bad-value`, `secrets.rotating`. */
  set(ref: SecretRef, value: Uint8Array, source: Source): Promise<number>
  /** Gives a first value to those that have none. Answers those it made. */
  ensure(refs: readonly SecretRef[], make: (ref: SecretRef) => Uint8Array): Promise<readonly SecretRef[]>
  /** Takes a step of its rotation. `make` is called when a new version is due. Answers where it stands then. */
  advance(ref: SecretRef, event: Exclude<RotationEvent, 'set'>, make: () => Uint8Array): Promise<SecretInfo>
  /** Forgets all its values. Throws `secrets.unknown`. */
  remove(ref: SecretRef): Promise<void>
  /** Forgets everything of an app, the numbers of its versions too. */
  forget(app: string): Promise<void>
  /** Changes the vault's key. Resumable: a change that was cut off is finished when the vault is opened. */
  changeKey(): Promise<void>
}

/**
 * Opens the vault of a store. The key is made when neither the store nor the source has one. Throws `secrets.no-key`,
 * `secrets.wrong-key`, `secrets.key-exposed`, `secrets.bad-key-file`; nothing is changed then.
 */
export async function openVault(options: VaultOptions): Promise<Vault> {
  const { store, keys, random } = options
  const marker = await store.get(markerKey)
  const found = await keys.read()
  if (found === null && marker !== null) {
    throw failure(
      'no-key',
      `the store holds sealed secrets, and the key file ${keys.place} is not there`,
      'Put it back from its copy: without it they cannot be read. Nothing was changed.',
    )
  }
  // The key is on the disk before anything is sealed with it.
  const ring = found ?? (await keys.writeFirst([newKey(random)]))
  if (marker !== null) checkMarker(marker.value, ring, keys.place)
  const vault = new StoreVault(options, ring)
  await vault.settle(marker?.revision ?? 0)
  return vault
}

function checkMarker(marker: Json, ring: readonly WrappingKey[], place: string): void {
  const sealed = marker as unknown as Sealed
  if (ring.some((key) => key.id === sealed.key)) return void open(sealed, markerBinding, ring)
  throw failure(
    'wrong-key',
    `${place} is not the key file of this store: it holds the key ${ring[0]?.id}, and the secrets were sealed with ${sealed.key}`,
    'Put the right key file in its place. Nothing was changed.',
  )
}

class StoreVault implements Vault {
  readonly #options: VaultOptions
  #ring: readonly WrappingKey[]

  constructor(options: VaultOptions, ring: readonly WrappingKey[]) {
    this.#options = options
    this.#ring = ring
  }

  get #key(): WrappingKey {
    const [key] = this.#ring
    if (key === undefined) throw failure('no-key', 'the vault has no key', 'Put its key file back.')
    return key
  }

  /** Writes the marker of a new vault, and finishes a change of the key that was cut off. */
  async settle(markerRevision: number): Promise<void> {
    if (this.#ring.length > 1) return this.#finishKeyChange()
    if (markerRevision === 0) await this.#commit([], [this.#marker()])
  }

  async list(app?: string): Promise<readonly SecretInfo[]> {
    const prefix = app === undefined ? recordPrefix : `${recordPrefix}${app}/`
    const { entries } = await this.#options.store.list(prefix)
    return entries.flatMap((entry) => {
      const ref = refOf(entry.key)
      const record = parseRecord(ref, entry.value)
      return record.current === 0 && record.versions.length === 0 ? [] : [infoOf(ref, record)]
    })
  }

  async info(ref: SecretRef): Promise<SecretInfo | null> {
    const { record } = await this.#load(ref)
    return record.versions.length === 0 ? null : infoOf(ref, record)
  }

  async read(ref: SecretRef, by: string, wanted?: number): Promise<{ version: number; value: Buffer }> {
    const { record } = await this.#load(ref)
    const version = wanted ?? record.current
    const found = record.versions.find((candidate) => candidate.version === version)
    if (found === undefined) throw unknown(ref, wanted)
    const value = open(found.sealed, { ...ref, version }, this.#ring)
    this.#options.onRead({ app: ref.app, name: ref.name, version, by })
    return { version, value }
  }

  async set(ref: SecretRef, value: Uint8Array, source: Source): Promise<number> {
    checkValue(ref, value)
    const { current } = await this.#change(ref, (record) => this.#step(ref, record, 'set', () => value, source))
    return current
  }

  async ensure(refs: readonly SecretRef[], make: (ref: SecretRef) => Uint8Array): Promise<readonly SecretRef[]> {
    const made: SecretRef[] = []
    for (const ref of refs) {
      const { record } = await this.#load(ref)
      if (record.current > 0) continue
      await this.#change(ref, (now) =>
        now.current > 0 ? now : this.#step(ref, now, 'set', () => make(ref), 'generated'),
      )
      made.push(ref)
    }
    return made
  }

  async advance(ref: SecretRef, event: RotationEvent, make: () => Uint8Array): Promise<SecretInfo> {
    const record = await this.#change(ref, (now) => {
      if (now.versions.length === 0) throw unknown(ref, undefined)
      return this.#step(ref, now, event, make, 'generated')
    })
    return infoOf(ref, record)
  }

  async remove(ref: SecretRef): Promise<void> {
    await this.#change(ref, (record) => {
      if (record.versions.length === 0) throw unknown(ref, undefined)
      // The number goes on, so that a later version 1 is not taken for this one.
      return { ...emptyRecord, last: record.last }
    })
  }

  async forget(app: string): Promise<void> {
    const { entries } = await this.#options.store.list(`${recordPrefix}${app}/`)
    for (let from = 0; from < entries.length; from += forgetBatch) {
      const batch = entries.slice(from, from + forgetBatch)
      await this.#commit(
        [],
        batch.map(({ key }) => ({ kind: 'delete', key })),
      )
    }
  }

  async changeKey(): Promise<void> {
    const fresh = newKey(this.#options.random)
    await this.#options.keys.write([fresh, ...this.#ring])
    this.#ring = [fresh, ...this.#ring]
    await this.#finishKeyChange()
  }

  /** Wraps every data key with the newest key, and only then lets go of the older ones. */
  async #finishKeyChange(): Promise<void> {
    const { keys } = this.#options
    for (let tries = 0; !(await this.#rewrapAll()); tries += 1) {
      if (tries < triesMax) continue
      const hint = 'It goes on when the vault is opened again.'
      throw failure('conflict', 'the key could not be changed: others change secrets all the time', hint, {
        retry: 'later',
      })
    }
    await this.#commit([], [this.#marker()])
    this.#ring = [this.#key]
    await keys.write(this.#ring)
  }

  /** False when a race was lost: what is done by then need not be done again. */
  async #rewrapAll(): Promise<boolean> {
    const { store, random } = this.#options
    const { entries } = await store.list(recordPrefix)
    for (let from = 0; from < entries.length; from += rewrapBatch) {
      const batch = entries.slice(from, from + rewrapBatch)
      const operations = batch.map(({ key, value }): Operation => {
        const ref = refOf(key)
        const record = parseRecord(ref, value)
        const versions = record.versions.map((each) => ({
          ...each,
          sealed: rewrap(each.sealed, { ...ref, version: each.version }, this.#ring, this.#key, random),
        }))
        return { kind: 'put', key, value: asJson({ ...record, versions }) }
      })
      const conditions = batch.map(({ key, revision }): Condition => ({ kind: 'revision', key, revision }))
      if (!(await this.#commit(conditions, operations))) return false
    }
    return true
  }

  #marker(): Operation {
    const value = seal(Buffer.from('stead'), markerBinding, this.#key, this.#options.random)
    return { kind: 'put', key: markerKey, value: asJson(value) }
  }

  /** The record after an event, its effects included. Throws `secrets.rotating` when it cannot be taken now. */
  #step(
    ref: SecretRef,
    record: SecretRecord,
    event: RotationEvent,
    make: () => Uint8Array,
    source: Source,
  ): SecretRecord {
    const next = record.last + 1
    const step = stepRotation(record.rotation, event, { current: record.current, next })
    if (step === null) {
      const hint = 'Wait until its rotation is through; `stead secret list` shows where it stands.'
      throw failure('rotating', `${ref.name} of ${ref.app} is just being rotated`, hint, { retry: 'later' })
    }
    let after: SecretRecord = { ...record, rotation: step.rotation }
    if (step.effects.includes('create')) after = this.#withVersion(ref, after, make(), source)
    if (step.effects.includes('publish')) after = { ...after, current: after.last }
    return pruned(ref, after)
  }

  #withVersion(ref: SecretRef, record: SecretRecord, value: Uint8Array, source: Source): SecretRecord {
    checkValue(ref, value)
    const version = record.last + 1
    const sealed = seal(value, { ...ref, version }, this.#key, this.#options.random)
    const made = { version, createdMs: this.#options.clock.nowMs(), source, sealed }
    return { ...record, last: version, versions: [...record.versions, made] }
  }

  async #load(ref: SecretRef): Promise<{ record: SecretRecord; revision: number }> {
    checkRef(ref)
    const entry = await this.#options.store.get(keyOfRef(ref))
    if (entry === null) return { record: emptyRecord, revision: 0 }
    return { record: parseRecord(ref, entry.value), revision: entry.revision }
  }

  async #change(ref: SecretRef, change: (record: SecretRecord) => SecretRecord): Promise<SecretRecord> {
    const key = keyOfRef(ref)
    for (let tries = 0; tries < triesMax; tries += 1) {
      const { record, revision } = await this.#load(ref)
      const after = change(record)
      if (after === record) return record
      const done = await this.#commit(
        [{ kind: 'revision', key, revision }],
        [{ kind: 'put', key, value: asJson(after) }],
      )
      if (done) return after
    }
    const hint = 'Something else changes it all the time; try again.'
    throw failure('conflict', `${ref.name} of ${ref.app} could not be changed`, hint, { retry: 'now' })
  }

  /** False when a race was lost. Throws `secrets.replaced` when the guard does not hold any more. */
  async #commit(conditions: readonly Condition[], operations: readonly Operation[]): Promise<boolean> {
    const guard = this.#options.guard?.() ?? []
    const result = await this.#options.store.transact({ conditions: [...guard, ...conditions], operations })
    if (result.committed) return true
    if (result.failed.some((condition) => condition.kind === 'lease')) {
      throw failure('replaced', 'this vault belongs to another by now', 'This one stops and changes nothing.')
    }
    return false
  }
}

/** Drops versions that nobody can need any more. Throws `secrets.rotating` when too many may still be in use. */
function pruned(ref: SecretRef, record: SecretRecord): SecretRecord {
  const { rotation, current } = record
  const oldest = rotation.at === 'overlap' || rotation.at === 'revoking' ? rotation.from : current
  const versions = record.versions.filter(
    ({ version }, index) => version >= oldest || index >= record.versions.length - versionsKept,
  )
  if (versions.length <= versionsMax) return { ...record, versions }
  throw failure(
    'rotating',
    `${versions.length - 1} versions of ${ref.name} of ${ref.app} may still be in use`,
    'Wait until its consumers have the current one; `stead secret list` shows who has not.',
    { retry: 'later' },
  )
}

function infoOf({ app, name }: SecretRef, { current, rotation, versions }: SecretRecord): SecretInfo {
  return {
    app,
    name,
    current,
    rotation,
    versions: versions.map(({ version, createdMs, source }) => ({ version, createdMs, source })),
  }
}

function keyOfRef({ app, name }: SecretRef): string {
  return `${recordPrefix}${app}/${name}`
}

function refOf(key: string): SecretRef {
  const [app = '', ...rest] = key.slice(recordPrefix.length).split('/')
  return { app, name: rest.join('/') }
}

function asJson(value: SecretRecord | Sealed): Json {
  return value as unknown as Json
}

function checkRef({ app, name }: SecretRef): void {
  const fits = /^[a-z0-9][a-z0-9-]*$/.test(app) && /^[a-z0-9][a-z0-9_-]*(?:\/[a-z0-9][a-z0-9_-]*)*$/.test(name)
  if (fits && Buffer.byteLength(name) + Buffer.byteLength(app) <= nameBytesMax) return
  const shown = JSON.stringify(name.slice(0, 80))
  throw failure('bad-name', `${shown} is no name of a secret`, 'Lower-case letters, digits, dashes and underscores.')
}

/** Throws `secrets.bad-value` for a value that is empty or too large. */
export function checkValue(ref: Pick<SecretRef, 'app' | 'name'>, value: Uint8Array): void {
  if (value.length > 0 && value.length <= valueBytesMax) return
  const what = `secret ${ref.name} of ${ref.app} has ${value.length} bytes; it can have 1 to ${valueBytesMax}`
  const hint = value.length === 0 ? 'Set its value.' : 'Keep large things in a file of the app or in a database.'
  throw failure('bad-value', what, hint)
}

function unknown({ app, name }: SecretRef, version: number | undefined): Error {
  const what =
    version === undefined ? `${app} has no secret ${name} with a value` : `${name} of ${app} has no version ${version}`
  return failure('unknown', what, '`stead secret list` shows what there is.')
}
