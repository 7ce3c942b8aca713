import { UserError } from '../base/user-error.js'

/** What somebody may have meant who gave this URL: one with a scheme, one without the path of an API. */
export function meantUrl(url: string): string | undefined {
  const whole = /^[a-z][a-z0-9+.-]*:\/\//i.test(url) ? url : `${isLoopbackName(url) ? 'http' : 'https'}://${url}`
  if (!URL.canParse(whole) || url.trim() === '') return undefined
  const { origin, pathname, hostname } = new URL(whole)
  if (origin === 'null' || hostname === '') return undefined
  const path = pathname.replace(/\/v1(?:\/.*)?$/, '')
  const meant = origin + path.replace(/\/$/, '')
  const isAsGiven = whole === url && path === pathname
  return isAsGiven ? undefined : meant
}

export function isLoopback(url: string): boolean {
  return URL.canParse(url) && isLoopbackName(new URL(url).host)
}

/** With or without a port and a path. */
const isLoopbackName = (text: string): boolean => /^(?:127(?:\.\d{1,3}){3}|localhost|\[::1\])(?:[:/]|$)/i.test(text)

/** The same error with proposals before its own. Anything but a {@link UserError} stays as it is. */
export function withProposals(error: unknown, proposals: readonly string[]): unknown {
  if (!(error instanceof UserError) || proposals.length === 0) return error
  const { fault, code, problem, why, next, requestId, cause, report } = error
  return new UserError(fault, code, problem, { why, next: [...proposals, ...next], requestId, cause, report })
}
