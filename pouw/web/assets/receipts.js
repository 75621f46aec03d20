// A client's own batches. Each request is signed here (RFC 9421); the key stays in the browser and cannot be read out again.

import { API, byId, element, explain, fill, moment } from "./page.js";

const PKCS8 = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20]; // RFC 8410, section 7, before the seed
const DID_KEY = [0xed, 1]; // multicodec ed25519-pub
const BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

let client = null;
let next = null;

const tell = (text) => (byId("told").textContent = text);
const base64 = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes)));

function base58(bytes) {
  let number = bytes.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
  let text = "";
  for (; number > 0n; number /= 58n) text = BASE58[Number(number % 58n)] + text;
  return text;
}

async function readKey(text) {
  if (text.trimStart().startsWith("{")) throw new Error("This key file is encrypted. Use `pouw identity` to read your receipts with it.");
  let seed;
  try {
    seed = [...atob(text.trim())].map((letter) => letter.charCodeAt(0));
  } catch {
    seed = [];
  }
  if (seed.length !== 32) throw new Error("This is no key file: one holds 32 bytes in base64.");
  const pkcs8 = new Uint8Array([...PKCS8, ...seed]);
  let open;
  try {
    open = await crypto.subtle.importKey("pkcs8", pkcs8, { name: "Ed25519" }, true, ["sign"]);
  } catch {
    throw new Error("This browser has no Ed25519, or the page did not come by HTTPS or from this machine.");
  }
  const { x } = await crypto.subtle.exportKey("jwk", open);
  const publicKey = [...atob(x.replaceAll("-", "+").replaceAll("_", "/"))].map((letter) => letter.charCodeAt(0));
  const key = await crypto.subtle.importKey("pkcs8", pkcs8, { name: "Ed25519" }, false, ["sign"]);
  return { key, did: `did:key:z${base58([...DID_KEY, ...publicKey])}` };
}

async function signedGet(path) {
  const url = new URL(API + path, location.origin).href;
  const nonce = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const parameters = `("@method" "@target-uri");created=${Math.floor(Date.now() / 1000)};keyid="${client.did}";alg="ed25519";nonce="${nonce}";tag="pouw"`;
  const message = `"@method": GET\n"@target-uri": ${url}\n"@signature-params": ${parameters}`;
  const signature = await crypto.subtle.sign("Ed25519", client.key, new TextEncoder().encode(message));
  const headers = { "Signature-Input": `pouw=${parameters}`, Signature: `pouw=:${base64(signature)}:` };
  const answer = await fetch(url, { headers });
  if (!answer.ok) throw new Error(await explain(answer));
  return answer.json();
}

function batch(one) {
  const holder = element("details");
  const head = element("summary", `${moment(one.submitted_at)}: `);
  head.append(element("span", `${one.accepted} accepted`, { class: "state accepted" }));
  if (one.rejected) head.append(" ", element("span", `${one.rejected} rejected`, { class: "state rejected" }));
  holder.append(head);
  if (one.rejections.length) {
    const table = element("table");
    fill(table, ["Receipt", "Why it was rejected", "What to do"], one.rejections.map((each) =>
      [element("code", each.receipt_nonce ?? `number ${each.index}`), `${each.detail}: ${each.meaning} ${each.fault ?? ""}`, each.cure]), "");
    holder.append(frame(table));
  }
  if (one.receipts.length) {
    const table = element("table");
    fill(table, ["Accepted receipt"], one.receipts.map((nonce) => [element("code", nonce)]), "");
    holder.append(frame(table));
  }
  return holder;
}

function frame(table) {
  const holder = element("div", undefined, { class: "wide" });
  holder.append(table);
  return holder;
}

async function page() {
  const cursor = next === null ? "" : `&cursor=${next}`;
  const found = await signedGet(`/clients/${client.did}/history?limit=20${cursor}`);
  byId("list").append(...found.items.map(batch));
  next = found.next;
  byId("more").hidden = next === null;
  byId("found").hidden = false;
  tell(byId("list").children.length ? "" : "This DID has handed in nothing yet.");
}

async function attempt(what) {
  try {
    await what();
  } catch (error) {
    tell(error.message);
  }
}

byId("who").addEventListener("submit", (event) => {
  event.preventDefault();
  byId("found").hidden = true;
  byId("list").replaceChildren();
  next = null;
  attempt(async () => {
    const [file] = byId("file").files;
    if (!file) throw new Error("Choose your key file first.");
    client = await readKey(await file.text());
    byId("file").value = "";
    const did = byId("did").value.trim();
    if (did && !/^did:[a-z0-9]+:[A-Za-z0-9._:%-]+$/.test(did)) throw new Error("This is no DID.");
    client.did = did || client.did;
    byId("shown").textContent = client.did;
    await page();
  });
});
byId("more").addEventListener("click", () => attempt(page));
