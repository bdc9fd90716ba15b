/** The filters, decided by an interpreter of classic BPF: every number and the rules on arguments, on both architectures. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { profiles } from './profiles.ts'
import type { Profile, Verdict } from './profiles.ts'
import { auditArchitectures, compileProfile, encodeProgram, operations, verdictCodes } from './seccomp.ts'
import { newestKnown, syscallNumber } from './syscalls.ts'
import type { Architecture } from './syscalls.ts'

interface Call {
  readonly number: number
  readonly arguments?: readonly bigint[]
  readonly architecture?: number
}

/** Runs encoded bytes, not the instructions they came from, so that the encoding is tested as well. */
function run(program: Uint8Array, architecture: Architecture, call: Call): Verdict {
  const data = new DataView(new ArrayBuffer(64))
  data.setUint32(0, call.number, true)
  data.setUint32(4, call.architecture ?? auditArchitectures[architecture], true)
  for (const [index, value] of (call.arguments ?? []).entries())
    data.setBigUint64(16 + 8 * index, BigInt.asUintN(64, value), true)
  const code = new DataView(program.buffer, program.byteOffset, program.byteLength)
  let accumulator = 0
  for (let at = 0; at * 8 < program.byteLength; at++) {
    const k = code.getUint32(at * 8 + 4, true)
    const jump = (taken: boolean): void => void (at += code.getUint8(at * 8 + (taken ? 2 : 3)))
    switch (code.getUint16(at * 8, true)) {
      case operations.load:
        accumulator = data.getUint32(k, true)
        break
      case operations.and:
        accumulator = (accumulator & k) >>> 0
        break
      case operations.ifEqual:
        jump(accumulator === k)
        break
      case operations.ifAtLeast:
        jump(accumulator >= k)
        break
      case operations.ifAnyBit:
        jump((accumulator & k) !== 0)
        break
      case operations.jump:
        at += k
        break
      case operations.end: {
        const found = Object.entries(verdictCodes).find(([, value]) => value === k)
        assert.ok(found, `a verdict of its own: ${k.toString(16)}`)
        return found[0] as Verdict
      }
      default:
        assert.fail('an unknown operation')
    }
  }
  assert.fail('the program ran past its end')
}

const architectures: readonly Architecture[] = ['x64', 'arm64']
const named = (profile: Profile): readonly string[] => [...profile.allow, ...Object.keys(profile.rules)]

for (const [name, profile] of Object.entries(profiles)) {
  for (const architecture of architectures) {
    const program = encodeProgram(compileProfile(profile, architecture))
    const decide = (call: string | number, ...args: readonly bigint[]): Verdict => {
      const number = typeof call === 'number' ? call : syscallNumber(call, architecture)
      assert.ok(number !== null)
      return run(program, architecture, { number, arguments: args })
    }

    test(`${name} on ${architecture}: every number has the verdict of the profile`, () => {
      const allowed = new Set(profile.allow.map((call) => syscallNumber(call, architecture)))
      const ruled = new Set(Object.keys(profile.rules).map((call) => syscallNumber(call, architecture)))
      for (let number = 0; number <= newestKnown + 100; number++) {
        if (ruled.has(number)) continue
        const expected = allowed.has(number) ? 'allow' : number <= newestKnown ? 'refuse' : 'unknown'
        assert.equal(decide(number), expected, `system call ${number}`)
      }
      assert.ok(program.byteLength < 4096, `${program.byteLength} bytes`)
    })

    test(`${name} on ${architecture}: a foreign architecture ends the process`, () => {
      for (const foreign of [0x40000003, 0x40000028, 0]) {
        assert.equal(run(program, architecture, { number: 1, architecture: foreign }), 'kill')
      }
      if (architecture === 'x64') assert.equal(decide(0x40000000 + 1), 'kill', 'x32')
    })

    test(`${name} on ${architecture}: sockets are Unix, IP and routing only`, () => {
      for (const domain of [1n, 2n, 10n]) assert.equal(decide('socket', domain, 1n, 0n), 'allow')
      assert.equal(decide('socket', 16n, 3n, 0n), 'allow', 'netlink route')
      for (const protocol of [4n, 9n, 12n, 15n, 16n]) assert.equal(decide('socket', 16n, 3n, protocol), 'refuse')
      for (const domain of [17n, 31n, 38n, 40n, 44n, 0n]) assert.equal(decide('socket', domain, 3n, 0n), 'refuse')
    })

    test(`${name} on ${architecture}: threads and children, but no namespaces`, () => {
      assert.equal(decide('clone', 0x3d0f00n), 'allow', 'a thread')
      assert.equal(decide('clone', 0x1200011n), 'allow', 'a fork')
      for (const flag of [0x00020000n, 0x02000000n, 0x04000000n, 0x08000000n, 0x10000000n, 0x20000000n, 0x40000000n]) {
        assert.equal(decide('clone', flag | 17n), 'refuse', flag.toString(16))
      }
      assert.equal(decide('clone3'), 'unknown', 'so that libraries fall back')
    })

    test(`${name} on ${architecture}: set upper bits do not slip past a refusal`, () => {
      const dirty = 0xdead_0000_0000n
      assert.equal(decide('ioctl', 0n, 0x5412n), 'refuse')
      assert.equal(decide('ioctl', 0n, dirty | 0x5412n), 'refuse')
      assert.equal(decide('ioctl', 0n, dirty | 0x541cn), 'refuse')
      assert.equal(decide('ioctl', 0n, 0x5401n), 'allow', 'asking what the terminal is')
      assert.equal(decide('socket', dirty | 40n), 'refuse')
    })

    test(`${name} on ${architecture}: devices cannot be made, pipes can`, () => {
      assert.equal(decide('mknodat', 0n, 0n, 0o010644n), 'allow')
      assert.equal(decide('mknodat', 0n, 0n, 0o020644n), 'refuse', 'a character device')
      assert.equal(decide('mknodat', 0n, 0n, 0o060644n), 'refuse', 'a block device')
    })
  }
}

test('strict is within default, and lacks what debuggers use', () => {
  const wide = new Set(named(profiles.default))
  assert.deepEqual(
    named(profiles.strict).filter((call) => !wide.has(call)),
    [],
  )
  const strict = new Set(profiles.strict.allow)
  for (const call of ['ptrace', 'process_vm_readv', 'process_vm_writev', 'pidfd_getfd', 'io_setup']) {
    assert.ok(!strict.has(call) && wide.has(call), call)
  }
})
