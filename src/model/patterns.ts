/** What names, paths and addresses look like: shared by the builders, which explain, and the schema, which is published. */

/** App and part names: they become host names, user names and directories. */
export const namePattern: RegExp = /^[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?$/

/** A part's own name for what it uses: camel case, so that it maps onto environment variables without a clash. */
export const aliasPattern: RegExp = /^[a-z][a-zA-Z0-9]{0,39}$/

/** Names of environment variables. */
export const envNamePattern: RegExp = /^(?!__proto__$)[A-Za-z_][A-Za-z0-9_]{0,127}$/

/** Types of resources. */
export const typePattern: RegExp = /^[a-z][a-z0-9-]{0,39}$/

/** A directory inside that of the app file: `.`, or segments without `.` and `..`. */
export const directoryPattern: RegExp =
  /^(?:\.|(?!\.{1,2}(?:\/|$))[^/\\\p{Cc}]+(?:\/(?!\.{1,2}(?:\/|$))[^/\\\p{Cc}]+)*)$/u

/** A host name, in lower case. */
export const hostPattern: RegExp =
  /^(?:\*\.)?(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/

/** The path of a route: `/`, or segments of unreserved characters without a slash at the end. */
export const routePathPattern: RegExp =
  /^\/(?:(?!\.{1,2}(?:\/|$))[A-Za-z0-9._~-]+(?:\/(?!\.{1,2}(?:\/|$))[A-Za-z0-9._~-]+)*)?$/

/** What a ready check asks for: a path, with a query if need be. */
export const requestPathPattern: RegExp = /^\/[!-~]{0,1023}$/

/** An entry of `egress`, in lower case: `host:port`, `*.domain:port` (what lies below a domain of two labels or more), `address:port` or `address/bits:port`. */
export const egressPattern: RegExp =
  /^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?:25[0-5]|2[0-4]\d|1?\d?\d)){3}(?:\/(?:3[0-2]|[12]?\d))?|(?:\*\.(?=[^.]+\.))?(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*(?![0-9]+:)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?):[1-9][0-9]{0,4}$/

/** Where backups go: an absolute path, or a bucket of an S3 server; nothing that could be a key of one. */
export const backupPlacePattern: RegExp =
  /^(?:\/[^\0]{0,1023}|s3:https?:\/\/[A-Za-z0-9.[\]:-]{1,260}\/[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:\/[A-Za-z0-9._/-]{0,900})?)$/

/** The prefix of the environment variables of a use: `mailQueue` gives `MAIL_QUEUE`. Different aliases give different prefixes. */
export function envPrefix(alias: string): string {
  return alias.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()
}

/** A reference to an image; what it names is read by whoever fetches it. */
export const imagePattern: RegExp = /^oci:[A-Za-z0-9./[][^\s\0]*$/
export const imageDigestPattern: RegExp = /^sha256:[0-9a-f]{64}$/
/** A user of an image, by name or id, with a group after a colon. */
export const imageUserPattern: RegExp = /^[A-Za-z0-9_][A-Za-z0-9_.-]*\$?(?::[A-Za-z0-9_][A-Za-z0-9_.-]*)?$/
