/** Rules about rights: roles of Kubernetes, policies of clouds, tokens that lie about. */
import type { Binding, Grant, Inventory, Workload } from '../inventory.ts'
import { at, booleanOf } from '../tree.ts'
import { deployment, plan, yaml } from './inputs.ts'
import { eachWorkload, fail, listed, pass, set } from './rule.ts'
import type { Rule, Verdict } from './rule.ts'

const rbacPage = 'https://kubernetes.io/docs/concepts/security/rbac-good-practices/'

const role = (rule: string, kind = 'ClusterRole'): string =>
  `apiVersion: rbac.authorization.k8s.io/v1\nkind: ${kind}\nmetadata: { name: reader }\nrules:\n  - ${rule}`

const binding = (roleName: string, subject: string): string =>
  `apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: { name: all }\nroleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: ${roleName} }\nsubjects:\n  - ${subject}`

function wildcard(grant: Grant): Verdict {
  for (const rule of grant.rules) {
    const all = (list: readonly string[]): boolean =>
      list.some((item) => item === '*' || item === '*/*' || item === '*:*')
    const serviceWide =
      grant.scope === 'cloud' && rule.actions.some((action) => /^[a-z0-9-]+:\*$/i.test(action)) && all(rule.resources)
    if (all(rule.actions) && all(rule.resources) && rule.names.length === 0)
      return fail(grant, 'it may do everything to everything', rule.path, {
        left: 'What its task needs is known to who gave it: name the verbs and resources.',
        severity: 'critical',
      })
    if ((grant.scope !== 'cloud' && (all(rule.actions) || all(rule.resources))) || serviceWide)
      return fail(grant, `it may do ${listed(rule.actions)} to ${listed(rule.resources)}`, rule.path, {
        left: 'Name the verbs and resources that its task needs.',
      })
  }
  return pass(grant)
}

function escalating(grant: Grant): Verdict | null {
  if (grant.scope === 'cloud') return iamEscalation(grant)
  for (const rule of grant.rules) {
    const verbs = rule.actions.filter((verb) => ['escalate', 'bind', 'impersonate'].includes(verb))
    if (verbs.length > 0)
      return fail(grant, `it may ${listed(verbs)}, and so give itself any right`, rule.path, {
        left: 'Hardly any program needs that; name the roles it may hand out with resourceNames.',
      })
    const writes = rule.actions.some((verb) => ['create', 'update', 'patch'].includes(verb))
    const strong = rule.resources.find((resource) =>
      /^(?:pods\/exec|nodes\/proxy|serviceaccounts\/token|rbac\.authorization\.k8s\.io\/(?:cluster)?rolebindings)$/.test(
        resource,
      ),
    )
    if (writes && strong !== undefined && rule.names.length === 0)
      return fail(grant, `it may write ${strong}, which leads to the rights of others`, rule.path, {
        left: 'Name the objects with resourceNames, or take the right away.',
      })
  }
  return pass(grant)
}

function iamEscalation(grant: Grant): Verdict {
  const dangerous =
    /^(?:iam:(?:PassRole|CreatePolicyVersion|AttachRolePolicy|AttachUserPolicy|PutRolePolicy|PutUserPolicy|CreateAccessKey|UpdateAssumeRolePolicy)|sts:AssumeRole)$/i
  for (const rule of grant.rules) {
    const found = rule.actions.filter((action) => dangerous.test(action))
    if (found.length > 0 && rule.resources.includes('*') && rule.names.length === 0)
      return fail(grant, `${listed(found)} on every resource leads to the rights of others`, rule.path, {
        left: 'Name the roles it is meant for.',
      })
  }
  return pass(grant)
}

function readsSecrets(grant: Grant): Verdict | null {
  if (grant.scope === 'cloud') return null
  for (const rule of grant.rules) {
    const reads = rule.actions.some((verb) => ['get', 'list', 'watch', '*'].includes(verb))
    if (reads && rule.resources.includes('secrets') && rule.names.length === 0)
      return fail(
        grant,
        `it may read all secrets ${grant.scope === 'cluster' ? 'of the cluster, when bound there' : 'of its namespace'}`,
        rule.path,
        {
          left: 'Name the secrets with resourceNames.',
          severity: grant.scope === 'cluster' ? 'high' : 'medium',
        },
      )
  }
  return pass(grant)
}

function bound(found: Binding): Verdict {
  const anybody = found.subjects.find(({ name }) =>
    ['system:unauthenticated', 'system:anonymous', 'system:authenticated'].includes(name),
  )
  if (anybody !== undefined)
    return fail(found, `${anybody.name} gets ${found.role}`, anybody.path, {
      left: 'Name who is meant.',
      severity: 'critical',
    })
  if (found.role === 'cluster-admin' && found.subjects.length > 0)
    return fail(found, `${listed(found.subjects.map(({ name }) => name))} gets cluster-admin`, ['roleRef'], {
      left: 'Name the rights its task needs in a role of its own.',
    })
  const byDefault = found.subjects.find(({ kind, name }) => kind === 'ServiceAccount' && name === 'default')
  if (byDefault !== undefined)
    return fail(found, 'the service account that every pod gets by default gets rights', byDefault.path, {
      left: 'Give the one program that needs them an account of its own.',
      severity: 'medium',
    })
  return pass(found)
}

interface Accounts {
  /** Accounts that mount no token by themselves. */
  readonly withoutToken: ReadonlySet<string>
  readonly withRights: ReadonlySet<string>
}

const accountsKnown = new WeakMap<Inventory, Accounts>()

function accountsOf(inventory: Inventory): Accounts {
  const known = accountsKnown.get(inventory)
  if (known !== undefined) return known
  const silent = inventory.others.filter(
    ({ kind, tree }) => kind === 'ServiceAccount' && booleanOf(at(tree, 'automountServiceAccountToken')) === false,
  )
  const bound = inventory.bindings.flatMap(({ subjects }) => subjects.filter(({ kind }) => kind === 'ServiceAccount'))
  const key = ({ namespace, name }: { readonly namespace: string; readonly name: string }): string =>
    `${namespace}/${name}`
  const found = { withoutToken: new Set(silent.map(key)), withRights: new Set(bound.map(key)) }
  accountsKnown.set(inventory, found)
  return found
}

/** A pod whose account has no rights in the input needs no token. */
function token(workload: Workload, inventory: Inventory): Verdict | null {
  if (workload.platform !== 'kubernetes') return null
  if (workload.pod.automountToken === false) return pass(workload)
  const account = workload.pod.serviceAccount ?? 'default'
  const accounts = accountsOf(inventory)
  const key = `${workload.namespace}/${account}`
  if (accounts.withRights.has(key)) return pass(workload)
  if (accounts.withoutToken.has(key) && workload.pod.automountToken === undefined) return pass(workload)
  const path = [...workload.podPath, 'automountServiceAccountToken']
  if (account === 'default')
    return fail(workload, 'a token for the API server is mounted, and its account has no rights there', path, {
      edits: [set(workload, path, false)],
    })
  return fail(workload, `a token of ${account} is mounted, and nothing in the input gives it rights`, path, {
    left: 'Rights may be given elsewhere, or outside the cluster by its identity.',
  })
}

function publicPrincipal(grant: Grant): Verdict | null {
  if (grant.scope !== 'cloud') return null
  const open = grant.rules.find((rule) => rule.principals.includes('*') && rule.names.length === 0)
  if (open === undefined) return pass(grant)
  return fail(grant, `everybody may ${listed(open.actions)}`, open.path, {
    left: 'Name who is meant, or a condition.',
    severity: 'high',
  })
}

function eachGrant(decide: (grant: Grant) => Verdict | null): Rule['check'] {
  return function* (inventory) {
    for (const grant of inventory.grants) {
      const verdict = decide(grant)
      if (verdict !== null) yield verdict
    }
  }
}

export const rightsRules: readonly Rule[] = [
  {
    id: 'security.wildcard-rights',
    category: 'security',
    severity: 'high',
    title: 'Rights name what they are for',
    reason: 'A star grows with the system: it gives rights to things that did not exist when it was written.',
    reference: rbacPage,
    cause: 'rights',
    bad: yaml(role("{ apiGroups: ['*'], resources: ['*'], verbs: ['*'] }")),
    good: yaml(role("{ apiGroups: [''], resources: [pods], verbs: [get, list] }")),
    check: eachGrant(wildcard),
  },
  {
    id: 'security.escalating-rights',
    category: 'security',
    severity: 'high',
    title: 'No right leads to the rights of others',
    reason:
      'Handing out roles, impersonating, running commands in pods of others: each is all rights by one step more.',
    reference: rbacPage,
    cause: 'rights',
    bad: yaml(role("{ apiGroups: [''], resources: [users], verbs: [impersonate] }")),
    good: yaml(role("{ apiGroups: [''], resources: [pods], verbs: [get] }")),
    check: eachGrant(escalating),
  },
  {
    id: 'security.reads-all-secrets',
    category: 'security',
    severity: 'high',
    title: 'Who reads secrets reads named ones',
    reason: 'A program that may list secrets holds the keys of all others.',
    reference: 'https://kubernetes.io/docs/concepts/security/secrets-good-practices/',
    cause: 'rights',
    bad: yaml(role("{ apiGroups: [''], resources: [secrets], verbs: [get, list] }")),
    good: yaml(role("{ apiGroups: [''], resources: [secrets], resourceNames: [web], verbs: [get] }")),
    check: eachGrant(readsSecrets),
  },
  {
    id: 'security.broad-binding',
    category: 'security',
    severity: 'high',
    title: 'Roles are given to who needs them',
    reason: 'A role bound to everybody, to the default account or as cluster-admin is one that nobody decided about.',
    reference: rbacPage,
    cause: 'rights',
    bad: yaml(binding('cluster-admin', '{ kind: ServiceAccount, name: ci, namespace: build }')),
    good: yaml(binding('reader', '{ kind: ServiceAccount, name: ci, namespace: build }')),
    check: function* (inventory) {
      for (const found of inventory.bindings) yield bound(found)
    },
  },
  {
    id: 'security.unneeded-token',
    category: 'security',
    severity: 'low',
    title: 'A token for the API server is mounted only where it is used',
    reason:
      'It is the first thing that is looked for after a break-in, and shows who is who in the cluster even without rights.',
    reference: 'https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/',
    cause: 'rights',
    bad: deployment(),
    good: deployment('', 'automountServiceAccountToken: false'),
    check: eachWorkload(token),
  },
  {
    id: 'security.public-policy',
    category: 'security',
    severity: 'high',
    title: 'No policy is for everybody',
    reason: 'A principal of * is the whole world, whatever the account.',
    reference: 'https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html',
    cause: 'exposure',
    bad: plan('aws_s3_bucket_policy', {
      policy:
        '{"Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::a/*"}]}',
    }),
    good: plan('aws_s3_bucket_policy', {
      policy:
        '{"Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::a/*"}]}',
    }),
    check: eachGrant(publicPrincipal),
  },
]
