/**
 * What one instance may reach outside, by name: a resolver that answers allowed names only, listeners at the addresses it
 * has answered, and streams carried from there to the real ones.
 *
 * Invariants: a name that is not allowed is answered at once and asked of nobody; an address is dialled only while it is
 * in the allow-set or declared itself, and never when it is closed (see addresses.ts) and not declared itself; what is
 * refused is refused at once, counted and kept.
 */
import { networkInterfaces } from 'node:os'
import { createServer, Socket, type Server } from 'node:net'
import { type Clock, messageOf } from '../../base/index.ts'
import type { Attempt, Outside } from '../network.ts'
import { carry } from '../streams.ts'
import { privateAddress, type Range, whyClosed } from './addresses.ts'
import { AllowedAddresses, type Pair } from './allowed.ts'
import { type Answer, answerCodes, type Question, recordTypes } from './dns.ts'
import type { NameLookup } from './names.ts'
import { notDeclared, type Refusal, Refusals } from './refusals.ts'
import { openResolver, resolverAddress } from './resolver.ts'
import { type EgressRules, isDeclared, portsOf } from './rules.ts'

/** Most open streams of one instance to the outside; more are refused at once. */
export const egressStreamsMax: number = 1000
/** How long the other side may take to accept a stream. */
const dialTimeoutMs = 10_000
/**
 * A range of no more addresses than 2 to the power of the missing bits gets a listener at each. Behind a wider one stands
 * one for all addresses at its port, where a stream that is not allowed is accepted and reset at once.
 */
const listenersBitsMin = 27
/** How often it is looked what was refused by the kernel, and which addresses have lived their life. */
const lookMs = 250
/**
 * Different names below declared domains in a minute. Whoever runs a domain reads the names that are asked for in it: this
 * is what is left of a tunnel through `*.`.
 */
export const belowDomainsMax: number = 120
const belowDomainsMs = 60_000
/** How long before the end of its life an address is asked for again. */
const renewMs = 10_000
/** How long an address of an edge may be remembered; it stays as long as the app does. */
const edgeTtlSeconds = 60
/** Names that are opened ahead for a program that has looked them up before. */
const aheadMax = 100
/** Answered names are remembered, so that what is refused can be told by name. */
const namesMax = 512

export interface EgressOptions {
  readonly outside: Outside
  readonly rules: EgressRules
  readonly names: NameLookup
  readonly clock: Clock
  /** Called for each refusal that is a new one. */
  readonly onRefused: (refusal: Pick<Refusal, 'act' | 'what' | 'why' | 'declare'>) => void
  readonly onNotice: (text: string) => void
  /** The program runs already, and has looked up names before: those that are declared are opened without being asked for. */
  readonly ahead?: boolean
  /** Names of its edges, and their addresses: for a system that reads no hosts file of ours. They are there already. */
  readonly hosts?: ReadonlyMap<string, string>
  /** Where refusals are kept when they are to outlive this. */
  readonly refusals?: Refusals
  /** How the outside is really reached. The tests lead it to servers of their own; nothing else does. */
  readonly way?: {
    readonly dial: (address: string, port: number) => Socket
    /** Why an address may not be dialled on the word of a name server; null when it may. */
    readonly whyClosed: (address: string) => string | null
  }
}

export interface Egress extends AsyncDisposable {
  /** The newest first; bounded. */
  refusals(): readonly Refusal[]
  /** All of them, since it was opened. */
  readonly refused: number
  readonly streams: number
}

const directWay: NonNullable<EgressOptions['way']> = {
  dial: (address, port) => new Socket().connect(port, address),
  whyClosed: (address) => whyClosed(address, ownAddresses()),
}

function ownAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((addresses) => addresses?.map(({ address }) => address) ?? [])
}

/** Opens the outside of an instance. What is declared by address is there from the start. */
export async function openEgress(options: EgressOptions): Promise<Egress> {
  const egress = new OpenEgress(options)
  await egress.open()
  return egress
}

class OpenEgress implements Egress {
  readonly #options: EgressOptions
  readonly #way: NonNullable<EgressOptions['way']>
  readonly #allowed = new AllowedAddresses()
  readonly #refusals: Refusals
  readonly #listeners = new Map<string, Server>()
  readonly #streams = new Set<Socket>()
  /** The name that last led to an address. */
  readonly #nameOf = new Map<string, string>()
  /** Ports at which a listener answers for all addresses, because whole ranges are declared. */
  readonly #rangePorts: ReadonlySet<number>
  readonly #belowDomains = new Set<string>()
  #belowSinceMs = 0
  /** Names that are being looked up without having been asked for. */
  readonly #opening = new Set<string>()
  #resolver: AsyncDisposable | null = null
  #timer: Disposable | null = null
  #closed = false

  constructor(options: EgressOptions) {
    this.#options = options
    this.#way = options.way ?? directWay
    this.#refusals = options.refusals ?? new Refusals()
    this.#rangePorts = new Set(options.rules.ranges.filter(({ range }) => isWide(range)).map(({ port }) => port))
  }

  async open(): Promise<void> {
    const { outside, rules, clock } = this.#options
    // The first look opens the view of what is refused.
    outside.attempts()
    for (const port of this.#rangePorts) await this.#listen({ address: '0.0.0.0', port })
    for (const { range, port } of rules.ranges.filter((rule) => !this.#rangePorts.has(rule.port))) {
      for (let index = 0; index < 2 ** (32 - range.bits); index += 1)
        await this.#listen({ address: dotted(range.base + index), port })
    }
    this.#resolver = await openResolver({ outside, clock, answer: (question) => this.#answer(question) })
    this.#lookLater()
    if (this.#options.ahead === true) for (const { name } of rules.names.slice(0, aheadMax)) this.#open(name)
  }

  refusals(): readonly Refusal[] {
    this.#look()
    return this.#refusals.list()
  }

  get refused(): number {
    return this.#refusals.total
  }

  get streams(): number {
    return this.#streams.size
  }

  async #answer(question: Question): Promise<Answer> {
    const { rules, hosts } = this.#options
    const edge = question.kind === 'ordinary' ? hosts?.get(question.name) : undefined
    if (edge !== undefined) {
      const addresses = question.type === recordTypes.a ? [{ address: edge, ttlSeconds: edgeTtlSeconds }] : []
      return { code: answerCodes.ok, addresses }
    }
    const { ports, by } = portsOf(rules, question.kind === 'ordinary' ? question.name : '')
    if (ports.length === 0) {
      // Servers ask for the names of those who call them: of an instance all are near, and none is told.
      const isReverse = question.name.endsWith('.arpa')
      if (question.name !== '' && !isReverse) this.#refuseName(question.name, notDeclared, `${question.name}:443`)
      const code = question.bytes.length === 0 ? answerCodes.malformed : answerCodes.noSuchName
      return { code, addresses: [], reason: notDeclared }
    }
    // The name is there and has no record of this type: the same answer for all types, whatever the real ones are.
    if (question.type !== recordTypes.a) return { code: answerCodes.ok, addresses: [] }
    if (by === 'domain' && !this.#isFewBelow(question.name)) {
      const why = 'too many different names below its domain'
      this.#refuseName(question.name, why, `${question.name}:${ports[0]}`)
      return { code: answerCodes.refused, addresses: [], reason: why }
    }
    return this.#admit(question.name, ports)
  }

  /** Opens the addresses of an allowed name, and answers them. */
  async #admit(name: string, ports: readonly number[]): Promise<Answer> {
    const { names, clock } = this.#options
    const found = await names.find(name)
    if (found.kind === 'no-name') return { code: answerCodes.noSuchName, addresses: [] }
    if (found.kind === 'no-address') return { code: answerCodes.ok, addresses: [] }
    if (found.kind === 'failed') return { code: answerCodes.failed, addresses: [], reason: found.why }
    const open = found.addresses.filter(({ address }) =>
      ports.some((port) => this.#whyNot(address, port, 'named') === null),
    )
    const [closed] = found.addresses
    if (open.length === 0 && closed !== undefined) {
      const why = `it leads to ${closed.address}, ${this.#way.whyClosed(closed.address)}, which must be declared itself`
      this.#refuseName(name, why, this.#mayDeclare(closed.address) ? `${closed.address}:${ports[0]}` : null)
      return { code: answerCodes.noSuchName, addresses: [], reason: why }
    }
    // What was tried before is told as it was then.
    this.#look()
    const fresh = this.#allowed.admit(name, open, ports, clock.monotonicMs())
    if (fresh === null) {
      const why = 'it has too many addresses open at once'
      this.#refuseName(name, why, null)
      return { code: answerCodes.refused, addresses: [], reason: why }
    }
    for (const { address } of open) this.#remember(address, name)
    // Before it is told: the program may dial at once.
    for (const pair of fresh) if (this.#whyNot(pair.address, pair.port, 'named') === null) await this.#listen(pair)
    return { code: answerCodes.ok, addresses: open }
  }

  /**
   * Looks up names again before their addresses go: programs that look up once, when they start, go on reaching what the
   * name still leads to. Only names that are declared as such: there are few, and they tell nobody anything.
   */
  #renew(): void {
    for (const name of this.#allowed.namesEndingBy(this.#options.clock.monotonicMs() + renewMs)) this.#open(name)
  }

  /** Looks up a declared name and opens its addresses, in the background. */
  #open(name: string): void {
    const { ports, by } = portsOf(this.#options.rules, name)
    if (by !== 'name' || this.#opening.has(name)) return
    this.#opening.add(name)
    void this.#admit(name, ports)
      .catch((error: unknown) =>
        this.#options.onNotice(`${name} could not be opened to the outside: ${messageOf(error)}`),
      )
      .finally(() => this.#opening.delete(name))
  }

  #isFewBelow(name: string): boolean {
    const nowMs = this.#options.clock.monotonicMs()
    if (nowMs - this.#belowSinceMs >= belowDomainsMs) {
      this.#belowSinceMs = nowMs
      this.#belowDomains.clear()
    }
    if (this.#belowDomains.size < belowDomainsMax) this.#belowDomains.add(name)
    return this.#belowDomains.has(name)
  }

  /** Why a stream to an address is not carried; null when it is. `named`: an allowed name leads there. */
  #whyNot(address: string, port: number, by: 'named' | 'address'): string | null {
    if (this.#isDeclared(address, port)) return null
    return by === 'named' ? this.#way.whyClosed(address) : notDeclared
  }

  async #listen(pair: Pair): Promise<void> {
    const key = `${pair.address}:${pair.port}`
    if (this.#closed || this.#listeners.has(key) || (this.#rangePorts.has(pair.port) && pair.address !== '0.0.0.0'))
      return
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (caller) => this.#accept(caller, pair))
    this.#listeners.set(key, server)
    try {
      await this.#options.outside.listen(pair.address, pair.port, server)
    } catch (error) {
      this.#listeners.delete(key)
      this.#options.onNotice(`${key} could not be opened to the outside: ${messageOf(error)}`)
    }
  }

  #accept(caller: Socket, pair: Pair): void {
    const address = pair.address === '0.0.0.0' ? (caller.localAddress ?? '') : pair.address
    const by = this.#allowed.has({ address, port: pair.port }) ? 'named' : 'address'
    const why =
      this.#streams.size >= egressStreamsMax ? 'too many streams at once' : this.#whyNot(address, pair.port, by)
    if (why !== null) {
      this.#refuseDial(address, pair.port, why)
      caller.resetAndDestroy()
      return
    }
    const callee = this.#way.dial(address, pair.port)
    // A stream that is connected may be silent for as long as it likes.
    const timer = this.#options.clock.after(dialTimeoutMs, () => callee.destroy(new Error('not accepted in time')))
    callee.once('connect', () => timer[Symbol.dispose]())
    this.#streams.add(caller)
    carry(caller, callee, () => {
      timer[Symbol.dispose]()
      this.#streams.delete(caller)
    })
  }

  #lookLater(): void {
    if (this.#closed) return
    this.#timer = this.#options.clock.after(lookMs, () => {
      this.#look()
      this.#lookLater()
    })
  }

  #look(): void {
    if (this.#closed) return
    this.#renew()
    for (const attempt of this.#options.outside.attempts()) this.#seen(attempt)
    for (const { address, port } of this.#allowed.expire(this.#options.clock.monotonicMs())) {
      const key = `${address}:${port}`
      if (this.#isDeclared(address, port)) continue
      // Streams that are open go on; new ones are refused.
      this.#listeners.get(key)?.close()
      this.#listeners.delete(key)
    }
  }

  #isDeclared(address: string, port: number): boolean {
    return isDeclared(this.#options.rules, address, port, this.#way.whyClosed(address) !== null)
  }

  /** Something was tried. Where somebody listens, the listener decides. */
  #seen({ protocol, address, port }: Attempt): void {
    const heard = this.#listeners.has(`${address}:${port}`) || this.#rangePorts.has(port)
    if (protocol === 'tcp' && !heard) this.#refuseDial(address, port, notDeclared)
    else if (protocol === 'udp' && !(address === resolverAddress && port === 53))
      this.#refuse({
        act: 'tried',
        what: `${this.#nameOf.get(address) ?? address}:${port} by UDP`,
        why: 'only TCP is carried',
        declare: null,
      })
  }

  #refuseDial(address: string, port: number, why: string): void {
    const name = this.#nameOf.get(address)
    const what = `${name ?? address}:${port}`
    const isStale = why === notDeclared && name !== undefined && portsOf(this.#options.rules, name).ports.includes(port)
    if (isStale)
      this.#refuse({ act: 'tried', what, why: `${address} was not looked up, or too long ago`, declare: null })
    else
      this.#refuse({ act: 'tried', what, why, declare: why === notDeclared && this.#mayDeclare(address) ? what : null })
  }

  /** Nobody is told to open the host itself or a cloud's metadata. */
  #mayDeclare(address: string): boolean {
    const why = this.#way.whyClosed(address)
    return why === null || why === privateAddress
  }

  #refuseName(name: string, why: string, declare: string | null): void {
    this.#refuse({ act: 'looked-up', what: name, why, declare })
  }

  #refuse(refusal: Pick<Refusal, 'act' | 'what' | 'why' | 'declare'>): void {
    if (this.#refusals.add(refusal, this.#options.clock.nowMs())) this.#options.onRefused(refusal)
  }

  #remember(address: string, name: string): void {
    this.#nameOf.delete(address)
    this.#nameOf.set(address, name)
    const [oldest] = this.#nameOf.keys()
    if (this.#nameOf.size > namesMax && oldest !== undefined) this.#nameOf.delete(oldest)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return
    this.#look()
    this.#closed = true
    this.#timer?.[Symbol.dispose]()
    for (const caller of this.#streams) caller.destroy()
    const closing = [...this.#listeners.values()].map((server) => new Promise((resolve) => server.close(resolve)))
    await Promise.all([...closing, this.#resolver?.[Symbol.asyncDispose]()])
  }
}

function isWide({ bits }: Range): boolean {
  return bits < listenersBitsMin
}

function dotted(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.')
}
