/**
 * CloudFormation templates, also as the AWS CDK makes them. Parameters with a default count with it; what an intrinsic
 * function works out is known only later, so it is null.
 */
import type { Inventory, Subject } from '../inventory.ts'
import type { SourceFile } from '../source.ts'
import { at, entriesOf, textOf } from '../tree.ts'
import type { Entry, Tree } from '../tree.ts'
import { addCloudObject } from './cloud.ts'
import type { Attribute } from './cloud.ts'

export function isCloudFormation(tree: Tree): boolean {
  if (at(tree, 'AWSTemplateFormatVersion') !== undefined) return true
  return entriesOf(at(tree, 'Resources')).some(([, { value }]) => (textOf(at(value, 'Type')) ?? '').includes('::'))
}

/** Types whose Terraform name is not their own in small letters. */
const types: Readonly<Record<string, string>> = {
  'AWS::EC2::Instance': 'aws_instance',
  'AWS::EC2::Volume': 'aws_ebs_volume',
  'AWS::EC2::SecurityGroup': 'aws_security_group',
  'AWS::EC2::SecurityGroupIngress': 'aws_vpc_security_group_ingress_rule',
  'AWS::EC2::SecurityGroupEgress': 'aws_vpc_security_group_egress_rule',
  'AWS::EC2::NatGateway': 'aws_nat_gateway',
  'AWS::EC2::LaunchTemplate': 'aws_launch_template',
  'AWS::RDS::DBInstance': 'aws_db_instance',
  'AWS::RDS::DBCluster': 'aws_rds_cluster',
  'AWS::DynamoDB::Table': 'aws_dynamodb_table',
  'AWS::ElastiCache::ReplicationGroup': 'aws_elasticache_replication_group',
  'AWS::ElastiCache::CacheCluster': 'aws_elasticache_cluster',
  'AWS::Redshift::Cluster': 'aws_redshift_cluster',
  'AWS::S3::Bucket': 'aws_s3_bucket',
  'AWS::ElasticLoadBalancingV2::LoadBalancer': 'aws_lb',
  'AWS::ElasticLoadBalancing::LoadBalancer': 'aws_elb',
  'AWS::Lambda::Function': 'aws_lambda_function',
  'AWS::SQS::Queue': 'aws_sqs_queue',
  'AWS::SNS::Topic': 'aws_sns_topic',
  'AWS::IAM::Policy': 'aws_iam_policy',
  'AWS::IAM::ManagedPolicy': 'aws_iam_policy',
  'AWS::EKS::Cluster': 'aws_eks_cluster',
  'AWS::ECS::Service': 'aws_ecs_service',
  'AWS::StepFunctions::StateMachine': 'aws_sfn_state_machine',
  'AWS::ApiGateway::RestApi': 'aws_api_gateway_rest_api',
}

/** Attributes whose CloudFormation name is not their Terraform name in capitals. */
const renamed: Readonly<Record<string, string>> = {
  instance_class: 'DBInstanceClass',
  password: 'MasterUserPassword',
  master_password: 'MasterUserPassword',
  multi_az: 'MultiAZ',
  ingress: 'SecurityGroupIngress',
  egress: 'SecurityGroupEgress',
  engine: 'Engine',
  policy: 'PolicyDocument',
  acl: 'AccessControl',
  at_rest_encryption_enabled: 'AtRestEncryptionEnabled',
  server_side_encryption_configuration: 'BucketEncryption',
  block_device_mappings: 'BlockDeviceMappings',
}

export function readCloudFormation(source: SourceFile, tree: Tree, inventory: Inventory, documentStart: number): void {
  for (const [name, { value }] of entriesOf(at(tree, 'Resources'))) {
    const own = textOf(at(value, 'Type')) ?? '(no type)'
    const subject: Subject = {
      platform: 'cloudformation',
      kind: own,
      name,
      namespace: '',
      source,
      tree: value,
      path: ['Resources', name],
      documentStart,
    }
    if (!own.startsWith('AWS::')) {
      inventory.unknowns.push(subject)
      continue
    }
    // What a launch template makes stands one level deeper.
    const path = own === 'AWS::EC2::LaunchTemplate' ? ['Properties', 'LaunchTemplateData'] : ['Properties']
    const type = types[own] ?? `aws_${(own.split('::').slice(1).join('_') || 'unknown').toLowerCase()}`
    addCloudObject(
      {
        subject,
        type,
        region: null,
        path,
        count: 1,
        nameOf: (attribute) => renamed[attribute] ?? pascal(attribute),
        attribute: (...steps) => property(tree, at(value, ...path), steps),
      },
      inventory,
    )
  }
}

function property(template: Tree, properties: Tree | undefined, steps: readonly (string | number)[]): Attribute {
  const [first, ...rest] = steps
  if (first === 'metadata_options') return property(template, at(properties, 'MetadataOptions'), [String(rest.at(-1))])
  if (first === 'versioning') {
    const status = textOf(at(properties, 'VersioningConfiguration', 'Status'))
    return status === undefined ? undefined : scalar(status === 'Enabled')
  }
  if (first === 'internal') {
    const scheme = textOf(at(properties, 'Scheme'))
    return scheme === undefined ? undefined : scalar(scheme === 'internal')
  }
  let found: Attribute = properties
  for (const step of steps) {
    const key = typeof step === 'string' ? (renamed[step] ?? pascal(step)) : step
    // Terraform wraps single blocks in lists, CloudFormation does not.
    const next: Tree | undefined = at(found, key) ?? (step === 0 ? found : undefined)
    found = next === undefined ? undefined : resolve(template, next)
    if (found === undefined || found === null) return found
  }
  return found
}

function scalar(value: boolean): Tree {
  return { kind: 'scalar', offset: 0, value, plain: true, size: 1 }
}

function pascal(name: string): string {
  return name.replace(/(?:^|_)([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())
}

/** A value, the default of a parameter it refers to, or null for what is worked out later. */
function resolve(template: Tree, tree: Tree): Tree | null {
  if (tree.kind !== 'map' || tree.entries.size !== 1) return tree
  const [key, entry]: readonly [string, Entry] = [...tree.entries][0] ?? ['', { keyOffset: 0, value: tree }]
  if (key === 'Ref') {
    const parameter = at(template, 'Parameters', textOf(entry.value) ?? '')
    return at(parameter, 'NoEcho') === undefined ? (at(parameter, 'Default') ?? null) : null
  }
  return key.startsWith('Fn::') ? null : tree
}
