/** Sharing by age: what is exported for somebody opens with that identity and no other. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { generateX25519Identity, identityToRecipient } from 'age-encryption'
import { isFailure } from './conformance.ts'
import { decryptWith, encryptFor, makeIdentity } from './sharing.ts'

const value = Buffer.from([0, 1, 255, 10, 115, 101])

test('an export opens for each of its recipients, byte for byte, and for nobody else', async () => {
  const [one, two, other] = await Promise.all([
    generateX25519Identity(),
    generateX25519Identity(),
    generateX25519Identity(),
  ])
  const text = await encryptFor(value, [await identityToRecipient(one), await identityToRecipient(two)])
  assert.match(text, /^-----BEGIN AGE ENCRYPTED FILE-----\n/)
  for (const identity of [one, `# made for a test\n${two}\n`])
    assert.deepEqual(await decryptWith(text, identity), value)
  await assert.rejects(decryptWith(text, other), isFailure('cannot-import'))
})

test('an identity of a seed is always the same, and one that the library knows', async () => {
  const seed = new Uint8Array(32).map((_, index) => index * 7)
  const { identity, recipient } = await makeIdentity(seed)
  assert.deepEqual(await makeIdentity(seed), { identity, recipient })
  assert.equal(recipient, await identityToRecipient(identity))
  assert.deepEqual(await decryptWith(await encryptFor(value, [recipient]), identity), value)
  assert.notEqual((await makeIdentity(seed.with(0, 1))).identity, identity)
  assert.notEqual((await makeIdentity()).identity, (await makeIdentity()).identity)
})

test('what is cut, changed or no export is refused', async () => {
  const identity = await generateX25519Identity()
  const text = await encryptFor(value, [await identityToRecipient(identity)])
  for (const bad of ['', 'hello', text.slice(0, 80), text.slice(0, -60), text.replace(/\n(\w)/, '\n~')])
    await assert.rejects(decryptWith(bad, identity), isFailure('cannot-import'))
})

test('recipients and identities are not taken for each other, and a secret key is not repeated', async () => {
  const identity = await generateX25519Identity()
  const recipient = await identityToRecipient(identity)
  for (const recipients of [[], ['age1nonsense'], ['bob@example.com'], [identity]]) {
    await assert.rejects(encryptFor(value, recipients), (error) => {
      assert.ok(isFailure('bad-recipient')(error))
      assert.ok(!String(error).includes(identity))
      return true
    })
  }
  const text = await encryptFor(value, [recipient])
  for (const bad of ['', '# nothing\n', recipient, 'AGE-SECRET-KEY-1BROKEN'])
    await assert.rejects(decryptWith(text, bad), isFailure('bad-identity'))
})
