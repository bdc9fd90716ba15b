/**
 * From a profile of system calls to the program the kernel runs on each of them: classic BPF, as bytes. Pure.
 *
 * Invariants: every path through the program ends in a verdict; a call of another architecture, or of the x32 kind on
 * x86_64, ends the process; a number that no profile knew is answered ENOSYS, a known one that is not allowed EPERM.
 */
import { assert } from '../base/index.ts'
import type { Condition, Profile, Rule, Verdict } from './profiles.ts'
import { newestKnown, syscallNumber } from './syscalls.ts'
import type { Architecture } from './syscalls.ts'

/** One instruction: operation, steps to skip when true and when false, operand. */
export interface Instruction {
  readonly op: number
  readonly onTrue: number
  readonly onFalse: number
  readonly k: number
}

export const operations = {
  load: 0x20,
  and: 0x54,
  ifEqual: 0x15,
  ifAtLeast: 0x35,
  ifAnyBit: 0x45,
  jump: 0x05,
  end: 0x06,
} as const

/** What the kernel makes of a verdict. */
export const verdictCodes: Readonly<Record<Verdict, number>> = {
  allow: 0x7fff0000,
  refuse: 0x00050001,
  unknown: 0x00050026,
  kill: 0x80000000,
}

/** AUDIT_ARCH_X86_64 and AUDIT_ARCH_AARCH64. */
export const auditArchitectures: Readonly<Record<Architecture, number>> = { x64: 0xc000003e, arm64: 0xc00000b7 }

const numberOffset = 0
const architectureOffset = 4
const x32Bit = 0x40000000
/** Conditional jumps carry one byte; the kernel takes no longer program. */
const skipMax = 255
const lengthMax = 4096

/** Where the lower half of an argument lies; both architectures are little-endian. */
function argumentOffset(index: number): number {
  return 16 + 8 * index
}

function step(op: number, k: number, onTrue = 0, onFalse = 0): Instruction {
  return { op, k, onTrue, onFalse }
}

function end(verdict: Verdict): Instruction {
  return step(operations.end, verdictCodes[verdict])
}

/** One case: falls through to what follows when a condition does not hold. */
function caseBlock(when: readonly Condition[], verdict: Verdict): readonly Instruction[] {
  return when.reduceRight<readonly Instruction[]>(
    (rest, { argument, mask, equals }) => [
      step(operations.load, argumentOffset(argument)),
      ...(mask === 0xffffffff ? [] : [step(operations.and, mask)]),
      step(operations.ifEqual, equals, 0, rest.length),
      ...rest,
    ],
    [end(verdict)],
  )
}

function ruleBlock(rule: Rule): readonly Instruction[] {
  return [...rule.cases.flatMap(({ when, verdict }) => caseBlock(when, verdict)), end(rule.otherwise)]
}

/** The numbers from `from` up to the next segment share a block. */
interface Segment {
  readonly from: number
  readonly block: readonly Instruction[]
}

function segmentsOf(profile: Profile, architecture: Architecture): readonly Segment[] {
  const refuse = [end('refuse')]
  const allow = [end('allow')]
  const blocks = new Map<number, readonly Instruction[]>()
  const put = (name: string, block: readonly Instruction[]): void => {
    const number = syscallNumber(name, architecture)
    if (number !== null) blocks.set(number, block)
  }
  for (const name of profile.allow) put(name, allow)
  for (const [name, rule] of Object.entries(profile.rules)) put(name, ruleBlock(rule))
  const segments: Segment[] = []
  for (let number = 0; number <= newestKnown; number++) {
    const block = blocks.get(number) ?? refuse
    if (segments.at(-1)?.block !== block) segments.push({ from: number, block })
  }
  return [...segments, { from: newestKnown + 1, block: [end('unknown')] }]
}

/** A balanced tree of comparisons, so that a call costs about eight steps. */
function treeOf(segments: readonly Segment[]): readonly Instruction[] {
  const [first] = segments
  assert(first !== undefined, 'a tree has at least one segment')
  if (segments.length === 1) return first.block
  const middle = segments.length >> 1
  const below = treeOf(segments.slice(0, middle))
  const above = treeOf(segments.slice(middle))
  const pivot = segments[middle]?.from ?? 0
  return below.length <= skipMax
    ? [step(operations.ifAtLeast, pivot, below.length, 0), ...below, ...above]
    : [step(operations.ifAtLeast, pivot, 0, 1), step(operations.jump, below.length), ...below, ...above]
}

/** The filter of a profile as instructions. */
export function compileProfile(profile: Profile, architecture: Architecture): readonly Instruction[] {
  const program = [
    step(operations.load, architectureOffset),
    step(operations.ifEqual, auditArchitectures[architecture], 1, 0),
    end('kill'),
    step(operations.load, numberOffset),
    ...(architecture === 'x64' ? [step(operations.ifAnyBit, x32Bit, 0, 1), end('kill')] : []),
    ...treeOf(segmentsOf(profile, architecture)),
  ]
  assert(program.length <= lengthMax, 'a filter fits into what the kernel takes')
  return program
}

/** Instructions as the kernel reads them: struct sock_filter, eight bytes each, little-endian. */
export function encodeProgram(program: readonly Instruction[]): Uint8Array {
  const bytes = new Uint8Array(program.length * 8)
  const view = new DataView(bytes.buffer)
  for (const [index, { op, onTrue, onFalse, k }] of program.entries()) {
    view.setUint16(index * 8, op, true)
    view.setUint8(index * 8 + 2, onTrue)
    view.setUint8(index * 8 + 3, onFalse)
    view.setUint32(index * 8 + 4, k, true)
  }
  return bytes
}
