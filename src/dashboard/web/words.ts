/** Numbers and states in words, pure. Invariant: the same width for the same kind of number as far as that is possible. */
import type { PartStatus } from '../../operator/index.ts'
import type { Fault } from '../../protocol/index.ts'
import { isWell, type Uptime } from '../wire.ts'

/** `4 s`, `3 min`, `2 h 5 min`, `5 d 3 h`. */
export function age(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  if (seconds < 60) return `${seconds} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes} min`
  const hours = Math.floor(minutes / 60)
  if (hours < 24) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`
  const days = Math.floor(hours / 24)
  return hours % 24 === 0 ? `${days} d` : `${days} d ${hours % 24} h`
}

/** `38 MB`, `1.2 GB`. */
export function bytes(count: number): string {
  if (count === 0) return '0'
  if (count < 1_000_000) return `${Math.max(1, Math.round(count / 1000))} kB`
  if (count < 1_000_000_000) return `${Math.round(count / 1_000_000)} MB`
  return `${(count / 1_000_000_000).toFixed(1)} GB`
}

/** Share of one core, as a percentage. */
export function cores(count: number): string {
  const percent = count * 100
  if (percent === 0) return '0 %'
  return percent < 10 ? `${percent.toFixed(1)} %` : `${Math.round(percent)} %`
}

/** `0.2`, `14`, `1.3 k`. */
export function rate(perSecond: number): string {
  if (perSecond === 0) return '0'
  if (perSecond < 0.1) return '< 0.1'
  if (perSecond < 10) return perSecond.toFixed(1)
  return perSecond < 1000 ? String(Math.round(perSecond)) : `${(perSecond / 1000).toFixed(1)} k`
}

export function milliseconds(ms: number): string {
  if (ms < 10) return `${ms.toFixed(1)} ms`
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`
}

/** Share of the time that a part has been ready since it first was. */
export function uptimeShare(uptime: Uptime, nowMs: number): number {
  const sinceMs = Math.max(0, nowMs - uptime.atMs)
  const totalMs = uptime.totalMs + sinceMs
  return totalMs === 0 ? 1 : (uptime.readyMs + (uptime.ready ? sinceMs : 0)) / totalMs
}

/** Rounded down: only what was never away is `100 %`. */
export function share(value: number): string {
  if (value >= 1) return '100 %'
  const percent = value * 100
  const digits = percent >= 99 ? 3 : percent >= 90 ? 2 : 1
  const scale = 10 ** digits
  return `${(Math.floor(percent * scale) / scale).toFixed(digits)} %`
}

/** `1 request`, `3 requests`. */
export function counted(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? '' : 's'}`
}

export type Tone = 'good' | 'busy' | 'bad' | 'idle'

/** How a state is to be looked at. */
export function toneOf(part: Pick<PartStatus, 'phase' | 'kind'>): Tone {
  if (part.phase === 'scheduled' || part.phase === 'stopped') return 'idle'
  const runs = part.kind === 'job' && part.phase === 'starting'
  if (!runs && ['waiting', 'starting', 'stopping'].includes(part.phase)) return 'busy'
  return isWell(part) ? 'good' : 'bad'
}

/** A state for a person. */
export function phaseWord({ phase, kind }: Pick<PartStatus, 'phase' | 'kind'>): string {
  return kind === 'job' && phase === 'starting' ? 'running' : phase.replace('-', ' ')
}

/** What a fault does, for whoever is about to make it. */
export function warningOf(fault: Fault, app: string): string {
  switch (fault.kind) {
    case 'kill':
      return `Everything of ${fault.part} that runs is killed at once, as by an accident, and kept down until the time is over. Then it starts again by itself.`
    case 'cut':
      return `What ${fault.part} has open to ${fault.uses} is cut off, and what it opens is refused until the time is over. ${fault.part} goes on running.`
    case 'fill-disk':
      return `A file takes what is free on the disk of ${app}'s data, so that writes fail. It is deleted when the time is over. No other app and nothing else of this machine is touched.`
  }
}

/** The question before it is done. */
export function questionOf(fault: Fault): string {
  switch (fault.kind) {
    case 'kill':
      return `Kill ${fault.part}?`
    case 'cut':
      return `Cut the way from ${fault.part} to ${fault.uses}?`
    case 'fill-disk':
      return 'Fill the disk?'
  }
}

/** `web is killed`. */
export function faultWords(fault: Fault): string {
  switch (fault.kind) {
    case 'kill':
      return `${fault.part} is killed and kept down`
    case 'cut':
      return `the way from ${fault.part} to ${fault.uses} is cut`
    case 'fill-disk':
      return 'the disk of the data is full'
  }
}
