/**
 * Programs of this machine that read another process's memory from outside, many times a second, and tell how often they saw which
 * stack: py-spy, rbspy. Invariant: they have an end, by their time or when they are asked.
 */
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { messageOf } from '../../base/index.ts'
import { foldedStacks } from '../python/reports.ts'
import type { ProcessFacts, Profile, ProfileRequest } from '../recipe.ts'
import { processGone, refused } from '../refusals.ts'
import { isAlive } from './proc.ts'

export const samplesPerSecond = 100
const outputBytesMax = 64_000_000
/** Beside the time that it samples for. */
const moreMs = 30_000

export interface Sampler {
  readonly name: string
  readonly path: string
}

/** Runs it to its end. Aborting asks it to end soon, with what it has. Throws `debug.refused`, `debug.process-gone`. */
export function runSampler(
  facts: ProcessFacts,
  { name, path }: Sampler,
  args: readonly string[],
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<string> {
  if (!isAlive(facts)) return Promise.reject(processGone(facts))
  return new Promise((resolve, reject) => {
    const options = { timeout: timeoutMs, maxBuffer: outputBytesMax, env: { PATH: process.env['PATH'] ?? '' } }
    const child = execFile(path, [...args], options, (error, stdout, stderr) => {
      signal?.removeEventListener('abort', stop)
      if (error === null) return resolve(stdout)
      if (!isAlive(facts)) return reject(processGone(facts))
      const said = /^Error: (.*)$/im.exec(stderr)?.[1] ?? messageOf(error)
      const hint = 'It needs the rights of root, or of the process.'
      reject(refused(`${name} cannot look into process ${facts.pid}: ${said}`, hint))
    })
    const stop = (): void => void child.kill('SIGINT')
    signal?.addEventListener('abort', stop, { once: true })
  })
}

/** A profile by a sampler that writes a line for each stack into a file. `argsOf`: what it is told, for that file and so many seconds. */
export async function sampledProfile(
  facts: ProcessFacts,
  sampler: Sampler,
  argsOf: (output: string, seconds: string) => readonly string[],
  { kind, durationMs }: ProfileRequest,
  signal?: AbortSignal,
): Promise<Profile> {
  const dir = mkdtempSync(join(tmpdir(), 'stead-sampled-'))
  try {
    const output = join(dir, 'stacks')
    const args = argsOf(output, String(Math.max(1, Math.round(durationMs / 1000))))
    await runSampler(facts, sampler, args, durationMs + moreMs, signal)
    const text = readFileSync(output, 'utf8')
    return { kind, unit: 'samples', stacks: foldedStacks(text), raw: { extension: 'folded', text } }
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}
