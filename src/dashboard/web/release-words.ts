/** Releases, steps and times in words, pure. */
import type { Step } from '../../release/index.ts'
import type { ReleaseView, RolloutView } from '../release-wire.ts'
import { age, counted, type Tone } from './words.ts'

/** Words of the steps. */
export const stepWords: Readonly<Record<Step, string>> = {
  rehearse: 'Rehearse on a copy of the data',
  stop: 'Hold requests, stop what writes',
  checkpoint: 'Make a checkpoint',
  expand: 'Expand the schema',
  start: 'Start the new release',
  shift: 'Shift the requests',
  watch: 'Watch it',
  confirm: 'Confirm, end the old release',
  contract: 'Contract the schema',
  'take-back': 'Bring the old release back',
  prepare: 'Copy the checkpoint',
  exchange: 'Exchange data and code',
  report: 'Compare what is left behind',
}

/** With code alone there is no data to speak of. */
export function stepWord(step: Step, { kind, withData }: Pick<RolloutView, 'kind' | 'withData'>): string {
  if (kind === 'return' && !withData && step === 'prepare') return 'Prepare'
  if (kind === 'return' && !withData && step === 'exchange') return 'Exchange the code'
  return stepWords[step]
}

/** How a release stands, and how that is to be looked at. */
export function stateOf({ state, rollout, live }: ReleaseView): { readonly word: string; readonly tone: Tone } {
  switch (state) {
    case 'rolling-out':
      return { word: rollout?.kind === 'return' ? 'going back' : 'rolling out', tone: 'busy' }
    case 'confirmed':
      return { word: rollout === null ? 'put in place' : 'confirmed', tone: live ? 'good' : 'idle' }
    case 'returned':
      return { word: 'gone back', tone: live ? 'good' : 'idle' }
    case 'taken-back':
      return rollout?.kind === 'return'
        ? { word: 'gone back by itself', tone: live ? 'good' : 'idle' }
        : { word: 'taken back', tone: 'bad' }
    case 'handed-over':
      return { word: 'taken back, with the data', tone: 'bad' }
    case 'refused':
      return { word: 'refused', tone: 'bad' }
    case 'stuck':
      return { word: 'stuck', tone: 'bad' }
  }
}

/** Whether a release has served, so that it can be gone back to. */
export function hasServed({ state, rollout }: ReleaseView): boolean {
  return ['confirmed', 'returned'].includes(state) || (state === 'taken-back' && rollout?.kind === 'return')
}

/** `140 ms`, `2.3 s`, `3 min`. */
export function took(ms: number): string {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`
  return ms < 60_000 ? `${(ms / 1000).toFixed(1)} s` : age(ms)
}

/** `3 min ago`. */
export function ago(ms: number): string {
  return ms < 5000 ? 'just now' : `${age(ms)} ago`
}

/** How a release took its place. */
export function wayOf({ rollout, backTo }: ReleaseView): string {
  if (backTo !== null) return `back to release ${backTo}, ${rollout?.withData === true ? 'with its data' : 'code only'}`
  if (rollout === null) return 'at once'
  const stops = rollout.migrates === 'stop' ? ', stops the app to migrate' : ''
  return `${rollout.strategy === 'rolling' ? 'one instance after another' : rollout.strategy}${stops}`
}

/** What taking it back now will do. */
export function takeBackWords({ kind, old, dataGoesToo }: RolloutView): string {
  if (kind === 'return') return `Release ${old ?? 'before'} goes on serving, with the data as it is.`
  if (dataGoesToo)
    return `The schema has changed already, so the data goes back to the checkpoint as well. Release ${old ?? 'before'} serves again; what was written since is kept as a branch and listed.`
  return `Release ${old ?? 'before'} serves every request again. Only the code goes back: no write is lost.`
}

/** `12 inserted, 3 updated`. */
export function changeWords(inserted: number, updated: number, deleted: number): string {
  const all = [
    [inserted, 'inserted'],
    [updated, 'updated'],
    [deleted, 'deleted'],
  ] as const
  return all.flatMap(([count, word]) => (count === 0 ? [] : [`${count} ${word}`])).join(', ')
}

/** `2 of 1388 requests failed`. */
export function failedWords(errors: number, requests: number): string {
  return requests === 0 ? 'no request yet' : `${errors} of ${counted(requests, 'request')} failed`
}
