/**
 * From a profile of system calls to the form in which OCI runtimes take it: rules of libseccomp. Pure.
 *
 * Invariant: the answer to a call is that of the kernel's program that `seccomp.ts` makes of the same profile, but for numbers
 * that no profile knows, which the runtime answers as it sees fit.
 */
import { assert } from '../base/index.ts'
import type { Condition, Profile, Rule, Verdict } from './profiles.ts'
import type { Architecture } from './syscalls.ts'

interface OciArgument {
  readonly index: number
  /** The mask, and what is to be left of the argument. */
  readonly value: number
  readonly valueTwo: number
  readonly op: 'SCMP_CMP_MASKED_EQ'
}

interface OciRule {
  readonly names: readonly string[]
  readonly action: string
  readonly errnoRet?: number
  readonly args?: readonly OciArgument[]
}

export interface OciSeccomp {
  readonly defaultAction: string
  readonly defaultErrnoRet: number
  readonly architectures: readonly string[]
  readonly syscalls: readonly OciRule[]
}

const architectures: Readonly<Record<Architecture, string>> = { x64: 'SCMP_ARCH_X86_64', arm64: 'SCMP_ARCH_AARCH64' }
const notPermitted = 1
const notThere = 38
const bits = 32

function answerOf(verdict: Verdict): Pick<OciRule, 'action' | 'errnoRet'> {
  if (verdict === 'allow') return { action: 'SCMP_ACT_ALLOW' }
  if (verdict === 'kill') return { action: 'SCMP_ACT_KILL_PROCESS' }
  return { action: 'SCMP_ACT_ERRNO', errnoRet: verdict === 'refuse' ? notPermitted : notThere }
}

function argumentOf({ argument, mask, equals }: Condition): OciArgument {
  return { index: argument, value: mask, valueTwo: equals, op: 'SCMP_CMP_MASKED_EQ' }
}

/** Refusing is the default: what is allowed on conditions needs no other rule. */
function rulesOf(name: string, { cases, otherwise }: Rule): readonly OciRule[] {
  if (otherwise !== 'allow') {
    const rest = otherwise === 'refuse' ? [] : [{ names: [name], ...answerOf(otherwise) }]
    return [
      ...cases.map(({ when, verdict }) => ({ names: [name], ...answerOf(verdict), args: when.map(argumentOf) })),
      ...rest,
    ]
  }
  // A rule without conditions would take the place of all others: what is allowed is said by what it must not be.
  const conditions = cases.flatMap(({ when }) => when)
  const [first] = conditions
  assert(
    first !== undefined &&
      cases.every(({ when, verdict }) => when.length === 1 && verdict === 'refuse') &&
      conditions.every(({ argument, mask }) => argument === first.argument && mask === 2 ** bits - 1),
    `${name} is allowed but for values of one argument`,
  )
  const refused = conditions.map(({ equals }) => equals)
  return everythingBut(refused).map(({ mask, equals }) => ({
    names: [name],
    ...answerOf('allow'),
    args: [argumentOf({ argument: first.argument, mask, equals })],
  }))
}

/** All numbers of 32 bits but these, as numbers that begin alike: of every beginning that some of them have, the other branch. */
export function everythingBut(values: readonly number[]): readonly Pick<Condition, 'mask' | 'equals'>[] {
  const found: Pick<Condition, 'mask' | 'equals'>[] = []
  const split = (left: readonly number[], depth: number, begins: number): void => {
    const mask = depth === 0 ? 0 : (2 ** bits - 2 ** (bits - depth)) >>> 0
    if (left.length === 0) return void found.push({ mask, equals: begins })
    if (depth === bits) return
    const bit = 2 ** (bits - depth - 1)
    split(
      left.filter((value) => Math.floor(value / bit) % 2 === 0),
      depth + 1,
      begins,
    )
    split(
      left.filter((value) => Math.floor(value / bit) % 2 === 1),
      depth + 1,
      begins + bit,
    )
  }
  split(values, 0, 0)
  return found
}

export function ociSeccomp({ allow, rules }: Profile, architecture: Architecture): OciSeccomp {
  const ruled = Object.keys(rules)
  return {
    defaultAction: 'SCMP_ACT_ERRNO',
    defaultErrnoRet: notPermitted,
    architectures: [architectures[architecture]],
    syscalls: [
      { names: allow.filter((name) => !ruled.includes(name)), action: 'SCMP_ACT_ALLOW' },
      ...Object.entries(rules).flatMap(([name, rule]) => rulesOf(name, rule)),
    ],
  }
}
