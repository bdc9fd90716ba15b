/** Rules about what runs: whether the same name means the same bytes tomorrow. */
import { parseImage } from '../versions/image.ts'
import type { Workload } from '../inventory.ts'
import type { Container } from '../pod.ts'
import { compose, deployment, yaml } from './inputs.ts'
import { eachWorkload, fail, listed, pass } from './rule.ts'
import type { Rule, Verdict } from './rule.ts'

function withImages(workload: Workload): readonly (Container & { readonly image: string })[] {
  return workload.pod.containers.flatMap((container) =>
    container.image === null || container.image === '' ? [] : [{ ...container, image: container.image }],
  )
}

function decide(
  workload: Workload,
  bad: (image: string) => boolean,
  message: (images: string) => string,
  left: string,
): Verdict | null {
  const all = withImages(workload)
  if (all.length === 0) return null
  const found = all.filter(({ image }) => bad(image))
  const [first] = found
  if (first === undefined) return pass(workload)
  const images = listed([...new Set(found.map(({ image }) => image))])
  return fail(workload, message(images), [...first.path, 'image'], { left })
}

export const imageRules: readonly Rule[] = [
  {
    id: 'security.image-not-pinned',
    category: 'security',
    severity: 'high',
    title: 'Images have a version',
    reason:
      'Without a tag, or with `latest`, two nodes run two programs, and nobody can say which one failed or go back to the one before.',
    reference: 'https://kubernetes.io/docs/concepts/containers/images/#image-names',
    cause: 'pinning',
    bad: yaml('services:\n  web:\n    image: nginx:latest', 'compose.yaml'),
    good: compose('restart: always'),
    check: eachWorkload((workload) =>
      decide(
        workload,
        (image) => {
          const { tag, digest } = parseImage(image)
          return (
            digest === null &&
            (tag === null ||
              tag === 'latest' ||
              tag === 'stable' ||
              tag === 'main' ||
              tag === 'master' ||
              tag === 'edge')
          )
        },
        (images) => `${images} can be another image tomorrow`,
        'Which version is meant is known only to who runs it: take the one that runs now.',
      ),
    ),
  },
  {
    id: 'security.image-without-digest',
    category: 'security',
    severity: 'low',
    title: 'Images are named by digest',
    reason: 'A tag can be pushed again, also by who has taken over the account. A digest cannot.',
    reference: 'https://docs.docker.com/dhi/core-concepts/digests/',
    cause: 'pinning',
    bad: compose('restart: always'),
    good: yaml(
      `services:\n  web:\n    image: registry.example.com/web:1.4.2@sha256:${'0123456789abcdef'.repeat(4)}`,
      'compose.yaml',
    ),
    check: eachWorkload((workload) =>
      decide(
        workload,
        (image) => {
          const { tag, digest } = parseImage(image)
          return digest === null && tag !== null && !image.includes('$')
        },
        (images) => `no digest says which ${images} is meant`,
        'The digest is known to the registry, which is not asked here: `docker buildx imagetools inspect IMAGE`.',
      ),
    ),
  },
  {
    id: 'security.image-from-variable',
    category: 'security',
    severity: 'low',
    title: 'What image runs is said in the design',
    reason:
      'An image from a variable is decided by whoever starts it, so no check of the design says anything about it.',
    reference: 'https://docs.docker.com/reference/compose-file/interpolation/',
    cause: 'pinning',
    bad: yaml('services:\n  web:\n    image: ${WEB_IMAGE}', 'compose.yaml'),
    good: compose('restart: always'),
    check: eachWorkload((workload) =>
      decide(
        workload,
        (image) => /\$\{?[A-Za-z_]+\}?$/.test(image) && !/:-/.test(image),
        (images) => `where it is started decides about ${images}`,
        'Write the image, or a default for the variable.',
      ),
    ),
  },
  {
    id: 'security.pull-by-habit',
    category: 'security',
    severity: 'low',
    title: 'An image without a registry is meant to come from Docker Hub',
    reason:
      'A short name is completed by each node by its own list of registries: the wrong one answers when somebody took the name there.',
    reference: 'https://github.com/containers/image/blob/main/docs/containers-registries.conf.5.md',
    cause: 'pinning',
    bad: yaml(
      'apiVersion: v1\nkind: Pod\nmetadata: { name: web }\nspec:\n  containers:\n    - { name: web, image: "shop/web:1.4.2" }',
    ),
    good: deployment(),
    check: eachWorkload((workload) => {
      if (workload.platform !== 'kubernetes') return null
      return decide(
        workload,
        (image) => parseImage(image).registry === null && image.includes('/') && !image.startsWith('library/'),
        (images) => `no registry is named for ${images}`,
        'Write the registry: docker.io/ when that is meant.',
      )
    }),
  },
]
