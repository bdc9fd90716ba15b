/**
 * How hard it is to leave what a vendor manages: rough classes, each with its reason and what takes its place. Judged by one
 * question: does the same interface exist elsewhere, and does the data come along?
 */
import type { Resource } from './inventory.ts'

/** What one engineer needs who knows the design. */
export type Effort = 'hours' | 'days' | 'weeks' | 'months'

export interface Leaving {
  readonly effort: Effort
  readonly reason: string
  readonly alternative: string
}

/** First match on Terraform's type, or CloudFormation's, wins. */
const known: readonly (readonly [RegExp, Leaving])[] = [
  [
    /dynamodb|DynamoDB|cosmosdb|spanner|bigtable|firestore/i,
    {
      effort: 'months',
      reason: 'its interface and its data model exist nowhere else',
      alternative: 'PostgreSQL, with JSON where the shape varies.',
    },
  ],
  [
    /sfn_state_machine|StateMachine|logic_app/i,
    {
      effort: 'months',
      reason: 'the flow is written in its own language',
      alternative: 'A workflow in the language of the program, with its state in PostgreSQL.',
    },
  ],
  [
    /lambda|Lambda|cloudfunctions|function_app/i,
    {
      effort: 'weeks',
      reason: 'the program is written against its events and its limits',
      alternative: 'The same handler behind HTTP or a queue in a container.',
    },
  ],
  [
    /api_gateway|ApiGateway|apigatewayv2|cognito/i,
    {
      effort: 'weeks',
      reason: 'routes and identities are configured in its own terms',
      alternative: 'A gateway of your own and OpenID Connect.',
    },
  ],
  [
    /kinesis|eventhub|pubsub|sns_topic|SNS|servicebus/i,
    { effort: 'weeks', reason: 'programs speak its own protocol', alternative: 'Kafka, NATS or AMQP.' },
  ],
  [
    /sqs|SQS/i,
    {
      effort: 'days',
      reason: 'programs speak its own protocol, which others imitate',
      alternative: 'A queue with an SQS interface, or AMQP.',
    },
  ],
  [
    /redshift|bigquery|synapse/i,
    {
      effort: 'months',
      reason: 'its dialect of SQL and its loading are its own',
      alternative: 'PostgreSQL or ClickHouse, with files in Parquet.',
    },
  ],
  [
    /rds|RDS|db_instance|sql_database|postgresql|mysql|mariadb|docdb|rdb_instance|elasticache|ElastiCache|redis/i,
    {
      effort: 'days',
      reason: 'the protocol is a standard, and the data has to move with a short stop',
      alternative: 'The same database on machines of your own, filled by replication.',
    },
  ],
  [
    /aurora/i,
    {
      effort: 'weeks',
      reason: 'it speaks PostgreSQL or MySQL, and replicates in its own way',
      alternative: 'PostgreSQL, filled by logical replication.',
    },
  ],
  [
    /eks|kubernetes_cluster|container_cluster|k8s_cluster|EKS/i,
    {
      effort: 'days',
      reason: 'the interface is Kubernetes; identities, storage classes and load balancers are its own',
      alternative: 'Another Kubernetes, with those in an overlay.',
    },
  ],
  [
    /ecs_|ECS|cloud_run|app_service|apprunner/i,
    {
      effort: 'days',
      reason: 'containers move, their definition does not',
      alternative: 'Compose, Kubernetes or Stead with the same images.',
    },
  ],
  [
    /iam_|IAM|role_assignment/i,
    {
      effort: 'days',
      reason: 'rights are written in its own terms',
      alternative: 'Rights that belong to the program, given by the platform it runs on.',
    },
  ],
  [
    /s3_bucket|S3::Bucket|storage_bucket|object_bucket|spaces/i,
    {
      effort: 'days',
      reason: 'S3 is spoken by many, and the data has to be copied and paid for on its way out',
      alternative: 'Any store with an S3 interface.',
    },
  ],
  [
    /storage_account/i,
    { effort: 'weeks', reason: 'programs speak its own protocol', alternative: 'Any store with an S3 interface.' },
  ],
  [
    /cloudfront|CloudFront|frontdoor|cdn/i,
    {
      effort: 'days',
      reason: 'rules at the edge are written in its own terms',
      alternative: 'Another network with rules in headers of your own.',
    },
  ],
]

const easy: Leaving = { effort: 'hours', reason: 'the same exists at every vendor', alternative: 'None is needed.' }
const unclear: Leaving = {
  effort: 'days',
  reason: 'it is a managed service whose interface is not known here',
  alternative: 'Look whether a second vendor speaks the same protocol.',
}

/** What it takes to leave a resource. */
export function leavingEffort(resource: Resource): Leaving {
  const found = known.find(([pattern]) => pattern.test(resource.kind))
  if (found !== undefined) return found[1]
  return ['machine', 'disk', 'network', 'balancer', 'gateway'].includes(resource.service) || resource.vendor === ''
    ? easy
    : resource.service === 'other'
      ? easy
      : unclear
}
