/** Names of container images, taken apart: `registry/repository:tag@digest`. */

export interface ImageName {
  /** Host, and port where one is given; null when the name has none. */
  readonly registry: string | null
  readonly repository: string
  readonly tag: string | null
  readonly digest: string | null
}

export function parseImage(image: string): ImageName {
  const [name = '', digest] = image.split('@')
  const slash = name.indexOf('/')
  const first = slash === -1 ? '' : name.slice(0, slash)
  const isHost = first.includes('.') || first.includes(':') || first === 'localhost'
  const rest = isHost ? name.slice(slash + 1) : name
  const colon = rest.lastIndexOf(':')
  const tagged = colon > rest.lastIndexOf('/')
  return {
    registry: isHost ? first : null,
    repository: tagged ? rest.slice(0, colon) : rest,
    tag: tagged ? rest.slice(colon + 1) : null,
    digest: digest ?? null,
  }
}

/** The last part of the repository: what people call the image. */
export function shortName(image: string): string {
  return parseImage(image).repository.split('/').at(-1) ?? image
}

const databases =
  /(?:^|[-_/])(?:postgres|postgresql|postgis|timescaledb|mysql|mariadb|percona|mongo|mongodb|redis|valkey|memcached|elasticsearch|opensearch|cassandra|couchdb|influxdb|clickhouse|neo4j|etcd|cockroach|mssql|sqlserver|rabbitmq|kafka|zookeeper|minio|consul|vault)(?:$|[-_/])/

/** Whether an image keeps data that others depend on. */
export function isDataStore(image: string): boolean {
  const { repository } = parseImage(image)
  return (
    databases.test(repository) &&
    !/exporter|pgadmin|phpmyadmin|adminer|-ui|dashboard|operator|client|insight|mongo-express/.test(repository)
  )
}
