import type { Call } from './call.js'
import {
  cachedEvidence,
  compatibleAttestation,
  freshEvidence,
  health,
  keyConfiguration,
  metrics,
  publicKey,
  readiness
} from './control.js'
import { preflight } from './cross-origin.js'
import {
  accountPipeline,
  modelInfoPipeline,
  modelListPipeline,
  modelPipeline,
  ownModelPipeline,
  providerPipeline,
  runPipeline,
  type Step
} from './pipeline.js'
import { Problem } from './problem.js'

export interface Route {
  readonly methods: readonly string[]
  /** Exact, or with a `*` at its end for everything below. Also the name in logs. */
  readonly path: string
  readonly handle: Step
  /** Whether pages of other origins may call it from a browser. */
  readonly fromPages: boolean
}

const piped = (methods: readonly string[], path: string, steps: readonly Step[]): Route => ({
  methods,
  path,
  handle: (call) => runPipeline(call, steps),
  fromPages: true
})

const model = (path: string): Route => piped(['POST'], path, modelPipeline)

const allMethods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']

const account = (path: string): Route => piped(allMethods, path, accountPipeline)

/** Every path that this server knows. */
const routes: readonly Route[] = [
  { methods: ['GET', 'HEAD'], path: '/healthz', handle: health, fromPages: false },
  { methods: ['GET', 'HEAD'], path: '/readyz', handle: readiness, fromPages: false },
  { methods: ['GET'], path: '/metrics', handle: metrics, fromPages: false },
  { methods: ['GET'], path: '/.well-known/confrouter', handle: cachedEvidence, fromPages: true },
  { methods: ['POST'], path: '/.well-known/confrouter', handle: freshEvidence, fromPages: true },
  { methods: ['GET'], path: '/v1/crypto/jwk', handle: publicKey, fromPages: true },
  { methods: ['POST'], path: '/attest', handle: compatibleAttestation, fromPages: true },
  { methods: ['POST'], path: '/attest/maa', handle: compatibleAttestation, fromPages: true },
  { methods: ['GET'], path: '/.well-known/hpke-keys', handle: keyConfiguration, fromPages: true },
  piped(['GET'], '/v1/models', modelListPipeline),
  piped(['GET'], '/v1/models/*', modelInfoPipeline),
  piped(['DELETE'], '/v1/models/*', ownModelPipeline),
  model('/v1/chat/completions'),
  model('/v1/completions'),
  model('/v1/responses'),
  model('/v1/responses/compact'),
  model('/v1/responses/input_tokens'),
  model('/v1/embeddings'),
  model('/v1/moderations'),
  model('/v1/messages'),
  model('/v1/messages/count_tokens'),
  model('/v1/images/generations'),
  model('/v1/images/edits'),
  model('/v1/images/variations'),
  model('/v1/audio/speech'),
  model('/v1/audio/transcriptions'),
  model('/v1/audio/translations'),
  piped(['GET'], '/v1/chat/completions', accountPipeline),
  account('/v1/chat/completions/*'),
  account('/v1/responses/*'),
  account('/v1/conversations'),
  account('/v1/conversations/*'),
  account('/v1/files'),
  account('/v1/files/*'),
  account('/v1/uploads'),
  account('/v1/uploads/*'),
  account('/v1/batches'),
  account('/v1/batches/*'),
  account('/v1/vector_stores'),
  account('/v1/vector_stores/*'),
  account('/v1/fine_tuning/*'),
  { methods: ['GET'], path: '/v1/realtime', handle: onlyAsWebsocket, fromPages: true },
  account('/v1/realtime/*'),
  piped(allMethods, '/providers/*', providerPipeline)
]

/** A websocket does not come here. */
function onlyAsWebsocket(): never {
  throw new Problem(
    'upgrade_required',
    'this path is a websocket: send "Connection: Upgrade" and "Upgrade: websocket"',
    {
      headers: { upgrade: 'websocket', connection: 'Upgrade, close' }
    }
  )
}

const exact = new Map<string, Route[]>()
const below: Route[] = []
for (const route of routes) {
  if (route.path.endsWith('*')) below.push(route)
  else exact.set(route.path, [...(exact.get(route.path) ?? []), route])
}

const isBelow = (path: string, folder: string): boolean => path.length > folder.length && path.startsWith(folder)

/** Throws a `Problem`: `not_found`, or `method_not_allowed` with the methods that are. */
export function findRoute({ method, path }: Pick<Call, 'method' | 'path'>): Route {
  const candidates = exact.get(path) ?? below.filter((route) => isBelow(path, route.path.slice(0, -1)))
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
