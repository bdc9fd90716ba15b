/** Secrets against the suite of providers, as far as it applies to what is no server, and what a consumer gets. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { providerConformance } from '../provider/conformance.ts'
import { secretProvider } from './provider.ts'

const target = { host: '', address: '', port: 0 }
const resource = { app: 'shop', name: 'smtp-password', config: null }

test('a consumer gets the value as a file with the name of the secret, and not in its environment', () => {
  const grant = { consumer: 'mailer', user: '', password: 'tr0ub4dor\n' }
  assert.deepEqual(secretProvider().bind(resource, grant, target), {
    env: {},
    files: [{ name: 'smtp-password', content: 'tr0ub4dor\n' }],
  })
})

test('a value that is empty or too long is refused by name', () => {
  for (const password of ['', 'x'.repeat(65_537)]) {
    const grant = { consumer: 'mailer', user: '', password }
    assert.throws(() => secretProvider().bind(resource, grant, target), {
      code: 'secrets.bad-value',
      message: /smtp-password of shop/,
    })
  }
})

providerConformance('secret', () =>
  Promise.resolve({
    provider: secretProvider(),
    config: null,
    filesDir: null,
    connect: null,
    connectionsMetric: null,
  }),
)
