import { stripVTControlCharacters } from 'node:util'

/**
 * Text from elsewhere (a service, a file, an error) made fit for a terminal and a log: without
 * control characters, which could move the cursor or rewrite lines, without marks that reverse the
 * direction of reading, and without what looks like a credential. The last is a second line of
 * defence; the first is not to put one into a message.
 */
export function printable(text: string): string {
  return (
    stripVTControlCharacters(text)
      .replace(/\r\n?/g, '\n')
      // Azure Pipelines takes this for a command wherever in a line it stands.
      .replace(/##(?=vso\[|\[)/g, '# #')
      .replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, '')
      .replace(/-----BEGIN [A-Z ]*PRIVATE KEY-----[^]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g, '[private key]')
      // A JWT or a compact JWE: three or five parts, the first of which is JSON in base64url.
      .replace(/\beyJ[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*){2,4}/g, '[token]')
      .replace(/\b(Bearer|Basic|Key|SharedAccessSignature) +[A-Za-z0-9._~+/=:-]{16,}/gi, '$1 [hidden]')
      .replace(/\bsk-[A-Za-z0-9_-]{16,}/g, '[api key]')
      .replace(/([?&](?:sig|code|token|key|api-key|access_token|client_secret)=)[^&\s"']+/gi, '$1[hidden]')
  )
}

/** The first line of a text, printable and no longer than a person reads. */
export function printableLine(text: string, maxLength = 500): string {
  const line = printable(text).split('\n', 1)[0]?.trim() ?? ''
  return line.length <= maxLength ? line : `${line.slice(0, maxLength - 1)}…`
}
