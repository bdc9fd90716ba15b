/**
 * The secrets of all apps, as control works with them: opened once, kept in memory, changed only through the vault. What
 * people ask (set, rotate, export ...) and the steps of rotations come together here.
 *
 * Invariants: memory follows the vault and never leads it; changes come one after another with all others of control.
 */
import { assert, isSteadError, type Random, randomPassword, SteadError } from '../base/index.ts'
import type { Graph, ResourcePart } from '../model/index.ts'
import type { Grant } from '../provider/index.ts'
import {
  decryptWith,
  encryptFor,
  type SecretInfo,
  secretPolicy,
  type SecretRef,
  type Source,
  type Vault,
} from '../secrets/index.ts'
import { adminName, type Credential, consumerName, meaningOf, pinOf, userOf } from './credentials.ts'
import { consumersOf, type ResourceType } from './derive.ts'
import { describeRotation, type RotationTask, rotationTasks } from './rotations.ts'
import { type ControlState, operatorConsumer, partKey } from './state.ts'

/** What may be shown of one secret or login. */
export interface SecretView {
  /** `smtp-password`; a consumer's login of a database is `db/web`. */
  readonly name: string
  readonly kind: 'secret' | 'login'
  readonly from: 'generated' | 'operator'
  /** 0: it has no value. */
  readonly current: number
  readonly versions: readonly { readonly version: number; readonly createdMs: number; readonly source: Source }[]
  /** Who was given which version. */
  readonly users: readonly { readonly instance: string; readonly version: number }[]
  /** Where its rotation stands, or that its value cannot be opened; null when there is nothing to say. */
  readonly rotation: string | null
}

/** What came of asking for rotations. */
export interface RotateResult {
  /** Rotations that are under way now. */
  readonly started: readonly string[]
  /** What cannot be rotated, and why. */
  readonly refused: readonly { readonly name: string; readonly reason: string }[]
}

/** A value on its way to another machine. */
export interface SealedSecret {
  readonly name: string
  readonly source: Source
  /** In the format of age, armored. */
  readonly text: string
}

export interface SecretsOptions {
  readonly vault: Vault
  readonly random: Random
  readonly types: readonly ResourceType[]
  readonly state: () => ControlState
  /** Runs one change after another. */
  readonly exclusive: <T>(work: () => Promise<T>) => Promise<T>
  /** Asks for a turn. */
  readonly wake: () => void
}

const unreadable = 'its value cannot be opened, the record was damaged: give it a new one'

/** Opens everything there is. */
export async function openCredentials(vault: Vault): Promise<Map<string, Credential>> {
  const credentials = new Map<string, Credential>()
  for (const info of await vault.list()) credentials.set(partKey(info.app, info.name), await openOne(vault, info))
  return credentials
}

async function openOne(vault: Vault, info: SecretInfo): Promise<Credential> {
  const values = new Map<number, string>()
  for (const { version } of info.versions) {
    try {
      values.set(version, (await vault.read(info, 'control, for those who use it', version)).value.toString())
    } catch (error) {
      // One record that was damaged keeps its own users waiting, not every app; `list` says so.
      if (!isSteadError(error) || !['secrets.damaged', 'secrets.wrong-key'].includes(error.code)) throw error
    }
  }
  const current = info.versions.find(({ version }) => version === info.current)
  return {
    current: info.current,
    rotation: info.rotation,
    createdMs: current?.createdMs ?? 0,
    source: current?.source ?? 'generated',
    values,
  }
}

export class Secrets {
  readonly #options: SecretsOptions
  readonly #credentials: Map<string, Credential>

  constructor(options: SecretsOptions, credentials: Map<string, Credential>) {
    this.#options = options
    this.#credentials = credentials
  }

  /** Gives every resource of a graph what it lacks. Called before the graph is what the app should be. */
  async ensure(graph: Graph): Promise<void> {
    const resources = graph.parts.filter((part) => part.kind === 'resource')
    const refs = resources.flatMap((part) => this.#namesFor(graph, part).map((name) => ({ app: graph.app, name })))
    const missing = refs.filter(({ app, name }) => !this.#credentials.has(partKey(app, name)))
    await this.#options.vault.ensure(missing, () => this.#generate())
    for (const ref of missing) await this.#reload(ref)
  }

  /** Gives those secrets of a graph a value without meaning that a person would have to set: a branch gets none of them. */
  async placeholders(graph: Graph): Promise<void> {
    const resources = graph.parts.filter((part) => part.kind === 'resource' && this.#isShared(part))
    const refs = resources.map(({ name }) => ({ app: graph.app, name }))
    const missing = refs.filter(({ app, name }) => !this.#credentials.has(partKey(app, name)))
    await this.#options.vault.ensure(missing, () => this.#generate())
    for (const ref of missing) await this.#reload(ref)
  }

  #namesFor(graph: Graph, part: ResourcePart): readonly string[] {
    if (!this.#isShared(part)) {
      return [
        adminName(part.name),
        ...consumersOf(graph, part.name).map((consumer) => consumerName(part.name, consumer)),
      ]
    }
    return secretPolicy(part.config).from === 'operator' ? [] : [part.name]
  }

  #isShared(part: ResourcePart): boolean {
    return this.#options.types.find(({ type }) => type === part.type)?.credential === 'shared'
  }

  #generate(): Buffer {
    return Buffer.from(randomPassword(this.#options.random))
  }

  async #reload(ref: SecretRef): Promise<void> {
    const info = await this.#options.vault.info(ref)
    const key = partKey(ref.app, ref.name)
    if (info === null) this.#credentials.delete(key)
    else this.#credentials.set(key, await openOne(this.#options.vault, info))
  }

  /** A login for a resource of the operator's own; the same again when there is one. Throws `control.unknown-secret`. */
  letIn(app: string, part: string): Promise<Grant> {
    return this.#options.exclusive(async () => {
      const declared = this.#graphOf(app).parts.find((candidate) => candidate.name === part)
      if (declared?.kind !== 'resource' || this.#isShared(declared)) throw this.#unknown(app, part)
      const ref = { app, name: consumerName(part, operatorConsumer) }
      if (!this.#credentials.has(partKey(app, ref.name))) {
        await this.#options.vault.ensure([ref], () => this.#generate())
        await this.#reload(ref)
        this.#options.wake()
      }
      const credential = this.#credentials.get(partKey(app, ref.name))
      assert(credential !== undefined, 'what was ensured is there')
      const user = userOf(operatorConsumer, credential.current)
      return { consumer: operatorConsumer, user, password: credential.values.get(credential.current) ?? '' }
    })
  }

  /** Forgets everything of an app that is being forgotten. Part of a change of control. */
  async forget(app: string): Promise<void> {
    await this.#options.vault.forget(app)
    for (const key of this.#credentials.keys()) if (key.startsWith(`${app}/`)) this.#credentials.delete(key)
  }

  /** Takes the steps of rotations that are due. Answers whether it took any. Part of a turn of control. */
  async turn(nowMs: number): Promise<boolean> {
    const tasks = rotationTasks(this.#options.state(), nowMs)
    for (const task of tasks) await this.#step(task)
    return tasks.length > 0
  }

  async #step({ app, name, event }: RotationTask): Promise<void> {
    await this.#options.vault.advance({ app, name }, event, () => this.#generate())
    await this.#reload({ app, name })
  }

  /** What may be shown of an app's secrets, by name. Never a value. */
  async list(app: string): Promise<readonly SecretView[]> {
    const state = this.#options.state()
    const graph = this.#graphOf(app)
    const infos = new Map((await this.#options.vault.list(app)).map((info) => [info.name, info]))
    const names = graph.parts
      .filter((part) => part.kind === 'resource')
      .flatMap((part) =>
        this.#isShared(part)
          ? [part.name]
          : consumersOf(graph, part.name).map((consumer) => consumerName(part.name, consumer)),
      )
    return names.map((name) => {
      const { part, consumer } = meaningOf(name)
      const declared = graph.parts.find((candidate) => candidate.name === part)
      const users = [...state.instances.values()]
        .filter((instance) => instance.app === app && (consumer === null || instance.part.name === consumer))
        .filter((instance) => instance.part.uses.some((use) => use.part === part))
        .map((instance) => ({ instance: instance.id, version: pinOf(instance.secrets, part) }))
      return {
        name: consumer === null ? name : `${part}/${consumer}`,
        kind: consumer === null ? 'secret' : 'login',
        from: declared?.kind === 'resource' ? secretPolicy(declared.config).from : 'generated',
        current: infos.get(name)?.current ?? 0,
        versions: infos.get(name)?.versions ?? [],
        users,
        rotation: this.#isUnreadable(app, name) ? unreadable : describeRotation(state, app, name),
      }
    })
  }

  #isUnreadable(app: string, name: string): boolean {
    const credential = this.#credentials.get(partKey(app, name))
    return credential !== undefined && credential.current > 0 && !credential.values.has(credential.current)
  }

  /** Gives a secret a new value. Answers its version. Throws `control.unknown-secret`, `control.not-text`, `secrets.*`. */
  set(app: string, name: string, value: Uint8Array, source: Source = 'operator'): Promise<number> {
    return this.#options.exclusive(async () => {
      this.#needSecret(app, name)
      if (!isText(value)) {
        throw new SteadError({
          code: 'control.not-text',
          message: `the value for ${name} of ${app} is not text in UTF-8`,
          hint: 'Encode it, as in `base64 < file | stead secret set ...`, and decode it in the program.',
        })
      }
      const version = await this.#options.vault.set({ app, name }, value, source)
      await this.#reload({ app, name })
      this.#options.wake()
      return version
    })
  }

  /** Forgets all values of a secret that no part uses. Throws `control.secret-in-use`, `secrets.unknown`. */
  remove(app: string, name: string): Promise<void> {
    return this.#options.exclusive(async () => {
      const graph = this.#graphOf(app)
      const users = consumersOf(graph, name)
      const generated = graph.parts.some(
        (part) => part.kind === 'resource' && part.name === name && secretPolicy(part.config).from === 'generated',
      )
      const stated = [...this.#options.state().instances.values()].filter((instance) => instance.app === app)
      const running = stated.filter((instance) => instance.part.uses.some((use) => use.part === name))
      if (users.length > 0 || generated || running.length > 0) {
        const by = users.length > 0 ? users.join(', ') : (running[0]?.id ?? 'the app')
        throw new SteadError({
          code: 'control.secret-in-use',
          message: `${name} of ${app} is used by ${by}`,
          hint: 'Take it out of the app file and deploy that first.',
        })
      }
      await this.#options.vault.remove({ app, name })
      await this.#reload({ app, name })
    })
  }

  /** Rotates a secret, or the logins of a resource's consumers (`db`, or one: `db/web`). Throws `control.not-rotatable`, `control.unknown-secret`. */
  rotate(app: string, name: string): Promise<RotateResult> {
    return this.#options.exclusive(async () => {
      const [part = '', only] = name.split('/')
      const graph = this.#graphOf(app)
      const declared = graph.parts.find((candidate) => candidate.kind === 'resource' && candidate.name === part)
      if (declared?.kind !== 'resource') throw this.#unknown(app, name)
      const consumers = consumersOf(graph, part).filter((consumer) => only === undefined || consumer === only)
      const shared = this.#isShared(declared)
      if (only !== undefined && (shared || consumers.length === 0)) throw this.#unknown(app, name)
      const result = await this.#rotateAll(app, shared ? [part] : consumers.map((each) => consumerName(part, each)))
      const [refused] = result.refused
      if (result.started.length > 0 || refused === undefined) return result
      throw new SteadError({
        code: 'control.not-rotatable',
        message: `${name} of ${app} cannot be rotated: ${refused.reason}`,
      })
    })
  }

  /**
   * Rotates everything that a part was given, because it may be known to others: each secret it reads and each login it
   * has. What only a person can make anew is answered with the reason.
   */
  rotateAll(app: string, part: string): Promise<RotateResult> {
    return this.#options.exclusive(async () => {
      const graph = this.#graphOf(app)
      const consumer = graph.parts.find((candidate) => candidate.name === part)
      if (consumer === undefined || consumer.kind === 'resource') throw this.#unknown(app, part)
      const names = consumer.uses.flatMap((use) => {
        const target = graph.parts.find((candidate) => candidate.name === use.part)
        if (target?.kind !== 'resource') return []
        return [this.#isShared(target) ? target.name : consumerName(target.name, part)]
      })
      return this.#rotateAll(app, [...new Set(names)])
    })
  }

  async #rotateAll(app: string, names: readonly string[]): Promise<RotateResult> {
    const started: string[] = []
    const refused: { name: string; reason: string }[] = []
    for (const name of names) {
      const credential = this.#credentials.get(partKey(app, name))
      const reason = whyNot(name, credential)
      if (reason !== null) refused.push({ name, reason })
      else {
        await this.#step({ app, name, event: 'rotate' })
        started.push(name)
      }
    }
    this.#options.wake()
    return { started, refused }
  }

  /** A secret's current value for recipients of age. `by` goes into the record of who read what. */
  async export(app: string, name: string, recipients: readonly string[], by: string): Promise<string> {
    this.#needSecret(app, name)
    const { value } = await this.#options.vault.read({ app, name }, `export for ${by}`)
    return encryptFor(value, recipients)
  }

  /**
   * All values that an app cannot do without on another machine, each for recipients of age: its secrets, and what its platform opens its
   * resources with. Logins of its parts are made anew there.
   */
  async exportAll(app: string, recipients: readonly string[], by: string): Promise<readonly SealedSecret[]> {
    this.#graphOf(app)
    const sealed: SealedSecret[] = []
    for (const { name, current, versions } of await this.#options.vault.list(app)) {
      if (current === 0 || meaningOf(name).consumer !== null) continue
      const { value } = await this.#options.vault.read({ app, name }, `export for ${by}`)
      const source = versions.find(({ version }) => version === current)?.source ?? 'generated'
      sealed.push({ name, source, text: await encryptFor(value, recipients) })
    }
    return sealed
  }

  /** Gives back values to an app that is not here yet. Throws `control.app-is-here`. */
  restoreAll(
    app: string,
    secrets: readonly { readonly name: string; readonly source: Source; readonly value: Uint8Array }[],
  ): Promise<void> {
    return this.#options.exclusive(async () => {
      if (this.#options.state().apps.has(app)) {
        throw new SteadError({
          code: 'control.app-is-here',
          message: `${app} is here already, with secrets of its own`,
          hint: 'Set single ones with `stead secret set`.',
        })
      }
      for (const { name, source, value } of secrets) {
        await this.#options.vault.set({ app, name }, value, source)
        await this.#reload({ app, name })
      }
    })
  }

  /** Takes on the value in a text of age. */
  async import(app: string, name: string, text: string, identity: string): Promise<number> {
    return this.set(app, name, await decryptWith(text, identity), 'imported')
  }

  /** Changes the key that everything is sealed with. */
  changeKey(): Promise<void> {
    return this.#options.exclusive(() => this.#options.vault.changeKey())
  }

  #graphOf(app: string): Graph {
    const found = this.#options.state().apps.get(app)
    if (found !== undefined) return found.graph
    throw new SteadError({ code: 'control.unknown-app', message: `there is no app ${app}`, hint: 'Start it first.' })
  }

  #needSecret(app: string, name: string): void {
    const part = this.#graphOf(app).parts.find((candidate) => candidate.name === name)
    if (part?.kind === 'resource' && this.#isShared(part)) return
    throw this.#unknown(app, name)
  }

  #unknown(app: string, name: string): SteadError {
    const names = this.#graphOf(app).parts.flatMap((part) => (part.kind === 'resource' ? [part.name] : []))
    return new SteadError({
      code: 'control.unknown-secret',
      message: `${app} has no secret ${JSON.stringify(name.slice(0, 80))}`,
      hint: names.length === 0 ? 'Declare it in the app file.' : `It has: ${names.join(', ')}.`,
    })
  }
}

function whyNot(name: string, credential: Credential | undefined): string | null {
  const operator = 'its value comes from a person; set a new one with `stead secret set`'
  if (meaningOf(name).admin) return 'it is the platform’s own'
  if (credential === undefined) return operator
  return credential.source === 'generated' ? null : operator
}

function isText(value: Uint8Array): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(value)
    return true
  } catch {
    return false
  }
}
