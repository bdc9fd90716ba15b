/** Flips bits of files at random places, for tests of what drills find. */
import assert from 'node:assert/strict'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { Random } from '../../base/index.ts'

/** Any one of a list. */
export function pick<T>(list: readonly T[], random: Random): T {
  const item = list[Math.floor((number(random) / 2 ** 32) * list.length)]
  assert.ok(item !== undefined)
  return item
}

/** Flips one bit of a file at a random place. `inKey`: in the part of a key file that matters, not in the words beside it. */
export function flip(path: string, random: Random, inKey: boolean): { readonly at: number; undo(): void } {
  const whole = readFileSync(path)
  const [from, until] = inKey ? [whole.indexOf('"data":"') + 8, whole.lastIndexOf('"') - 4] : [0, whole.length]
  const at = from + Math.floor((number(random) / 2 ** 32) * (until - from))
  const spoilt = Buffer.from(whole)
  spoilt[at] = (spoilt[at] ?? 0) ^ (1 << (number(random) & 7))
  rmSync(path)
  writeFileSync(path, spoilt)
  return {
    at,
    undo() {
      rmSync(path)
      writeFileSync(path, whole)
    },
  }
}

function number(random: Random): number {
  return Buffer.from(random.bytes(4)).readUInt32LE()
}
