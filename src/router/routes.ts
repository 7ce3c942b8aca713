import type { Call } from './call.js'
import { cachedEvidence, compatibleAttestation, freshEvidence, health, publicKey, readiness } from './control.js'
import { listModels } from './models.js'
import { modelPipeline, providerPipeline, runPipeline, type Step } from './pipeline.js'
import { Problem } from './problem.js'
import { admit, authorize } from './steps.js'

export interface Route {
  readonly methods: readonly string[]
  /** Exact, or with a `*` at its end for everything below. Also the name in logs. */
  readonly path: string
  readonly handle: Step
}

const api = (path: string): Route => ({ methods: ['POST'], path, handle: (call) => runPipeline(call, modelPipeline) })

/** Every path that this server knows. */
const routes: readonly Route[] = [
  { methods: ['GET'], path: '/healthz', handle: health },
  { methods: ['GET'], path: '/readyz', handle: readiness },
  { methods: ['GET'], path: '/.well-known/confrouter', handle: cachedEvidence },
  { methods: ['POST'], path: '/.well-known/confrouter', handle: freshEvidence },
  { methods: ['GET'], path: '/v1/crypto/jwk', handle: publicKey },
  { methods: ['POST'], path: '/attest', handle: compatibleAttestation },
  { methods: ['POST'], path: '/attest/maa', handle: compatibleAttestation },
  { methods: ['GET'], path: '/v1/models', handle: (call) => runPipeline(call, [admit, authorize, listModels]) },
  api('/v1/chat/completions'),
  api('/v1/completions'),
  api('/v1/responses'),
  api('/v1/embeddings'),
  api('/v1/moderations'),
  api('/v1/messages'),
  api('/v1/images/*'),
  api('/v1/audio/*'),
  {
    methods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'],
    path: '/providers/*',
    handle: (call) => runPipeline(call, providerPipeline)
  }
]

const exact = new Map<string, Route[]>()
const below: Route[] = []
for (const route of routes) {
  if (route.path.endsWith('*')) below.push(route)
  else exact.set(route.path, [...(exact.get(route.path) ?? []), route])
}

/** Throws a `Problem`: `not_found`, or `method_not_allowed` with the methods that are. */
export function findRoute({ method, path }: Pick<Call, 'method' | 'path'>): Route {
  const candidates = exact.get(path) ?? below.filter((route) => path.startsWith(route.path.slice(0, -1)))
  const route = candidates.find(({ methods }) => methods.includes(method))
  if (route !== undefined) return route
  if (candidates.length === 0) throw new Problem('not_found', 'this router has no such path')
  const allow = candidates.flatMap(({ methods }) => methods).join(', ')
  throw new Problem('method_not_allowed', `this path takes ${allow}`, { headers: { allow } })
}
