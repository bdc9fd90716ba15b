/**
 * `stead complete`: what could come next on a command line, one a line, for the shell. From the table of commands, and from
 * what runs. Invariant: never an error, and never a wait for long: what cannot be told now is left out.
 */
import { type OperatorClient, operatorClient } from '../../operator/index.ts'
import type { Command } from '../command.ts'
import { exitCodes } from '../exit-codes.ts'
import { daemonSocket } from '../home.ts'
import { commands, unlisted } from '../table.ts'
import { findTarget } from '../target.ts'
import { print } from '../terminal.ts'
import { directoriesWord } from './completion.ts'

/** Longest wait for a platform. */
const askMs = 10_000

export const completeCommand: Command = {
  name: 'complete',
  usage: '-- WORDS...',
  summary: 'what could come next, for the shell',
  help: '  See `stead completion`.',
  options: {},
  argumentsMax: 0,
  takesProgram: true,
  async run({ program }) {
    const late = new Promise<readonly string[]>((resolve) => void setTimeout(() => resolve([]), askMs).unref())
    const word = program.at(-1) ?? ''
    const found = await Promise.race([candidates(program.slice(0, -1), word).catch(() => []), late])
    const fits = found.filter((candidate) => candidate === directoriesWord || candidate.startsWith(word))
    if (fits.length > 0) print([...new Set(fits)].join('\n'))
    return exitCodes.ok
  },
}

/** What fits behind these words. */
async function candidates(before: readonly string[], word: string): Promise<readonly string[]> {
  const name = before.find((candidate) => !candidate.startsWith('-'))
  if (name === undefined) return [...Object.keys(commands).filter((known) => !unlisted.has(known)), 'help']
  if (name === 'help') return Object.keys(commands).filter((known) => !unlisted.has(known))
  const load = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (load === undefined) return []
  const command = await load()
  // Behind it stands another program's command line.
  if (before.includes('--')) return []
  if (word.startsWith('-')) return optionsOf(command)
  if (valueIsDue(command, before.at(-1) ?? '')) return []
  const given = argumentsIn(command, before.slice(before.indexOf(name) + 1))
  const slots = command.usage.split(' ').filter((slot) => /^\[?[A-Z|a-z]/.test(slot) && slot !== 'COMMAND...')
  const slot = slots[given.length] ?? ''
  return [
    ...(await fillersOf(slot.replace(/[[\]]/g, '').split(':')[0] ?? '')),
    ...(await laterParts(slot, slots, given.length)),
  ]
}

function optionsOf({ options }: Command): string[] {
  const long = Object.keys(options).map((name) => `--${name}`)
  const short = Object.values(options).flatMap(({ short: letter }) => (letter === undefined ? [] : [`-${letter}`]))
  return [...long, ...short, '--json', '--help']
}

function isOption({ options }: Command, word: string): { readonly takesValue: boolean } | null {
  if (!word.startsWith('-')) return null
  const found = Object.entries(options).find(([name, { short }]) => word === `--${name}` || word === `-${short ?? ''}`)
  return { takesValue: found?.[1].type === 'string' }
}

function valueIsDue(command: Command, before: string): boolean {
  return isOption(command, before)?.takesValue === true
}

/** The words that are neither options nor their values. */
function argumentsIn(command: Command, words: readonly string[]): string[] {
  return words.filter((word, at) => isOption(command, word) === null && !valueIsDue(command, words[at - 1] ?? ''))
}

/** `logs [PART] [APP]`: a first word may be the app as well. */
async function laterParts(slot: string, slots: readonly string[], at: number): Promise<readonly string[]> {
  return slot === '[PART]' && slots[at + 1] === '[APP]' ? fillersOf('APP') : []
}

/** What may stand in a place of a command's usage. */
async function fillersOf(slot: string): Promise<readonly string[]> {
  if (slot === 'APP') return [...(await appsRunning()), directoriesWord]
  if (slot === 'DIR') return [directoriesWord]
  if (slot === 'PART') return partsHere(() => true)
  if (slot === 'BUCKET') return partsHere(({ type }) => type === 'bucket')
  if (slot === 'QUEUE') return partsHere(({ type }) => type === 'queue')
  if (slot === 'JOB') return partsHere(({ kind }) => kind === 'job')
  return slot.includes('|') ? slot.split('|') : []
}

async function appsRunning(): Promise<readonly string[]> {
  const daemon: OperatorClient | null = await operatorClient(daemonSocket())
  return daemon === null ? [] : (await daemon.platform()).apps.map(({ app }) => app)
}

async function partsHere(
  fits: (part: { readonly kind: string; readonly type?: string }) => boolean,
): Promise<readonly string[]> {
  const target = await findTarget(null)
  if (target === null) return []
  const { parts } = await target.operator.graph(target.app)
  return parts.filter(fits).map(({ name }) => name)
}
