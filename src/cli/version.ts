/** The version of this Stead, from the package it lies in. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

function readVersion(): string {
  const path = join(import.meta.dirname, '..', '..', 'package.json')
  const found: unknown = JSON.parse(readFileSync(path, 'utf8'))
  return typeof found === 'object' && found !== null && 'version' in found ? String(found.version) : 'unknown'
}

export const version: string = readVersion()
