// Loaded before the command (--import): counts the moments at which it can be killed between two effects, and ends
// it like `kill -9` at the one that DIE_AT names, `NUMBER LABEL`: the first of that name, the second, … Moments are: a request that is about to be sent, an answer that
// has just come, a state file that was just put in place. With DIE_LOG every moment is written down.
import { subscribe } from 'node:diagnostics_channel'
import fs from 'node:fs'

const { DIE_AT, DIE_LOG } = process.env
const counts = new Map()

function moment(label) {
  const count = (counts.get(label) ?? 0) + 1
  counts.set(label, count)
  if (DIE_LOG !== undefined) fs.appendFileSync(DIE_LOG, `${label}\n`)
  if (`${count} ${label}` === DIE_AT) process.kill(process.pid, 'SIGKILL')
}

const place = (path) =>
  path
    .replace(/\?.*$/, '')
    .replace(/^.*\/providers\/Microsoft\./, '')
    .replace(/\/(operations|operationResults|operationStatuses)\/.*$/, '/operation')
    .replace(/\/subscriptions\/[^/]+/, '')
    .replace(/(confrouter)-?[0-9a-f]{6,8}\b/g, '$1-…')
    .replace(/\/[0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f-]{27,}/g, '…')

subscribe('http.client.request.start', ({ request }) => moment(`before ${request.method} ${place(request.path)}`))
subscribe('http.client.response.finish', ({ request }) => moment(`after ${request.method} ${place(request.path)}`))
subscribe('undici:request:create', ({ request }) => moment(`before ${request.method} ${place(request.path)}`))

const { rename } = fs
fs.rename = (from, to, callback) =>
  rename(from, to, (error) => {
    if (/state\.json$|trust\.json$|addresses\.json$/.test(String(to)))
      moment(`after writing ${String(to).replace(/^.*\//, '')}`)
    callback(error)
  })
