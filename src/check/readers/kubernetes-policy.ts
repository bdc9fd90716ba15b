/** Kubernetes objects that say what others may do or how they are kept running: policies, roles, budgets, autoscalers. */
import type { Inventory, Subject } from '../inventory.ts'
import { at, entriesOf, itemsOf, numberOf, recordOf, textOf, textsOf } from '../tree.ts'
import type { Tree } from '../tree.ts'

/** Adds the object; false when its kind is none of these. */
export function readKubernetesPolicy(subject: Subject, inventory: Inventory): boolean {
  switch (subject.kind) {
    case 'NetworkPolicy':
      inventory.networkPolicies.push(networkPolicy(subject))
      return true
    case 'Role':
    case 'ClusterRole':
      inventory.grants.push({
        ...subject,
        namespace: subject.kind === 'ClusterRole' ? '' : subject.namespace,
        scope: subject.kind === 'ClusterRole' ? 'cluster' : 'namespace',
        rules: itemsOf(at(subject.tree, 'rules')).map((rule, index) => ({
          actions: textsOf(at(rule, 'verbs')),
          resources: resourcesOf(rule),
          names: textsOf(at(rule, 'resourceNames')),
          principals: [],
          path: ['rules', index],
        })),
      })
      return true
    case 'RoleBinding':
    case 'ClusterRoleBinding':
      inventory.bindings.push({
        ...subject,
        namespace: subject.kind === 'ClusterRoleBinding' ? '' : subject.namespace,
        role: textOf(at(subject.tree, 'roleRef', 'name')) ?? '',
        clusterWide: subject.kind === 'ClusterRoleBinding',
        subjects: itemsOf(at(subject.tree, 'subjects')).map((item, index) => ({
          kind: textOf(at(item, 'kind')) ?? '',
          name: textOf(at(item, 'name')) ?? '',
          namespace: textOf(at(item, 'namespace')) ?? subject.namespace,
          path: ['subjects', index],
        })),
      })
      return true
    case 'PodDisruptionBudget': {
      const selector = at(subject.tree, 'spec', 'selector')
      inventory.budgets.push({
        ...subject,
        // Expressions choose by more than equality; null says that we do not know whom.
        selector: at(selector, 'matchExpressions') === undefined ? recordOf(at(selector, 'matchLabels')) : null,
        minAvailable: textOf(at(subject.tree, 'spec', 'minAvailable')) ?? null,
        maxUnavailable: textOf(at(subject.tree, 'spec', 'maxUnavailable')) ?? null,
      })
      return true
    }
    case 'HorizontalPodAutoscaler':
      inventory.autoscalers.push({
        ...subject,
        targetKind: textOf(at(subject.tree, 'spec', 'scaleTargetRef', 'kind')) ?? '',
        target: textOf(at(subject.tree, 'spec', 'scaleTargetRef', 'name')) ?? '',
        minReplicas: numberOf(at(subject.tree, 'spec', 'minReplicas')) ?? 1,
      })
      return true
    default:
      return false
  }
}

function resourcesOf(rule: Tree): readonly string[] {
  const groups = textsOf(at(rule, 'apiGroups'))
  const resources = textsOf(at(rule, 'resources'))
  const named = groups.length === 0 ? [''] : groups
  return [
    ...named.flatMap((group) => resources.map((resource) => (group === '' ? resource : `${group}/${resource}`))),
    ...textsOf(at(rule, 'nonResourceURLs')),
  ]
}

function networkPolicy(subject: Subject): Inventory['networkPolicies'][number] {
  const spec = at(subject.tree, 'spec')
  const types = textsOf(at(spec, 'policyTypes'))
  const rules = itemsOf(at(spec, 'egress'))
  return {
    ...subject,
    selector:
      at(spec, 'podSelector', 'matchExpressions') === undefined
        ? recordOf(at(spec, 'podSelector', 'matchLabels'))
        : null,
    // Without policyTypes a policy is for ingress, and for egress when it has egress rules.
    ingress: types.length === 0 || types.includes('Ingress'),
    egress: types.includes('Egress') || (types.length === 0 && rules.length > 0),
    egressBlocks: rules.flatMap((rule, ruleIndex) =>
      itemsOf(at(rule, 'to')).flatMap((peer, peerIndex) => {
        const cidr = textOf(at(peer, 'ipBlock', 'cidr'))
        if (cidr === undefined) return []
        const path = ['spec', 'egress', ruleIndex, 'to', peerIndex, 'ipBlock']
        return [{ cidr, except: textsOf(at(peer, 'ipBlock', 'except')), path }]
      }),
    ),
    opensAllEgress: rules.some(
      (rule) => itemsOf(at(rule, 'to')).length === 0 && entriesOf(rule).every(([key]) => key !== 'ports'),
    ),
  }
}
