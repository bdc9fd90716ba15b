/**
 * Managed things of clouds, from the attributes that Terraform and CloudFormation give them. One table for both: a type of
 * CloudFormation is looked up by the Terraform type that means the same, and its attributes under their Terraform names.
 */
import type { Grant, Inventory, Opening, ResourceFacts, ResourceService, Subject } from '../inventory.ts'
import { at, booleanOf, itemsOf, numberOf, plainOf, textOf, textsOf } from '../tree.ts'
import type { Path, Tree } from '../tree.ts'
import { readJson } from '../json-text.ts'

/** An attribute's tree; undefined is not set; null is known only once it was made. */
export type Attribute = Tree | undefined | null

export interface CloudObject {
  readonly subject: Subject
  /** Terraform's type. */
  readonly type: string
  readonly region: string | null
  /** From the subject's tree to the attributes. */
  readonly path: Path
  readonly attribute: (...path: Path) => Attribute
  /** What the format itself calls an attribute. */
  readonly nameOf: (attribute: string) => string
  readonly count: number
}

const vendors: Readonly<Record<string, string>> = {
  aws: 'AWS',
  google: 'Google Cloud',
  azurerm: 'Azure',
  azuread: 'Azure',
  scaleway: 'Scaleway',
  hcloud: 'Hetzner',
  digitalocean: 'DigitalOcean',
  ovh: 'OVH',
  cloudflare: 'Cloudflare',
}

/** The vendor of a Terraform type, or the provider's own name. */
export function vendorOf(type: string): string {
  const provider = type.split('_')[0] ?? ''
  return vendors[provider] ?? provider
}

/** First match wins. */
const services: readonly (readonly [RegExp, ResourceService])[] = [
  [
    /^(?:aws_instance|aws_spot_instance_request|aws_launch_template|aws_launch_configuration|google_compute_instance(?:_template)?|azurerm_(?:linux_|windows_)?virtual_machine(?:_scale_set)?|scaleway_instance_server|hcloud_server|digitalocean_droplet)$/,
    'machine',
  ],
  [
    /^(?:aws_ebs_volume|google_compute_disk|azurerm_managed_disk|scaleway_instance_volume|scaleway_block_volume|hcloud_volume|digitalocean_volume)$/,
    'disk',
  ],
  [
    /^(?:aws_db_instance|aws_rds_cluster(?:_instance)?|aws_docdb_cluster|aws_neptune_cluster|aws_dynamodb_table|aws_elasticache_(?:cluster|replication_group)|aws_redshift_cluster|aws_opensearch_domain|aws_elasticsearch_domain|google_sql_database_instance|google_spanner_instance|google_bigtable_instance|azurerm_(?:postgresql|mysql|mariadb|mssql)(?:_flexible)?_server|azurerm_sql_server|azurerm_cosmosdb_account|azurerm_redis_cache|scaleway_rdb_instance|scaleway_redis_cluster|digitalocean_database_cluster)$/,
    'database',
  ],
  [
    /^(?:aws_s3_bucket|google_storage_bucket|azurerm_storage_account|scaleway_object_bucket|digitalocean_spaces_bucket)$/,
    'bucket',
  ],
  [
    /^(?:aws_lb|aws_alb|aws_elb|google_compute_forwarding_rule|google_compute_global_forwarding_rule|azurerm_lb|azurerm_application_gateway|scaleway_lb|hcloud_load_balancer|digitalocean_loadbalancer)$/,
    'balancer',
  ],
  [
    /^(?:aws_nat_gateway|google_compute_router_nat|azurerm_nat_gateway|azurerm_(?:express_route|virtual_network)_gateway|azurerm_firewall|scaleway_vpc_public_gateway)$/,
    'gateway',
  ],
  [
    /^(?:aws_lambda_function|google_cloudfunctions2?_function|google_cloud_run(?:_v2)?_service|azurerm_(?:linux_|windows_)?function_app|scaleway_function|scaleway_container|aws_sfn_state_machine|aws_apigatewayv2_api|aws_api_gateway_rest_api)$/,
    'function',
  ],
  [
    /^(?:aws_sqs_queue|aws_sns_topic|aws_kinesis_stream|aws_msk_cluster|aws_mq_broker|google_pubsub_topic|azurerm_servicebus_(?:namespace|queue|topic)|azurerm_eventhub(?:_namespace)?)$/,
    'queue',
  ],
  [/^(?:aws_iam_|google_(?:project|storage_bucket|service_account)_iam_|azurerm_role_assignment)/, 'identity'],
  [
    /^(?:aws_eks_cluster|aws_ecs_cluster|aws_ecs_service|google_container_cluster|azurerm_kubernetes_cluster|scaleway_k8s_cluster|digitalocean_kubernetes_cluster)$/,
    'cluster',
  ],
  [
    /^(?:aws_(?:vpc|subnet|route|internet_gateway|security_group|network|eip|route53)|google_(?:compute_(?:network|subnetwork|firewall|route|address)|dns)|azurerm_(?:virtual_network|subnet|network|public_ip|dns)|scaleway_(?:vpc|instance_security_group|instance_ip|domain)|hcloud_(?:network|firewall))/,
    'network',
  ],
]

export function serviceOf(type: string): ResourceService {
  return services.find(([pattern]) => pattern.test(type))?.[1] ?? 'other'
}

function truth(value: Attribute): boolean | null | undefined {
  return value === null ? null : value === undefined ? undefined : (booleanOf(value) ?? null)
}

function word(value: Attribute): string | null | undefined {
  return value === null ? null : value === undefined ? undefined : (textOf(value) ?? null)
}

/** The first attribute that is set. */
function firstOf(object: CloudObject, ...names: readonly Path[]): Attribute {
  return names.map((name) => object.attribute(...name)).find((value) => value !== undefined)
}

/** Adds what the object is and what it opens and grants. */
export function addCloudObject(object: CloudObject, inventory: Inventory): void {
  const service = serviceOf(object.type)
  const { subject } = object
  inventory.resources.push({
    ...subject,
    vendor: vendorOf(object.type),
    service,
    region: object.region,
    facts: factsOf(object, service),
  })
  inventory.openings.push(...openingsOf(object))
  const grant = grantOf(object)
  if (grant !== null) inventory.grants.push(grant)
}

function factsOf(object: CloudObject, service: ResourceService): ResourceFacts {
  const set = <Key extends keyof ResourceFacts>(
    key: Key,
    value: ResourceFacts[Key] | undefined,
  ): Partial<ResourceFacts> => (value === undefined ? {} : { [key]: value })
  const { attribute } = object
  const size = word(
    firstOf(
      object,
      ['instance_type'],
      ['instance_class'],
      ['machine_type'],
      ['size'],
      ['vm_size'],
      ['type'],
      ['server_type'],
      ['node_type'],
      ['settings', 0, 'tier'],
      ['sku_name'],
      ['sku'],
    ),
  )
  const tokens = word(attribute('metadata_options', 0, 'http_tokens'))
  return {
    count: object.count,
    ...set('size', size),
    ...set('encrypted', encryptedOf(object, service)),
    ...set('public', publicOf(object, service)),
    ...set('multiZone', multiZoneOf(object)),
    ...set('backups', backupsOf(object)),
    ...set('deletionProtection', truth(firstOf(object, ['deletion_protection'], ['enable_deletion_protection']))),
    ...set('versioned', truth(firstOf(object, ['versioning', 0, 'enabled'], ['versioning', 'enabled']))),
    ...set('metadataTokens', tokens === undefined || tokens === null ? tokens : tokens === 'required'),
    ...set('engine', word(firstOf(object, ['engine'], ['database_version']))),
    ...set('storageGb', storageOf(object)),
    disks: disksOf(object),
    plainSecrets: ['password', 'master_password', 'administrator_login_password', 'admin_password', 'root_password']
      .filter((name) => textOf(attribute(name) ?? undefined) !== undefined)
      .map((name) => [...object.path, object.nameOf(name)]),
  }
}

function encryptedOf(object: CloudObject, service: ResourceService): boolean | null | undefined {
  if (service === 'bucket') {
    const rule = object.attribute('server_side_encryption_configuration')
    // Every bucket of AWS has been encrypted by default since 2023; other vendors do likewise.
    return rule === undefined ? undefined : true
  }
  return truth(
    firstOf(
      object,
      ['storage_encrypted'],
      ['encrypted'],
      ['at_rest_encryption_enabled'],
      ['kms_encrypted_disk'],
      ['encryption_at_rest'],
      ['encrypt_at_rest', 0, 'enabled'],
    ),
  )
}

function publicOf(object: CloudObject, service: ResourceService): boolean | null | undefined {
  if (service === 'bucket') {
    const acl = word(object.attribute('acl'))
    if (acl === null) return null
    if (acl !== undefined && /public|authenticated-read/.test(acl)) return true
    const nested = truth(firstOf(object, ['allow_nested_items_to_be_public'], ['allow_blob_public_access']))
    return nested ?? (acl === undefined ? undefined : false)
  }
  const networks = object.attribute('settings', 0, 'ip_configuration', 0, 'authorized_networks')
  if (networks !== undefined && networks !== null) {
    if (itemsOf(networks).some((network) => textOf(at(network, 'value')) === '0.0.0.0/0')) return true
  }
  const internal = truth(object.attribute('internal'))
  if (service === 'balancer') return internal === undefined ? true : internal === null ? null : !internal
  return truth(
    firstOf(
      object,
      ['publicly_accessible'],
      ['public_network_access_enabled'],
      ['associate_public_ip_address'],
      ['endpoint_public_access'],
      ['vpc_config', 0, 'endpoint_public_access'],
    ),
  )
}

function multiZoneOf(object: CloudObject): boolean | null | undefined {
  const availability = word(object.attribute('settings', 0, 'availability_type'))
  if (typeof availability === 'string') return availability === 'REGIONAL'
  return truth(firstOf(object, ['multi_az'], ['multi_az_enabled'], ['is_ha_cluster'], ['zone_redundant']))
}

function backupsOf(object: CloudObject): boolean | null | undefined {
  const retention = object.attribute('backup_retention_period')
  if (retention === null) return null
  const days = numberOf(retention)
  if (days !== undefined) return days > 0
  const disabled = truth(object.attribute('disable_backup'))
  if (disabled !== undefined) return disabled === null ? null : !disabled
  return truth(
    firstOf(
      object,
      ['settings', 0, 'backup_configuration', 0, 'enabled'],
      ['point_in_time_recovery', 0, 'enabled'],
      ['backups'],
    ),
  )
}

function storageOf(object: CloudObject): number | null | undefined {
  const value = firstOf(
    object,
    ['allocated_storage'],
    ['size'],
    ['disk_size_gb'],
    ['size_in_gb'],
    ['volume_size_in_gb'],
    ['size_gb'],
  )
  return value === null ? null : numberOf(value)
}

function disksOf(object: CloudObject): NonNullable<ResourceFacts['disks']> {
  return ['root_block_device', 'ebs_block_device', 'block_device_mappings'].flatMap((name) => {
    const list = object.attribute(name)
    return itemsOf(list ?? undefined).map((item) => {
      const disk = at(item, 'ebs', 0) ?? at(item, 'ebs') ?? item
      return {
        type: textOf(at(disk, 'volume_type')) ?? textOf(at(disk, 'VolumeType')) ?? 'gp2',
        sizeGb: numberOf(at(disk, 'volume_size')) ?? numberOf(at(disk, 'VolumeSize')) ?? 8,
        iops: numberOf(at(disk, 'iops')) ?? numberOf(at(disk, 'Iops')) ?? null,
      }
    })
  })
}

const allPorts = { fromPort: 0, toPort: 65_535 }

function openingsOf(object: CloudObject): readonly Opening[] {
  const { subject, type, attribute, path } = object
  const rule = (tree: Tree | undefined, direction: 'in' | 'out', field: Path): Opening | null => {
    const cidrs = [
      ...[
        'cidr_blocks',
        'ipv6_cidr_blocks',
        'source_ranges',
        'destination_ranges',
        'source_address_prefixes',
        'source_ips',
      ].flatMap((name) => textsOf(at(tree, name))),
      ...['cidr_ipv4', 'cidr_ipv6', 'source_address_prefix', 'CidrIp', 'CidrIpv6'].flatMap(
        (name) => textOf(at(tree, name)) ?? [],
      ),
    ].map((cidr) => (cidr === '*' || cidr === 'Internet' ? '0.0.0.0/0' : cidr))
    if (cidrs.length === 0) return null
    const protocol =
      textOf(at(tree, 'protocol')) ?? textOf(at(tree, 'ip_protocol')) ?? textOf(at(tree, 'IpProtocol')) ?? '-1'
    const from = numberOf(at(tree, 'from_port')) ?? numberOf(at(tree, 'FromPort'))
    const to = numberOf(at(tree, 'to_port')) ?? numberOf(at(tree, 'ToPort'))
    const ranges = textOf(at(tree, 'destination_port_range')) ?? textOf(at(tree, 'port'))
    const range = /^(\d+)(?:-(\d+))?$/.exec(ranges ?? '')
    const every = protocol === '-1' || protocol === 'all' || protocol === '*'
    const known =
      range === null
        ? { fromPort: from ?? 0, toPort: to ?? from ?? 65_535 }
        : { fromPort: Number(range[1]), toPort: Number(range[2] ?? range[1]) }
    return { ...subject, field, direction, cidrs, protocol, ...(every && range === null ? allPorts : known) }
  }
  const listed = (name: string, direction: 'in' | 'out'): readonly Opening[] =>
    itemsOf(attribute(name) ?? undefined)
      .map((item, index) => rule(item, direction, [...path, object.nameOf(name), index]))
      .filter((opening) => opening !== null)
  if (type === 'aws_security_group' || type === 'aws_default_security_group')
    return [...listed('ingress', 'in'), ...listed('egress', 'out')]
  const own = at(subject.tree, ...path)
  const single = (direction: 'in' | 'out'): readonly Opening[] =>
    [rule(own, direction, path)].filter((opening) => opening !== null)
  if (type === 'aws_security_group_rule') return single(textOf(at(own, 'type')) === 'egress' ? 'out' : 'in')
  if (type === 'aws_vpc_security_group_ingress_rule') return single('in')
  if (type === 'aws_vpc_security_group_egress_rule') return single('out')
  if (type === 'hcloud_firewall') return listed('rule', 'in')
  if (type === 'azurerm_network_security_group') return listed('security_rule', 'in')
  if (type === 'azurerm_network_security_rule') {
    const allows = textOf(at(own, 'access')) === 'Allow' && textOf(at(own, 'direction')) === 'Inbound'
    return allows ? single('in') : []
  }
  if (type !== 'google_compute_firewall') return []
  const ranges = textsOf(at(own, 'source_ranges'))
  return itemsOf(at(own, 'allow')).flatMap((allow): readonly Opening[] => {
    const ports = textsOf(at(allow, 'ports'))
    const spans = ports.length === 0 ? ['0-65535'] : ports
    return spans.map((span) => {
      const [from = '0', to = from] = span.split('-')
      return {
        ...subject,
        field: path,
        direction: 'in',
        cidrs: ranges,
        fromPort: Number(from),
        toPort: Number(to),
        protocol: textOf(at(allow, 'protocol')) ?? 'all',
      }
    })
  })
}

/** Attributes that hold policies, as JSON text or as a map. */
const policies: readonly Path[] = [
  ['policy'],
  ['assume_role_policy'],
  ['inline_policy', 0, 'policy'],
  ['PolicyDocument'],
]

/** What an object lets somebody do: statements of policies, and roles given to members. Null when it gives nothing. */
function grantOf(object: CloudObject): Grant | null {
  // The policy of an endpoint only narrows what others give.
  if (/vpc_?endpoint/.test(object.type)) return null
  const rules = [...policies.flatMap((path) => statementsOf(object, path)), ...membershipOf(object)]
  return rules.length === 0 ? null : { ...object.subject, scope: 'cloud', rules }
}

function statementsOf(object: CloudObject, attribute: Path): Grant['rules'] {
  const policy = object.attribute(...attribute)
  if (policy === undefined || policy === null) return []
  const text = textOf(policy)
  const tree = text === undefined ? policy : readJson({ path: '', text }).tree
  if (tree === null) return []
  const statements = at(tree, 'Statement')
  const listed = statements?.kind === 'list' ? statements.items : statements === undefined ? [] : [statements]
  const words = (found: Tree | undefined): readonly string[] => {
    const word = textOf(found)
    return word === undefined ? textsOf(found) : [word]
  }
  return listed
    .filter((statement) => textOf(at(statement, 'Effect')) === 'Allow')
    .map((statement) => ({
      actions: words(at(statement, 'Action')),
      resources: words(at(statement, 'Resource')),
      names: at(statement, 'Condition') === undefined ? [] : ['condition'],
      principals: principalsOf(at(statement, 'Principal')),
      path: [...object.path, object.nameOf(String(attribute[0]))],
    }))
}

/** Roles of Google Cloud and Azure that are all rights. */
const allRights = /^(?:roles\/(?:owner|editor)|Owner|Contributor)$/

function membershipOf(object: CloudObject): Grant['rules'] {
  if (!/_iam_(?:member|binding)$|^azurerm_role_assignment$/.test(object.type)) return []
  const role = word(object.attribute('role')) ?? word(object.attribute('role_definition_name'))
  if (role === undefined || role === null) return []
  const members = [...textsOf(object.attribute('members') ?? undefined), word(object.attribute('member')) ?? '']
  const everybody = members.some((member) => member === 'allUsers' || member === 'allAuthenticatedUsers')
  const broad = allRights.test(role)
  return [
    {
      actions: broad ? ['*'] : [role],
      resources: broad ? ['*'] : ['what it is set on'],
      names: [],
      principals: everybody ? ['*'] : ['named'],
      path: [...object.path, 'role'],
    },
  ]
}

function principalsOf(tree: Tree | undefined): readonly string[] {
  if (tree === undefined) return []
  const plain = plainOf(tree)
  if (typeof plain === 'string') return [plain]
  return JSON.stringify(plain).includes('"*"') ? ['*'] : ['named']
}
