/** What control knows of resource types without their rooms. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { resourcePorts, resourceTypes } from './resource-types.ts'

test('names and ports are those that the rooms say', async () => {
  const said = (await resourceTypes()).map(({ type, port }) => ({ type, port }))
  assert.deepEqual(said, resourcePorts)
})
