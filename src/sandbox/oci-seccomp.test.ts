/** Rules for runtimes of OCI: the same answers as the kernel's own program gives, and numbers that are excluded one by one. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { everythingBut, ociSeccomp } from './oci-seccomp.ts'
import type { OciSeccomp } from './oci-seccomp.ts'
import { profiles } from './profiles.ts'
import type { Profile, Verdict } from './profiles.ts'

/** What libseccomp makes of rules: any that fits, of which those of one call agree here. */
function answer(rules: OciSeccomp, name: string, args: readonly number[]): string {
  const fitting = rules.syscalls.filter(
    (rule) =>
      rule.names.includes(name) &&
      (rule.args ?? []).every(({ index, value, valueTwo }) => ((args[index] ?? 0) & value) >>> 0 === valueTwo),
  )
  const answers = new Set(fitting.map(({ action, errnoRet }) => `${action} ${errnoRet ?? ''}`.trim()))
  assert.ok(answers.size <= 1, `${name} ${args.join()} has several answers`)
  return [...answers][0] ?? `${rules.defaultAction} ${rules.defaultErrnoRet}`
}

/** What a profile says itself. */
function said({ allow, rules }: Profile, name: string, args: readonly number[]): string {
  const words: Readonly<Record<Verdict, string>> = {
    allow: 'SCMP_ACT_ALLOW',
    refuse: 'SCMP_ACT_ERRNO 1',
    unknown: 'SCMP_ACT_ERRNO 38',
    kill: 'SCMP_ACT_KILL_PROCESS',
  }
  const rule = rules[name]
  if (rule === undefined) return words[allow.includes(name) ? 'allow' : 'refuse']
  const found = rule.cases.find(({ when }) =>
    when.every(({ argument, mask, equals }) => ((args[argument] ?? 0) & mask) >>> 0 === equals),
  )
  return words[found?.verdict ?? rule.otherwise]
}

test('every profile: the answers are those of the profile, for every call and for arguments at every edge', () => {
  const edges = [
    0, 1, 2, 10, 16, 0x5412, 0x5413, 0x541c, 0x541d, 0x10000000, 0x7e020000, 0o100644, 0o060000, 0xffffffff,
  ]
  for (const [title, profile] of Object.entries(profiles)) {
    const rules = ociSeccomp(profile, 'x64')
    const names = new Set([...profile.allow, ...Object.keys(profile.rules), 'mount', 'bpf', 'io_uring_setup'])
    for (const name of names)
      for (const first of edges)
        for (const second of edges)
          for (const args of [
            [first, second, 0],
            [second, 0, first],
          ])
            assert.equal(answer(rules, name, args), said(profile, name, args), `${title}: ${name}(${args.join()})`)
  }
})

test('everything but some numbers: each number is in exactly one beginning, or in none when it is one of them', () => {
  const values = [0x5412, 0x541c, 0, 0xffffffff]
  const parts = everythingBut(values)
  const holds = (value: number): number =>
    parts.filter(({ mask, equals }) => (value & mask) >>> 0 === equals >>> 0).length
  for (const value of values) assert.equal(holds(value), 0)
  for (const value of [1, 0x5411, 0x5413, 0x541b, 0x541d, 0x80005412, 0x7fffffff, 0x80000000, 0xfffffffe])
    assert.equal(holds(value), 1, value.toString(16))
  assert.deepEqual(everythingBut([]), [{ mask: 0, equals: 0 }])
})
