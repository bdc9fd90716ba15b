/** Rules about managed things of clouds: storage, databases, buckets, machines. */
import type { Inventory, Resource, ResourceFacts, ResourceService } from '../inventory.ts'
import { plan } from './inputs.ts'
import { fail, pass, unknown } from './rule.ts'
import type { Failure, Rule, Verdict } from './rule.ts'

/** One verdict for each resource of these services: `want` decides on a fact that may be unset (undefined) or unknown (null). */
function each(
  services: readonly ResourceService[],
  fact: (facts: ResourceFacts) => boolean | null | undefined,
  decide: (value: boolean | undefined, resource: Resource) => Verdict | null,
  what: string,
): (inventory: Inventory) => Iterable<Verdict> {
  return function* (inventory) {
    for (const resource of inventory.resources) {
      if (!services.includes(resource.service)) continue
      const value = fact(resource.facts)
      const verdict = value === null ? unknown(resource, `${what} is known only after apply`) : decide(value, resource)
      if (verdict !== null) yield verdict
    }
  }
}

function failing(resource: Resource, message: string, left: string): Failure {
  return fail(resource, message, [], { left })
}

/** A member of an Aurora cluster: zones and backups are the cluster's. */
function inCluster(resource: Resource): boolean {
  return resource.facts.engine?.startsWith('aurora') ?? false
}

/** Services that are encrypted whatever is asked. */
function encryptsByItself(resource: Resource): boolean {
  if (resource.vendor !== 'AWS') return true
  return /dynamodb|aws_lb|DynamoDB/.test(resource.kind)
}

export const managedRules: readonly Rule[] = [
  {
    id: 'security.unencrypted-storage',
    category: 'security',
    severity: 'medium',
    title: 'Disks and databases are encrypted where they lie',
    reason: 'A snapshot that was shared by mistake, or a disk that was thrown away, otherwise reads like a book.',
    reference: 'https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/Overview.Encryption.html',
    cause: 'encryption',
    bad: plan('aws_db_instance', { engine: 'postgres', storage_encrypted: false }),
    good: plan('aws_db_instance', { engine: 'postgres', storage_encrypted: true }),
    check: each(
      ['disk', 'database'],
      (facts) => facts.encrypted,
      (value, resource) => {
        if (value === true || (value === undefined && encryptsByItself(resource))) return pass(resource)
        return failing(
          resource,
          value === undefined ? 'encryption is not asked for, and the default is none' : 'encryption is switched off',
          'Set storage_encrypted (disks: encrypted) to true: for what exists already, that means a new one and a copy.',
        )
      },
      'whether it is encrypted',
    ),
  },
  {
    id: 'security.public-database',
    category: 'security',
    severity: 'critical',
    title: 'Managed databases have no public address',
    reason: 'They are then as safe as the worst password, and as the list of past gaps is long.',
    reference: 'https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_VPC.WorkingWithRDSInstanceinaVPC.html',
    cause: 'exposure',
    bad: plan('aws_db_instance', { engine: 'postgres', publicly_accessible: true }),
    good: plan('aws_db_instance', { engine: 'postgres', publicly_accessible: false }),
    check: each(
      ['database'],
      (facts) => facts.public,
      (value, resource) =>
        value === true
          ? failing(
              resource,
              'it can be reached from the internet',
              'Reach it from inside the network, or through a tunnel.',
            )
          : pass(resource),
      'whether it has a public address',
    ),
  },
  {
    id: 'security.public-bucket',
    category: 'security',
    severity: 'critical',
    title: 'Buckets are not public',
    reason: 'What lies in a public bucket is found by those who list names of buckets all day.',
    reference: 'https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html',
    cause: 'exposure',
    bad: plan('aws_s3_bucket', { bucket: 'shop', acl: 'public-read' }),
    good: plan('aws_s3_bucket', { bucket: 'shop', acl: 'private' }),
    check: each(
      ['bucket'],
      (facts) => facts.public,
      (value, resource) =>
        value === true
          ? failing(
              resource,
              'everybody may read it',
              'Serve what is meant for the public through a gateway that knows what it serves.',
            )
          : pass(resource),
      'whether it is public',
    ),
  },
  {
    id: 'availability.no-backups',
    category: 'availability',
    severity: 'high',
    title: 'Managed databases are backed up',
    reason: 'A wrong statement, a wrong release or a wrong click is gone forever without one.',
    reference: 'https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_WorkingWithAutomatedBackups.html',
    cause: 'recovery',
    bad: plan('aws_db_instance', { engine: 'postgres', backup_retention_period: 0 }),
    good: plan('aws_db_instance', { engine: 'postgres', backup_retention_period: 14 }),
    check: each(
      ['database'],
      (facts) => facts.backups,
      (value, resource) =>
        inCluster(resource)
          ? null
          : value === false
            ? failing(
                resource,
                'automatic backups are off',
                'Set backup_retention_period to as many days as a mistake may stay unnoticed.',
              )
            : value === undefined
              ? unknown(resource, 'whether it is backed up is not said, and the default differs by engine')
              : pass(resource),
      'whether it is backed up',
    ),
  },
  {
    id: 'availability.unprotected-deletion',
    category: 'availability',
    severity: 'low',
    title: 'Managed databases are protected against deletion',
    reason: 'A changed name in a plan is a deletion and a new, empty database.',
    reference: 'https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_DeleteInstance.html',
    cause: 'recovery',
    bad: plan('aws_db_instance', { engine: 'postgres' }),
    good: plan('aws_db_instance', { engine: 'postgres', deletion_protection: true }),
    check: each(
      ['database'],
      (facts) => facts.deletionProtection,
      (value, resource) =>
        value === true
          ? pass(resource)
          : failing(resource, 'one plan can delete it', 'Set deletion_protection to true.'),
      'whether it is protected',
    ),
  },
  {
    id: 'availability.single-zone-database',
    category: 'availability',
    severity: 'medium',
    title: 'Managed databases stand in two zones',
    reason: 'A zone goes down more often than a database is restored quickly.',
    reference: 'https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/Concepts.MultiAZ.html',
    cause: 'copies',
    bad: plan('aws_db_instance', { engine: 'postgres', multi_az: false }),
    good: plan('aws_db_instance', { engine: 'postgres', multi_az: true }),
    check: each(
      ['database'],
      (facts) => facts.multiZone,
      (value, resource) => {
        if (/dynamodb|DynamoDB|rds_cluster|DBCluster/.test(resource.kind) || inCluster(resource)) return null
        return value === true
          ? pass(resource)
          : failing(
              resource,
              'it stands in one zone',
              'A standby in a second zone (multi_az) costs as much again; `stead uptime` shows what it buys.',
            )
      },
      'whether it stands in two zones',
    ),
  },
  {
    id: 'cost.old-generation',
    category: 'cost',
    severity: 'low',
    title: 'Machines are of a current generation',
    reason: 'Newer generations do the same work for less money.',
    reference: 'https://aws.amazon.com/ec2/previous-generation/',
    cause: 'spending',
    bad: plan('aws_instance', { instance_type: 'm4.large' }),
    good: plan('aws_instance', { instance_type: 'm7i.large' }),
    check: function* (inventory) {
      for (const resource of inventory.resources) {
        const size = resource.facts.size?.replace(/^(?:db|cache)\./, '')
        if (resource.vendor !== 'AWS' || size === undefined || !/^[a-z]+\d/.test(size)) continue
        const match = /^([a-z]+)(\d)/.exec(size)
        const newest: Readonly<Record<string, number>> = { t: 3, m: 6, c: 6, r: 6, i: 3 }
        const wanted = newest[(match?.[1] ?? '').slice(0, 1)]
        if (match === null || wanted === undefined) continue
        if (Number(match[2]) < wanted)
          yield failing(
            resource,
            `${size} is of an old generation`,
            `A ${match[1] ?? ''}${wanted} or newer does the same work for less; its processor differs, so measure.`,
          )
        else yield pass(resource)
      }
    },
  },
  {
    id: 'cost.old-disk-type',
    category: 'cost',
    severity: 'low',
    title: 'General disks are gp3',
    reason: 'gp3 costs a fifth less than gp2, and its speed does not depend on its size.',
    reference: 'https://docs.aws.amazon.com/ebs/latest/userguide/general-purpose.html',
    cause: 'spending',
    bad: plan('aws_instance', {
      instance_type: 'm7i.large',
      root_block_device: [{ volume_type: 'gp2', volume_size: 100 }],
    }),
    good: plan('aws_instance', {
      instance_type: 'm7i.large',
      root_block_device: [{ volume_type: 'gp3', volume_size: 100 }],
    }),
    check: function* (inventory) {
      // One answer for each plan: it is one change, and one sum.
      const withDisks = inventory.resources.filter(
        ({ vendor, facts }) => vendor === 'AWS' && (facts.disks ?? []).length > 0,
      )
      for (const members of Map.groupBy(withDisks, ({ source }) => source).values()) {
        const old = members.filter(({ facts }) => (facts.disks ?? []).some(({ type }) => type === 'gp2'))
        const disks = old.flatMap(({ facts }) => (facts.disks ?? []).filter(({ type }) => type === 'gp2'))
        const sizeGb = disks.reduce((sum, disk) => sum + disk.sizeGb, 0)
        const [first] = members
        const [worst] = old
        if (worst !== undefined)
          yield failing(
            worst,
            `${sizeGb} GB of gp2${old.length > 1 ? ` in ${old.length} machines` : ''}`,
            'Set volume_type to gp3: it can be changed while the disk is in use.',
          )
        else if (first !== undefined) yield pass(first)
      }
    },
  },
]
