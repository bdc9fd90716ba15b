/** PostgreSQL against the suite of providers. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { providerConformance } from '../provider/conformance.ts'
import type { ProviderSubject, TestHost } from '../provider/conformance.ts'
import { connectClient, materialiseInto } from './conformance.ts'
import { npmBinaries } from './drivers/npm-binaries.ts'
import { systemBinaries } from './drivers/system-binaries.ts'
import { postgresProvider } from './provider.ts'

async function subject(host: TestHost): Promise<ProviderSubject> {
  const filesDir = join(host.dir, 'migrations')
  await mkdir(filesDir)
  await writeFile(join(filesDir, '0001_items.sql'), 'create table items (id integer primary key);\n')
  const binaries = [...(await npmBinaries(materialiseInto(host))), ...(await systemBinaries())]
  return {
    provider: postgresProvider({ binaries }),
    config: { memoryBytes: 128 * 1024 * 1024, maxConnections: 20 },
    filesDir,
    connect: connectClient,
    connectionsMetric: 'postgres_connections',
  }
}

providerConformance('postgres', subject)
