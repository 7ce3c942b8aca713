import type { Call } from './call.js'
import { Problem } from './problem.js'
import { logUnexpected } from './request-log.js'

/**
 * Answers a call that failed, or breaks it off if its answer has begun. Never throws: nothing above this
 * could take a failure of it, and the process would end.
 */
export function answerFailure(call: Call, error: unknown): void {
  try {
    const problem = toProblem(call, error)
    const { connection } = problem.headers
    if (connection !== undefined) call.plain.always({ connection })
    if (connection === 'close') call.context.connections.endWith(call)
    call.fail(problem)
  } catch (failure) {
    logUnexpected(call.context.log, failure, call.id)
    call.record.outcome = 'internal_error'
    call.response.destroy()
  }
}

function toProblem(call: Call, error: unknown): Problem {
  if (error instanceof Problem) return error
  logUnexpected(call.context.log, error, call.id)
  return new Problem('internal_error', `an unexpected error; its id is ${call.id}`)
}
