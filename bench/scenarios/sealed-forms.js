import { callOnce } from '../lib/calls.js'
import { question } from '../lib/upstream.js'

/** The ways to seal a body that are measured. Only plain EHBP may be sent again as it is. */
const sealedForms = [
  { name: 'router, EHBP', form: 'ehbp', replayable: true },
  { name: 'router, EHBP with the extension', form: 'extension', replayable: false }
]

/**
 * Finds out which of them the router takes: an error is answered fast, and would count as speed. `request`
 * is a request that the upstream answers.
 */
export async function supportedForms({ router, sender }, request = question) {
  const forms = []
  const refused = {}
  for (const sealedForm of sealedForms) {
    const { bytes } = await sender[sealedForm.form](request)
    const { status, headers, body } = await callOnce(router.port, bytes)
    if (status === 200 && headers.has('ehbp-response-nonce')) forms.push(sealedForm)
    else refused[sealedForm.name] = `this router does not take it: ${status} ${codeIn(body)}`
  }
  return { forms, refused }
}

function codeIn(body) {
  try {
    return JSON.parse(body.toString()).error.code
  } catch {
    return ''
  }
}
