/**
 * Access control lists: who else may do what with a bucket or an object. They exist because clients send and expect them; who
 * may use a bucket in Stead is settled by its credentials. Pure.
 */
import { S3Failure } from './failure.ts'
import { childOf, childrenNamed, malformed, textOf } from './xml.ts'
import type { XmlElement, XmlTree } from './xml.ts'

const permissions = ['READ', 'WRITE', 'READ_ACP', 'WRITE_ACP', 'FULL_CONTROL'] as const
export type Permission = (typeof permissions)[number]

/** One line of a list. The grantee is an account, or one of the two groups. */
export interface Grant {
  readonly grantee: string
  readonly permission: Permission
}

/** Somebody who owns buckets and objects. */
export interface Account {
  readonly id: string
  readonly displayName: string
  readonly email?: string
}

/** Finds accounts that are named in lists. */
export interface Accounts {
  byId(id: string): Account | undefined
  byEmail(email: string): Account | undefined
}

export const everybody = 'http://acs.amazonaws.com/groups/global/AllUsers'
export const anyAccount = 'http://acs.amazonaws.com/groups/global/AuthenticatedUsers'
const grantsMax = 100

/** The list of one of the ready-made names. Throws InvalidArgument. */
export function cannedAcl(name: string, owner: string, bucketOwner: string): readonly Grant[] {
  const own: Grant = { grantee: owner, permission: 'FULL_CONTROL' }
  const known: Readonly<Record<string, readonly Grant[]>> = {
    private: [own],
    'public-read': [{ grantee: everybody, permission: 'READ' }, own],
    'public-read-write': [{ grantee: everybody, permission: 'READ' }, { grantee: everybody, permission: 'WRITE' }, own],
    'authenticated-read': [{ grantee: anyAccount, permission: 'READ' }, own],
    'bucket-owner-read': owner === bucketOwner ? [own] : [own, { grantee: bucketOwner, permission: 'READ' }],
    'bucket-owner-full-control':
      owner === bucketOwner ? [own] : [own, { grantee: bucketOwner, permission: 'FULL_CONTROL' }],
  }
  const grants = known[name]
  if (grants === undefined) throw new S3Failure('InvalidArgument', `There is no access control list named ${name}.`)
  return grants
}

const grantHeaders: readonly (readonly [string, Permission])[] = [
  ['x-amz-grant-read', 'READ'],
  ['x-amz-grant-write', 'WRITE'],
  ['x-amz-grant-read-acp', 'READ_ACP'],
  ['x-amz-grant-write-acp', 'WRITE_ACP'],
  ['x-amz-grant-full-control', 'FULL_CONTROL'],
]

/** The list that headers ask for; undefined where they say nothing. */
export function aclOfHeaders(
  headers: Readonly<Record<string, string>>,
  owner: string,
  bucketOwner: string,
  accounts: Accounts,
): readonly Grant[] | undefined {
  const canned = headers['x-amz-acl']
  const grants = grantHeaders.flatMap(([name, permission]) =>
    (headers[name] ?? '')
      .split(',')
      .filter((item) => item.trim() !== '')
      .map((item) => ({ grantee: granteeOf(item.trim(), accounts), permission })),
  )
  if (grants.length > grantsMax)
    throw new S3Failure('InvalidArgument', 'An access control list has at most 100 grants.')
  if (canned === undefined) return grants.length === 0 ? undefined : grants
  if (grants.length > 0) throw new S3Failure('InvalidRequest', 'Give a ready-made list or grants, not both.')
  return cannedAcl(canned, owner, bucketOwner)
}

function granteeOf(item: string, accounts: Accounts): string {
  const [, kind, value = ''] = /^(id|uri|emailAddress)="?([^"]*)"?$/i.exec(item) ?? []
  if (kind?.toLowerCase() === 'uri') return groupOf(value)
  if (kind?.toLowerCase() === 'emailaddress') return accountOfEmail(value, accounts)
  return accountOf(value, accounts)
}

function groupOf(uri: string): string {
  if (uri !== everybody && uri !== anyAccount) throw new S3Failure('InvalidArgument', `There is no group ${uri}.`)
  return uri
}

function accountOf(id: string, accounts: Accounts): string {
  if (accounts.byId(id) === undefined)
    throw new S3Failure('InvalidArgument', 'A grant names an account that does not exist.')
  return id
}

function accountOfEmail(email: string, accounts: Accounts): string {
  const account = accounts.byEmail(email)
  if (account === undefined) throw new S3Failure('UnresolvableGrantByEmailAddress')
  return account.id
}

/** Reads a list, groups first; its owner must be the one who owns the thing. */
export function readAcl(root: XmlElement, owner: string, accounts: Accounts): readonly Grant[] {
  const named = textOf(childOf(root, 'Owner'), 'ID')
  if (named !== undefined && named !== owner)
    throw new S3Failure('AccessDenied', 'An owner cannot be changed by a list.')
  const list = childOf(root, 'AccessControlList')
  if (list === undefined) throw new S3Failure('MalformedACLError')
  const grants = childrenNamed(list, 'Grant').map((grant) => {
    const grantee = childOf(grant, 'Grantee')
    const permission = permissions.find((known) => known === textOf(grant, 'Permission'))
    if (grantee === undefined || permission === undefined) throw malformed('a grant lacks its grantee or permission')
    const [uri, email, id] = ['URI', 'EmailAddress', 'ID'].map((name) => textOf(grantee, name))
    if (uri !== undefined) return { grantee: groupOf(uri), permission }
    if (email !== undefined) return { grantee: accountOfEmail(email, accounts), permission }
    return { grantee: accountOf(id ?? '', accounts), permission }
  })
  if (grants.length > grantsMax)
    throw new S3Failure('MalformedACLError', 'An access control list has at most 100 grants.')
  const rank = ({ grantee }: Grant): number => (grantee.startsWith('http') ? 0 : 1)
  return grants.toSorted((a, b) => rank(a) - rank(b))
}

/** The list as it is shown. */
export function aclTree(owner: string, grants: readonly Grant[], accounts: Accounts): XmlTree {
  return {
    Owner: ownerTree(owner, accounts),
    AccessControlList: {
      Grant: grants.map(({ grantee, permission }) => ({
        Grantee: granteeTree(grantee, accounts),
        Permission: permission,
      })),
    },
  }
}

/** An owner as it is shown. */
export function ownerTree(id: string, accounts: Accounts): XmlTree {
  return { ID: id, DisplayName: accounts.byId(id)?.displayName ?? id }
}

function granteeTree(grantee: string, accounts: Accounts): XmlTree {
  const kind = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type='
  if (grantee.startsWith('http')) return { '@': `${kind}"Group"`, URI: grantee }
  return { '@': `${kind}"CanonicalUser"`, ...ownerTree(grantee, accounts) }
}

/** Whether a list permits an account (empty: nobody in particular) to do something. */
export function permits(grants: readonly Grant[], account: string, permission: Permission): boolean {
  return grants.some(
    (grant) =>
      (grant.permission === permission || grant.permission === 'FULL_CONTROL') &&
      (grant.grantee === everybody || (account !== '' && (grant.grantee === account || grant.grantee === anyAccount))),
  )
}

/** Whether a list lets in everybody, or everybody with an account. */
export function isPublicAcl(grants: readonly Grant[]): boolean {
  return grants.some(({ grantee }) => grantee === everybody || grantee === anyAccount)
}
