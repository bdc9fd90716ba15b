/**
 * Holds rates on a pair of links by `tc` (iproute2): a token bucket on either end, so that both directions are held.
 * Invariant: a rate that could not be set is an error with the words of `tc`.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { messageOf, SteadError } from '../../base/index.ts'

const places = ['/usr/sbin/tc', '/sbin/tc', '/usr/bin/tc']
const timeoutMs = 10_000
/** Bytes that may go at once: of two milliseconds, and no less than a few whole packets. */
const burstSeconds = 0.002
const burstBytesMin = 32 * 1024
/** How long a packet may wait before it is dropped, and the sender sends less. */
const waitMs = 100

/** The words that hold a rate on a link; null: that take it away. */
export function shapeArguments(link: string, bitsPerSecond: number | null): readonly string[] {
  if (bitsPerSecond === null) return ['qdisc', 'del', 'dev', link, 'root']
  const burst = Math.max(burstBytesMin, Math.ceil((bitsPerSecond / 8) * burstSeconds))
  const rate = ['rate', `${Math.ceil(bitsPerSecond)}bit`, 'burst', `${burst}b`, 'latency', `${waitMs}ms`]
  return ['qdisc', 'replace', 'dev', link, 'root', 'tbf', ...rate]
}

function program(): string | null {
  return places.find((path) => existsSync(path)) ?? null
}

/** Why rates cannot be held; null: they can. `enter` runs a function where there is a link of this name. */
export function whyNoRates(link: string, enter: <T>(run: () => T) => T): string | null {
  const tc = program()
  if (tc === null) return 'there is no tc: install iproute2'
  for (const rate of [1_000_000, null]) {
    const { status, stderr, error } = enter(() =>
      spawnSync(tc, shapeArguments(link, rate), { encoding: 'utf8', timeout: timeoutMs, env: {} }),
    )
    if (status !== 0) return error === undefined ? stderr.trim() : messageOf(error)
  }
  return null
}

/** Holds a rate on a link, or takes it away. Throws `network.no-rate`. */
export async function shapeLink(
  link: string,
  bitsPerSecond: number | null,
  enter: <T>(run: () => T) => T,
): Promise<void> {
  const tc = program()
  const refused = (why: string): SteadError =>
    new SteadError({
      code: 'network.no-rate',
      message: `a rate of ${bitsPerSecond ?? 'no'} bit/s could not be set: ${why}`,
      hint: 'Install iproute2, on a kernel with sch_tbf; see `stead doctor`.',
      retry: 'later',
    })
  if (tc === null) throw refused('there is no tc')
  const child: ChildProcess = enter(() =>
    spawn(tc, shapeArguments(link, bitsPerSecond), {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: {},
      timeout: timeoutMs,
    }),
  )
  const ended = new Promise<number | null>((resolve) => {
    child.once('error', () => resolve(null))
    child.once('close', (code) => resolve(code))
  })
  const said = child.stderr === null ? '' : await text(child.stderr).catch(() => '')
  if ((await ended) !== 0) throw refused(said.trim() || 'tc could not be run')
}
