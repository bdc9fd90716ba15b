/**
 * The bench of the conformance suite: the recipe under test, the programs it looks into, and bounded waits.
 *
 * Invariant: what was started is ended with the suite.
 */
import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
import { isSteadError, systemClock } from '../base/index.ts'
import { isLoopback } from './facts.ts'
import { listeningSockets, readProcess } from './drivers/proc.ts'
import type { Ability, Attachment, Recipe } from './recipe.ts'

/** A program of the recipe's language. */
export interface Started {
  /** On this host. */
  readonly pid: number
  /** Lines it has printed so far. */
  lines(): Promise<readonly string[]>
  end(): Promise<void>
}

/**
 * The programs that the suite asks for:
 * - `ticking` prints a growing number every 20 ms or so, from a function `tick` that has a local `count` with the same
 *   number and a local `password`; the line that the probe is put on is `probeLine`.
 * - `hanging` prints a line, and then never leaves the function `spin`.
 */
export type ProgramKind = 'ticking' | 'hanging'

export interface ConformanceSetup {
  readonly name: string
  /** The reason why it cannot run here, or false. */
  readonly skip: string | false
  readonly recipe: () => Recipe
  readonly start: (kind: ProgramKind) => Promise<Started>
  /** The end of the path of the ticking program, and the line in it. */
  readonly probeFile: string
  readonly probeLine: number
  /**
   * Command line of a process that is given a process id, attaches with the same recipe, opens a snapshot that does not
   * end, prints `attached` and stays. It lets a hold that is not renewed run out within a second.
   */
  readonly holder: readonly string[] | null
  /** A program of another language, that stays; a sleep where none is named. */
  readonly other?: readonly string[]
  /** The language cannot close what it was entered by: a socket on its own loopback stays. */
  readonly door?: 'stays'
  /** An expression whose value holds `api_key` with the count; none where the language has no such literal. */
  readonly nested?: string
}

/** Longest wait for anything. */
export const waitMs = 30_000

export type Case = readonly [title: string, needs: Ability | null, run: (bench: Bench) => Promise<void>]

export class Bench {
  readonly setup: ConformanceSetup
  readonly recipe: Recipe
  readonly #shared = new Map<ProgramKind, Promise<Started>>()
  readonly #own: Started[] = []

  constructor(setup: ConformanceSetup) {
    this.setup = setup
    this.recipe = setup.recipe()
  }

  /** The program of that kind, which all cases look into one after another: each must leave it as it was. */
  start(kind: ProgramKind): Promise<Started> {
    const known = this.#shared.get(kind) ?? this.startOwn(kind)
    this.#shared.set(kind, known)
    return known
  }

  /** A program for this case alone, which has printed its first line. */
  async startOwn(kind: ProgramKind): Promise<Started> {
    const started = await this.setup.start(kind)
    this.#own.push(started)
    await until(async () => (await started.lines()).length > 0, `the program ${kind} to print`)
    return started
  }

  async attach(pid: number): Promise<Attachment> {
    return await this.recipe.attach(readProcess(pid))
  }

  /** Whether nothing listens in the process but what its language cannot close again. */
  isClosed(pid: number): boolean {
    const stays = this.setup.door === 'stays'
    return listeningSockets(pid).every(({ localAddress }) => stays && isLoopback(localAddress))
  }

  async can(ability: Ability, pid: number): Promise<boolean> {
    return (await this.recipe.find(readProcess(pid)))?.can.includes(ability) ?? false
  }

  async end(): Promise<void> {
    for (const started of this.#own.splice(0)) await started.end()
  }
}

/** Waits until it holds. */
export async function until(holds: () => Promise<boolean> | boolean, what: string): Promise<void> {
  for (const endMs = systemClock.monotonicMs() + waitMs; ;) {
    if (await holds()) return
    assert.ok(systemClock.monotonicMs() < endMs, `waited ${waitMs} ms for ${what}`)
    await pause(20)
  }
}

export function placeOf(bench: Bench): { readonly file: string; readonly line: number } {
  return { file: bench.setup.probeFile, line: bench.setup.probeLine }
}

export async function ticksOn(program: Started): Promise<void> {
  const before = (await program.lines()).length
  await until(async () => (await program.lines()).length > before + 1, 'the program to run on')
}

export async function refusedWith(code: string, work: Promise<unknown>): Promise<void> {
  await assert.rejects(work, (error) => {
    assert.ok(isSteadError(error), String(error))
    assert.equal(error.code, code)
    assert.ok(error.message.length > 0)
    return true
  })
}
