/** The sign in the tab of the browser. */
export const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><path d="M16 2 4 7v8c0 7.5 5 12.8 12 15 7-2.2 12-7.5 12-15V7z" fill="#2f4bd0"/><path d="m10 16 4.5 4.500L22.5 12" fill="none" stroke="#fff" stroke-width="3" stroke-linecap="round" stroke-linejoin="round"/></svg>`

const shield = 'M24 4 7 11v11c0 11 7 18.5 17 22 10-3.5 17-11 17-22V11z'

/** Drawn once; the page takes them by name. */
const signs = `<svg class="signs" aria-hidden="true">
<symbol id="sign-match" viewBox="0 0 16 16"><circle cx="8" cy="8" r="8" fill="currentColor"/><path d="m4.6 8.2 2.3 2.3 4.5-4.8" class="cut"/></symbol>
<symbol id="sign-mismatch" viewBox="0 0 16 16"><circle cx="8" cy="8" r="8" fill="currentColor"/><path d="m5.3 5.3 5.4 5.400m0-5.4-5.4 5.4" class="cut"/></symbol>
<symbol id="sign-not-required" viewBox="0 0 16 16"><circle cx="8" cy="8" r="7.2" class="ring"/><path d="M5 8h6" class="stroke"/></symbol>
<symbol id="sign-unknown" viewBox="0 0 16 16"><circle cx="8" cy="8" r="7.2" class="ring dashed"/></symbol>
<symbol id="sign-lock" viewBox="0 0 16 16"><rect x="2.5" y="7" width="11" height="8" rx="2" fill="currentColor"/><path d="M5 7V5a3 3 0 0 1 6 0v2" class="stroke"/></symbol>
<symbol id="sign-trusted" viewBox="0 0 48 48"><path d="${shield}" fill="currentColor"/><path d="m15.5 24 6 6 11.5-12.5" class="cut wide"/></symbol>
<symbol id="sign-simulated" viewBox="0 0 48 48"><path d="${shield}" class="stroke broken"/><path d="M24 14v13" class="stroke wide"/><circle cx="24" cy="33.5" r="2.6" fill="currentColor"/></symbol>
<symbol id="sign-rejected" viewBox="0 0 48 48"><path d="${shield}" fill="currentColor"/><path d="m17 17 14 14m0-14-14 14" class="cut wide"/></symbol>
<symbol id="sign-unavailable" viewBox="0 0 48 48"><path d="${shield}" class="stroke"/><path d="M16 24h16" class="stroke wide"/></symbol>
<symbol id="sign-unchecked" viewBox="0 0 48 48"><path d="${shield}" class="stroke broken"/></symbol>
</svg>`

/** The document. `style` and `script` are ours: everything that is not is set by the script, as text. */
export function markup(style: string, script: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>confrouter proxy</title>
<link rel="icon" href="/favicon.svg" type="image/svg+xml">
<style>${style}</style>
</head>
<body data-look="unchecked">
${signs}
<p id="tape" class="tape" hidden><span><b>Simulated</b> no hardware protection</span></p>
<p id="lost" class="lost" role="alert" hidden>The proxy does not answer. What is shown here is from before.</p>
<header>
<div class="wide">
<div class="bar">
<p class="brand">confrouter <span>proxy</span></p>
<p class="base"><span>Base URL</span><code id="base-url"></code><button id="copy" type="button" class="quiet" aria-label="Copy the base URL">Copy</button></p>
</div>
<div class="verdict">
<div id="verdict-sign" class="verdict-sign"></div>
<div>
<div role="status">
<h1 id="verdict-line">Not checked yet</h1>
<p id="verdict-words" class="words"></p>
</div>
<ul id="wrong" class="wrong"></ul>
<p class="meta"><button id="verify" type="button">Verify now</button><span>Router <code id="router-url"></code></span><span id="verdict-when"></span></p>
</div>
</div>
</div>
</header>
<main class="wide">
<noscript><p class="lost">This page needs JavaScript, which comes with it and from nowhere else.</p></noscript>
<section aria-labelledby="chain-title">
<h2 id="chain-title">Chain of trust</h2>
<div id="chain" class="chain"></div>
</section>
<div class="two">
<section aria-labelledby="chat-title" class="card">
<h2 id="chat-title">Try it</h2>
<form id="chat" autocomplete="off">
<div class="fields">
<label>Model<input id="chat-model" list="model-names" required spellcheck="false" placeholder="openai:gpt-4o-mini"></label>
<label>Key<input id="chat-key" type="password" autocomplete="off" spellcheck="false" placeholder="optional, not stored"></label>
</div>
<p class="hint"><button id="models" type="button" class="link">List models</button> <span id="models-note" role="status"></span></p>
<datalist id="model-names"></datalist>
<div id="chat-log" class="log" role="log" aria-label="Conversation" tabindex="0"></div>
<label class="message"><span class="unseen">Message</span><textarea id="chat-text" rows="2" placeholder="Message. Enter sends, Shift+Enter breaks the line."></textarea></label>
<p class="actions"><button id="chat-send" type="submit">Send</button><button id="chat-clear" type="button" class="quiet">Clear</button></p>
</form>
</section>
<section aria-labelledby="calls-title" class="card">
<h2 id="calls-title">Last calls</h2>
<p class="hint">The last 50, without content. The receipt is the router’s signed word on where a call went.</p>
<div class="scroll" tabindex="0" role="region" aria-labelledby="calls-title">
<table class="calls">
<thead><tr><th scope="col">Call</th><th scope="col">Status</th><th scope="col">Size, time</th><th scope="col">Receipt</th></tr></thead>
<tbody id="calls"></tbody>
</table>
</div>
</section>
</div>
<section aria-labelledby="checks-title" class="card">
<div class="title"><h2 id="checks-title">Every check</h2><label class="only"><input id="only-wrong" type="checkbox">only what differs</label></div>
<table class="checks">
<thead><tr><th scope="col">Outcome</th><th scope="col">Check</th><th scope="col">Expected</th><th scope="col">Found</th></tr></thead>
<tbody id="checks"></tbody>
</table>
</section>
</main>
<script>${script}</script>
</body>
</html>
`
}
