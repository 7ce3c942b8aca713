import type { Call } from './call.js'
import { cachedEvidence, compatibleAttestation, freshEvidence, health, publicKey, readiness } from './control.js'
import { preflight } from './cross-origin.js'
import { listModels } from './models.js'
import { modelPipeline, providerPipeline, runPipeline, type Step } from './pipeline.js'
import { Problem } from './problem.js'
import { admit, authorize, takeSlot } from './steps.js'

export interface Route {
  readonly methods: readonly string[]
  /** Exact, or with a `*` at its end for everything below. Also the name in logs. */
  readonly path: string
  readonly handle: Step
  /** Whether pages of other origins may call it from a browser. */
  readonly fromPages: boolean
}

const api = (path: string): Route => ({
  methods: ['POST'],
  path,
  handle: (call) => runPipeline(call, modelPipeline),
  fromPages: true
})

/** Every path that this server knows. */
const routes: readonly Route[] = [
  { methods: ['GET', 'HEAD'], path: '/healthz', handle: health, fromPages: false },
  { methods: ['GET', 'HEAD'], path: '/readyz', handle: readiness, fromPages: false },
  { methods: ['GET'], path: '/.well-known/confrouter', handle: cachedEvidence, fromPages: true },
  { methods: ['POST'], path: '/.well-known/confrouter', handle: freshEvidence, fromPages: true },
  { methods: ['GET'], path: '/v1/crypto/jwk', handle: publicKey, fromPages: true },
  { methods: ['POST'], path: '/attest', handle: compatibleAttestation, fromPages: true },
  { methods: ['POST'], path: '/attest/maa', handle: compatibleAttestation, fromPages: true },
  {
    methods: ['GET'],
    path: '/v1/models',
    handle: (call) => runPipeline(call, [admit, authorize, takeSlot, listModels]),
    fromPages: true
  },
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
    handle: (call) => runPipeline(call, providerPipeline),
    fromPages: true
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
  const allowed = candidates.flatMap(({ methods }) => methods)
  const [{ path: name, fromPages } = { path, fromPages: false }] = candidates
  if (method === 'OPTIONS' && fromPages) {
    return { methods: ['OPTIONS'], path: name, handle: (call) => preflight(call, allowed), fromPages }
  }
  const allow = allowed.join(', ')
  throw new Problem('method_not_allowed', `this path takes ${allow}`, { headers: { allow } })
}
