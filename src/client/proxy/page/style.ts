/** The look of the page: light and dark by what the reader's system says, wide and narrow. */
export const style = `
:root {
  --paper: #f5f4f0; --card: #fff; --ink: #16181b; --soft: #5b6069; --line: #dcd9d1; --well: #f0eee8;
  --good: #0a6b4c; --bad: #b3261e; --sim: #7a4a00; --act: #2f4bd0; --on-act: #fff;
  --look: #5b6069; --look-paper: #eceae4; --sim-paper: #fff0c9;
  --mono: ui-monospace, "SF Mono", "Cascadia Mono", "JetBrains Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #101215; --card: #181b20; --ink: #eceef2; --soft: #a0a7b2; --line: #2c3138; --well: #121418;
    --good: #52c795; --bad: #ff8d84; --sim: #ffc861; --act: #93a6ff; --on-act: #10131c;
    --look: #a0a7b2; --look-paper: #1a1d22; --sim-paper: #2b2109;
  }
}
body[data-look=trusted] { --look: var(--good); --look-paper: #e3f2ea }
body[data-look=rejected] { --look: var(--bad); --look-paper: #fbe6e3 }
body[data-look=simulated] { --look: var(--sim); --look-paper: var(--sim-paper) }
@media (prefers-color-scheme: dark) {
  body[data-look=trusted] { --look-paper: #10241b }
  body[data-look=rejected] { --look-paper: #2e1614 }
}
* { box-sizing: border-box }
[hidden] { display: none !important }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif }
h1, h2, h3, p, ul, ol, dl, dd { margin: 0; padding: 0 }
ul, ol { list-style: none }
code { font-family: var(--mono); font-size: .86em }
.wide { max-width: 1180px; margin: 0 auto; padding: 0 24px }
.signs { position: absolute; width: 0; height: 0 }
.sign { width: 16px; height: 16px; flex: none; fill: none; color: var(--soft) }
.cut { fill: none; stroke: var(--cut, var(--card)); stroke-width: 1.8; stroke-linecap: round; stroke-linejoin: round }
.cut.wide, .stroke.wide { stroke-width: 4 }
.stroke, .ring { fill: none; stroke: currentColor; stroke-width: var(--weight, 1.6); stroke-linecap: round }
.verdict-sign { --cut: var(--look-paper); --weight: 3 }
.dashed { stroke-dasharray: 2.5 2.5 }
.stroke.broken { stroke-dasharray: 7 5 }
.match > .sign, .match > h3 > .sign, .match > .outcome > .sign, .end.match > .sign { color: var(--good) }
.mismatch > .sign, .mismatch > h3 > .sign, .mismatch > .outcome > .sign { color: var(--bad) }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%) }

.tape {
  position: sticky; top: 0; z-index: 1; padding: 5px 12px; text-align: center;
  background: repeating-linear-gradient(-45deg, #1b1400 0 14px, #ffc400 14px 28px); color: #1b1400; font-size: 13px
}
.tape span { display: inline-block; padding: 2px 16px; border-radius: 4px; background: #ffc400; font-weight: 600 }
.tape b { font-weight: 800; letter-spacing: .1em; text-transform: uppercase; margin-right: .5em }
.lost { padding: 10px 24px; background: var(--bad); color: var(--card); font-weight: 600; text-align: center }

header { background: var(--look-paper); border-bottom: 1px solid var(--line); padding: 18px 0 34px }
.bar { display: flex; flex-wrap: wrap; gap: 8px 24px; align-items: center; justify-content: space-between }
.brand { font-weight: 700; letter-spacing: -.01em }
.brand span { font-weight: 400; color: var(--soft) }
.base { display: flex; flex-wrap: wrap; align-items: center; gap: 4px 10px; color: var(--soft); font-size: 14px }
.base code { color: var(--ink); user-select: all; overflow-wrap: anywhere }
.verdict { display: grid; grid-template-columns: auto 1fr; gap: 22px; margin-top: 30px }
.verdict-sign .sign { width: 72px; height: 72px; color: var(--look); display: block }
h1 { color: var(--look); font-size: clamp(28px, 4.6vw, 46px); line-height: 1.08; letter-spacing: -.025em; font-weight: 750; text-wrap: balance }
.words { margin-top: 10px; max-width: 66ch; font-size: 17px; overflow-wrap: anywhere }
.meta { display: flex; flex-wrap: wrap; align-items: center; gap: 8px 20px; margin-top: 20px; color: var(--soft); font-size: 14px }
.meta code { color: var(--ink); overflow-wrap: anywhere }
.wrong { display: grid; gap: 10px; margin-top: 18px }
.wrong:empty { display: none }
.wrong li { background: var(--card); border: 1px solid var(--line); border-left: 4px solid var(--bad); border-radius: 8px; padding: 10px 14px }
.wrong dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 14px; margin-top: 4px; font-size: 14px }
.wrong dt { color: var(--soft) }
.wrong dd { font-family: var(--mono); font-size: 13px; overflow-wrap: anywhere }
.claim { font: 12px var(--mono); color: var(--soft); overflow-wrap: anywhere }
.wrong .claim { margin-left: 10px }
.wrong a { color: inherit }

button, input, textarea { font: inherit; color: inherit }
button { background: var(--act); color: var(--on-act); border: 1px solid var(--act); border-radius: 8px; padding: 7px 16px; font-weight: 600; cursor: pointer }
button:hover { filter: brightness(1.08) }
button:disabled { opacity: .6; cursor: default }
button.quiet { background: transparent; color: var(--ink); border-color: var(--line); font-weight: 500; padding: 7px 12px }
.base button.quiet { padding: 1px 10px; font-size: 13px; background: var(--card) }
button.link { margin-right: 8px; background: none; border: 0; color: var(--act); padding: 0; font-weight: 500; text-decoration: underline; text-underline-offset: 3px }
input:not([type=checkbox]), textarea { width: 100%; background: var(--well); border: 1px solid var(--line); border-radius: 8px; padding: 8px 11px }
textarea { resize: vertical; display: block }
::placeholder { color: var(--soft); opacity: 1 }
:focus-visible { outline: 3px solid color-mix(in srgb, var(--act) 60%, transparent); outline-offset: 2px }

main.wide { padding-top: 34px; padding-bottom: 60px }
h2 { font-size: 20px; letter-spacing: -.015em; line-height: 1.2 }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 20px 22px 22px }
.two { display: grid; grid-template-columns: minmax(0, 9fr) minmax(0, 14fr); gap: 20px; margin: 40px 0 20px }
textarea, .fields input { font-weight: 400 }
.hint { color: var(--soft); font-size: 13.5px; font-weight: 400 }

.chain { margin-top: 16px }
.chain { --trace: var(--soft); --gap: 30px; --middle: calc((100% - 3 * var(--gap)) / 8) }
.line, .branches { display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); gap: var(--gap) }
.part { position: relative; background: var(--card); border: 1px solid var(--line); border-top: 3px solid var(--soft); border-radius: 10px; padding: 11px 14px 12px; display: flex; flex-direction: column; gap: 4px; min-width: 0 }
.part.match { border-top-color: var(--good) }
.part.mismatch { border-color: var(--bad); box-shadow: 0 0 0 1px var(--bad) }
.part.unknown { border-style: dashed; border-top-style: solid; border-top-color: var(--line) }
.part h3 { display: flex; align-items: center; gap: 8px; font-size: 15.5px; line-height: 1.25; letter-spacing: -.01em }
.vouched, .compared { color: var(--soft); font-size: 13px; line-height: 1.4 }
.part code { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; overflow: hidden; overflow-wrap: anywhere; font-size: 12px; line-height: 1.4; margin-top: 2px }
.part .outcome { margin-top: auto; padding-top: 6px; font-size: 13px; font-weight: 600 }
.part.match .outcome { color: var(--good) }
.part.mismatch .outcome { color: var(--bad) }
.part.not-required .outcome, .part.unknown .outcome { color: var(--soft) }
.line .part + .part::before { content: ""; position: absolute; right: 100%; top: 34px; width: var(--gap); height: 2px; margin-right: 1px; background: var(--trace) }
.line .part + .part::after { content: ""; position: absolute; right: 100%; top: 30px; margin-right: 1px; border: 5px solid transparent; border-left: 8px solid var(--trace); border-right: 0 }
.part.match { --trace: var(--good) }
.part.mismatch { --trace: var(--bad) }
.rail { position: relative; padding: 14px calc(var(--middle) + 16px) 15px 0; text-align: right; color: var(--soft); font-size: 13px }
.rail::before { content: ""; position: absolute; right: calc(var(--middle) - 1px); top: 0; bottom: 0; width: 2px; background: var(--soft) }
.branches::before { content: ""; position: absolute; top: 0; left: calc(var(--middle) - 1px); right: calc(var(--middle) - 1px); height: 2px; background: var(--soft) }
.branches { position: relative; padding-top: 20px }
.branches .part::before { content: ""; position: absolute; left: 50%; bottom: 100%; height: 20px; width: 2px; margin-left: -1px; margin-bottom: 3px; background: var(--trace) }
.end { display: flex; align-items: center; gap: 10px; margin-top: 20px; padding: 12px 16px; border-radius: 10px; border: 1px solid var(--line); background: var(--card); font-weight: 600 }
.end.match { border-color: var(--good) }
.end.mismatch { border-color: var(--bad); color: var(--bad) }
.part.simulated { background: var(--sim-paper); border-color: var(--sim); border-style: dashed; border-top-style: solid }
.part.simulated > h3 > .sign, .part.simulated .outcome { color: var(--sim) }
.end.simulated { border-color: var(--sim); background: var(--sim-paper) }
.end.simulated > .sign { color: var(--sim) }

form { display: flex; flex-direction: column; gap: 10px; margin-top: 12px }
.fields { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 12px; align-items: end }
label { font-size: 13.5px; font-weight: 600 }
.fields input { margin-top: 4px }
.log { height: 236px; overflow-y: auto; background: var(--well); border: 1px solid var(--line); border-radius: 10px; padding: 12px; display: flex; flex-direction: column; gap: 8px }
.log:empty::before { content: "Nothing said yet. What you send goes through this proxy like every other call."; color: var(--soft); margin: auto; max-width: 34ch; text-align: center; font-size: 14px }
.turn { max-width: 86%; padding: 7px 12px; border-radius: 12px; white-space: pre-wrap; overflow-wrap: anywhere }
.turn.user { align-self: flex-end; background: var(--act); color: var(--on-act); border-bottom-right-radius: 3px }
.turn.assistant { align-self: flex-start; background: var(--card); border: 1px solid var(--line); border-bottom-left-radius: 3px }
.turn.assistant:empty::before { content: "…"; color: var(--soft) }
.turn.problem { align-self: stretch; max-width: none; border: 1px solid var(--bad); color: var(--bad); background: var(--card); font-size: 14px }
.actions { display: flex; gap: 10px }

table { width: 100%; border-collapse: collapse; font-size: 14px }
th, td { text-align: left; vertical-align: top; padding: 8px 12px 8px 0; border-top: 1px solid var(--line); font-weight: 400 }
thead th { border-top: 0; color: var(--soft); font-size: 12.5px; padding-bottom: 6px }
.none { color: var(--soft); padding: 18px 0 }
.number { font-variant-numeric: tabular-nums; white-space: nowrap }
.scroll { margin-top: 12px; max-height: 440px; overflow: auto }
.calls th[scope=row] { overflow-wrap: anywhere; min-width: 190px; font-family: var(--mono); font-size: 12.5px }
.method { font-weight: 700 }
.calls .claim { display: block; min-width: 164px }
.calls .took, .calls .at { display: block; color: var(--soft) }
.calls .at { font: 13px system-ui, sans-serif; font-variant-numeric: tabular-nums }
.provider { font-weight: 600 }
.calls .problem, .calls .broken .status, .calls .refused .status { color: var(--bad); overflow-wrap: anywhere }
.calls .running .status { color: var(--act) }
.title { display: flex; flex-wrap: wrap; justify-content: space-between; align-items: baseline; gap: 6px 20px; margin-bottom: 10px }
.only { display: flex; align-items: center; gap: 7px; font-weight: 400; color: var(--soft) }
.only input { width: 16px; height: 16px; accent-color: var(--act) }
.checks { table-layout: fixed }
.checks thead th:nth-child(1) { width: 124px }
.checks thead th:nth-child(2) { width: 31% }
.checks th[scope=row] { font-weight: 600 }
.checks .claim { display: block; font-weight: 400 }
.checks .warning { display: block; color: var(--sim); font-size: 13px }
.checks code { overflow-wrap: anywhere; font-size: 12.5px }
.checks td.outcome { white-space: nowrap; font-weight: 600 }
.checks td.outcome .sign { vertical-align: -2.5px; margin-right: 7px }
.checks tr.match td.outcome { color: var(--good) }
.checks tr.mismatch td.outcome { color: var(--bad) }
.checks tr.not-required td.outcome, .reason { color: var(--soft) }
.checks tr.mismatch > * { background: color-mix(in srgb, var(--bad) 7%, transparent) }
.group th { padding-top: 20px; color: var(--soft); font-size: 12.5px; font-weight: 700; border-top: 0 }

@media (max-width: 940px) {
  .two { grid-template-columns: minmax(0, 1fr) }
  .line, .branches { grid-template-columns: minmax(0, 1fr); gap: 18px }
  .line .part + .part::before { right: auto; left: 22px; top: auto; bottom: 100%; width: 2px; height: 18px; margin: 0 0 3px }
  .line .part + .part::after { right: auto; left: 18px; top: -11px; margin: 0; border: 5px solid transparent; border-top: 8px solid var(--trace); border-bottom: 0 }
  .rail { text-align: left; padding: 14px 0 14px 42px }
  .rail::before { left: 22px; right: auto }
  .branches { padding: 0 0 0 42px; gap: 14px }
  .branches::before { content: none }
  .branches .part::before { left: -20px; bottom: auto; top: 24px; width: 19px; height: 2px; margin: 0 }
  .branches .part::after { content: ""; position: absolute; left: -21px; top: -17px; bottom: -1px; width: 2px; background: var(--soft) }
  .branches .part:last-child::after { bottom: auto; height: 43px }
}
@media (max-width: 640px) {
  .wide { padding: 0 16px }
  .verdict { grid-template-columns: minmax(0, 1fr); gap: 14px; margin-top: 22px }
  .verdict-sign .sign { width: 56px; height: 56px }
  .words { font-size: 16px }
  .card { padding: 16px }
  .fields { grid-template-columns: minmax(0, 1fr) }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%) }
  .checks, .checks tbody, .checks tr, .checks td, .checks th, .calls, .calls tbody, .calls tr, .calls td, .calls th { display: block; width: auto }
  .checks tr, .calls tr { border-top: 1px solid var(--line); padding: 10px 0 }
  .checks tr > *, .calls tr > * { border: 0; padding: 2px 0 }
  .checks tr.mismatch { background: color-mix(in srgb, var(--bad) 7%, transparent); padding: 10px }
  .checks tr.mismatch > * { background: none }
  .checks td[data-label]::before { content: attr(data-label) " "; color: var(--soft); font-size: 12.5px }
  .checks td.reason { display: block }
  .calls tr { display: grid; grid-template-columns: 1fr auto; gap: 0 12px }
  .calls th[scope=row], .calls td:last-child { grid-column: 1 / -1 }
  .calls .took { display: inline; margin-left: 12px }
  .group th { padding-top: 8px }
}
@media (prefers-reduced-motion: no-preference) {
  button { transition: filter .12s }
}
`
