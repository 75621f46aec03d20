// The console: signs in with the link of `pouw console`, then looks at the node every few seconds while somebody sees it.

import { Charts } from "./charts.js";
import { Disputes } from "./disputes.js";
import { Look, quantile, rate } from "./figures.js";
import { API, ago, byId, element, explain, fill, moment } from "./page.js";

const EVERY_MS = 4000;
const LISTS_EVERY = 4; // looks: each request counts on the quota of the operator's address
const OVER_LOOKS = 8;
const SUBMIT = `${API}/submit`;

let session = null;
let charts = null;
let looks = [];
let ticks = 0;
let looking = false;

const tell = (text) => (byId("told").textContent = text);

async function call(method, path, body) {
  const headers = { "X-Pouw-Console": session.token };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(API + path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  if (answer.status === 401 && session) leave("Your session is over.");
  if (!answer.ok) throw new Error(await explain(answer));
  return answer.status === 204 ? null : answer.json();
}

const disputes = new Disputes(call, () => look());

function leave(text) {
  session = null;
  byId("session").hidden = byId("board").hidden = true;
  byId("enter").hidden = false;
  tell(text);
}

// The link holds the headers of one request that an operator signed; they are in its fragment, which is sent to nobody.
async function signIn() {
  const fragment = location.hash.slice(1);
  const link = byId(fragment) ? "" : fragment; // a place in the page, which the link to the content leads to, is no link of ours
  if (link) history.replaceState(null, "", location.pathname);
  if (link) {
    let headers;
    try {
      headers = JSON.parse(atob(link.replaceAll("-", "+").replaceAll("_", "/")));
    } catch {
      return leave("This link is damaged.");
    }
    const answer = await fetch(`${API}/console/session`, { method: "POST", headers });
    if (!answer.ok) return leave(await explain(answer));
  }
  const answer = await fetch(`${API}/console/session`);
  if (answer.status === 204) return leave("");
  if (!answer.ok) return leave(await explain(answer));
  session = await answer.json();
  byId("operator").textContent = session.did;
  byId("enter").hidden = true;
  byId("session").hidden = byId("board").hidden = false;
  tell("");
  charts ??= new Charts();
  await look();
}

async function showLists() {
  const state = byId("state").value;
  const [blocks, waiting] = await Promise.all([call("GET", "/blocks"), call("GET", `/disputes?limit=50${state ? `&state=${state}` : ""}`)]);
  showBlocks(blocks.items);
  disputes.list(waiting.items);
}

async function look(lists = true) {
  if (!session || document.hidden) return;
  try {
    const [board] = await Promise.all([call("GET", "/console/board"), lists ? showLists() : null]);
    if (!session) return; // signed out meanwhile
    show(board);
    tell("");
  } catch (error) {
    if (session) tell(`Not up to date: ${error.message}`);
  }
}

async function tick() {
  if (looking) return; // a node that is slow is not asked twice at a time
  looking = true;
  ticks += 1;
  await look(ticks % LISTS_EVERY === 0);
  looking = false;
}

function show(board) {
  const now = new Look(board);
  if (!looks.length || now.at > looks.at(-1).at) showRates(now, board); // what the node still had in memory is no news
  byId("status").textContent = board.health.status;
  byId("status").className = `state ${board.health.status}`;
  alarm(board, now);
  showTables(board, now);
}

function showRates(now, board) {
  const then = looks[0] ?? now;
  const last = looks.at(-1) ?? now;
  looks = [...looks, now].slice(-OVER_LOOKS);
  const accepted = rate(last, now, "pouw_receipts_accepted_total");
  const rejected = rate(last, now, "pouw_receipts_rejected_total");
  const received = rate(then, now, "pouw_receipts_received_total");
  const [p50, p99] = [0.5, 0.99].map((q) => quantile(then, now, SUBMIT, q));
  const text = {
    rate: accepted.toFixed(1),
    share: received ? `${((100 * rate(then, now, "pouw_receipts_rejected_total")) / received).toFixed(1)} %` : "–",
    submit: p50 === null ? "–" : `${p50.toFixed(0)} / ${p99.toFixed(0)} ms`,
    challenges: rate(last, now, "pouw_challenges_issued_total").toFixed(1),
    denials: (60 * rate(then, now, "pouw_rate_limit_denials_total")).toFixed(0),
    inflight: now.sum("pouw_inflight"),
    waiting: board.disputes_open ?? "–",
  };
  for (const [id, value] of Object.entries(text)) byId(id).textContent = value;
  if (looks.length > 1) charts.add(board.at, { accepted, rejected, p50, p99 });
}

function alarm(board, now) {
  const broken = Object.entries(board.promises).filter(([, times]) => times > 0);
  const texts = broken.map(([promise, times]) => `The promise ${promise} was broken ${times} times.`);
  const differed = now.sum("pouw_verify_differences_total");
  if (differed) texts.push(`The two engines disagreed about ${differed} signatures.`);
  if (!board.keys.some((key) => key.state === "active")) texts.push("No key is active.");
  byId("alarms").textContent = texts.join(" ");
  byId("alarms").hidden = !texts.length;
}

const number = (value) => ({ text: Number(value).toLocaleString("en"), class: "number" });
const share = (part, whole) => (Number(whole) ? ` (${((100 * part) / whole).toFixed(1)} %)` : "");

function showTables(board, now) {
  const parts = Object.entries(board.health.components);
  fill(byId("parts"), ["Part", "State", "Answered in"], parts.map(([name, part]) =>
    [name, { text: part.fault ?? part.status, class: `state ${part.status}` }, `${part.ms} ms`]), "none");
  const reasons = [...now.by("pouw_receipts_rejected_total", "detail")].filter(([, count]) => count).sort(([, a], [, b]) => b - a);
  fill(byId("rejected"), ["Reason", "Since the node's start"], reasons.map(([detail, count]) => [detail, number(count)]), "No receipt was rejected.");
  fill(byId("refused"), ["DID", "Rejected"], board.refused.map((one) => [element("code", one.did), number(one.rejected)]), "Nobody's were.");
  fill(byId("over"), ["Per", "Who", "Times"], board.over_quota.map((one) => [one.scope, element("code", one.name), number(one.times)]), "Nobody was.");
  const [issued, used, expired] = ["issued", "used", "expired"].map((what) => now.sum(`pouw_challenges_${what}_total`));
  fill(byId("used"), ["What became of them", "Number"], [
    ["issued by this node", number(issued)], ["over, and used", number(used)], ["over, and never used", number(expired)]], "");
  const { closed, atoms } = board.counts;
  fill(byId("epochs"), ["What", "Value"], [
    ["present epoch", number(board.epochs.epoch)], ["ends", moment(board.epochs.epoch_ends_at)],
    ["last closed", board.epochs.last_closed_epoch ?? "none"], ["late by", `${now.sum("pouw_epoch_close_lag_seconds").toFixed(0)} s`], ["receipts in closed epochs", number(closed.receipts)],
    ["atoms allocated", number(atoms.allocated)], ["atoms paid", `${Number(atoms.paid).toLocaleString("en")}${share(atoms.paid, atoms.allocated)}`],
    ["budget left, atoms", number(board.epochs.budget_left_atoms)]], "");
  const jobs = board.jobs.map((job) => [job.name, ago(job.finished_at, board.at)]);
  fill(byId("jobs"), ["Job", "Came to its end"], [...jobs, ["last backup", ago(board.backup_at, board.at)]], "");
  fill(byId("keys"), ["Public key", "State", "Since"], board.keys.map((key) =>
    [element("code", key.public_key), key.state, ago(key.valid_from, board.at)]), "none");
}

function showBlocks(blocks) {
  const rows = blocks.map((block) => {
    const lift = element("button", "Lift", { type: "button", class: "plain", "aria-label": `Lift the block of ${block.subject}` });
    lift.addEventListener("click", () => act(() => call("POST", "/blocks/lift", { subject: block.subject }), `${block.subject} is not blocked any more.`));
    return [element("code", block.subject), block.reason, block.by, block.expires_at ? moment(block.expires_at) : "until it is lifted", lift];
  });
  const focused = document.activeElement?.getAttribute("aria-label");
  fill(byId("blocks"), ["Who", "Why", "By", "Until", ""], rows, "Nobody is blocked.");
  if (focused?.startsWith("Lift")) [...byId("blocks").querySelectorAll("button")].find((one) => one.getAttribute("aria-label") === focused)?.focus();
}

async function act(what, done) {
  try {
    await what();
    await look();
    tell(done);
  } catch (error) {
    if (session) tell(error.message);
  }
}

byId("block").addEventListener("submit", (event) => {
  event.preventDefault();
  const [subject, reason] = [byId("subject").value.trim(), byId("reason").value.trim()];
  act(async () => {
    await call("POST", "/blocks", { subject, reason });
    event.target.reset();
  }, `${subject} is blocked.`);
});
byId("leave").addEventListener("click", async () => {
  try {
    await call("DELETE", "/console/session");
    leave("You are signed out.");
  } catch (error) {
    if (session) tell(error.message);
  }
});
const enter = () => signIn().catch((error) => leave(`The node does not answer: ${error.message}`));

byId("state").addEventListener("change", () => look());
document.addEventListener("visibilitychange", () => look());
addEventListener("hashchange", enter);
setInterval(tick, EVERY_MS);
enter();
