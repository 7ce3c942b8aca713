/**
 * `fetch` that accepts only `ca` for https, or Node's own roots if there is none. The undici package
 * is loaded for the first such request: Node's built-in fetch takes no roots of its own.
 */
export function trustedFetch(ca: string | undefined): typeof fetch {
  if (ca === undefined) return fetch
  let withRoots: Promise<typeof fetch> | undefined
  return async (input, init) => {
    const url = input instanceof Request ? input.url : String(input)
    if (!url.startsWith('https:')) return fetch(input, init)
    withRoots ??= import('undici').then(({ Agent, fetch: undiciFetch }) => {
      const dispatcher = new Agent({ connect: { ca } })
      return ((target: string, options: object) =>
        undiciFetch(target, { ...options, dispatcher })) as unknown as typeof fetch
    })
    return (await withRoots)(url, init)
  }
}
