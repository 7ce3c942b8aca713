/**
 * What a provider gets to see of the caller's headers. Everything else stays at the router, and does not
 * leave a caller that seals: addresses (`x-forwarded-for`), cookies, user agents, and whatever a proxy in between
 * has added.
 */
export const forwardedHeaders: readonly string[] = [
  'accept',
  'accept-encoding',
  'accept-language',
  'content-type',
  'range',
  'idempotency-key',
  'openai-organization',
  'openai-project',
  'openai-beta',
  'anthropic-version',
  'anthropic-beta',
  // OpenRouter shows these two in its statistics; applications set them on purpose.
  'http-referer',
  'x-title',
  'x-fal-queue-priority',
  'x-fal-request-timeout',
  'x-fal-runner-hint',
  'x-fal-object-lifecycle-preference',
  'x-fal-store-io',
  'x-fal-no-retry',
  // Else another model than the one that was asked for may answer.
  'x-app-fal-disable-fallback'
]
