// Disputes: listed, opened with what the client did, and decided.

import { byId, describe, element, fill, moment } from "./page.js";

const WAYS = {
  open: ["under_investigation", "resolved_for_claimant", "resolved_for_node", "rejected"],
  under_investigation: ["resolved_for_claimant", "resolved_for_node", "rejected"],
  resolved_for_claimant: ["closed"],
  resolved_for_node: ["closed"],
  rejected: ["closed"],
  closed: [],
};
const PAGES = 5;
const words = (name) => name.replaceAll("_", " ");

export class Disputes {
  constructor(call, changed) {
    this.call = call;
    this.changed = changed;
    this.wanted = null; // what the dialog is about; its answers may come late, or never
    this.open = null;
    this.shown = "";
    byId("d-close").addEventListener("click", () => byId("dispute").close());
    byId("d-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.decide();
    });
  }

  list(items) {
    const now = JSON.stringify(items);
    if (now === this.shown) return; // a button that somebody is about to press stays where it is
    this.shown = now;
    const rows = items.map((one) => {
      const button = element("button", `Open ${one.id}`, { type: "button", class: "plain" });
      button.addEventListener("click", () => this.show(one.id));
      return [button, words(one.state), `${one.subject} ${one.subject_id.slice(0, 16)}`, element("code", one.client_did), one.claim.slice(0, 120), moment(one.filed_at)];
    });
    fill(byId("disputes"), ["", "State", "About", "By", "Claim", "Filed"], rows, "None.");
  }

  async show(id) {
    this.wanted = id;
    this.open = null; // nothing can be decided before it is seen
    byId("d-form").hidden = true;
    byId("d-told").textContent = "";
    byId("d-title").textContent = `Dispute ${id}`;
    for (const part of ["d-facts", "d-receipt", "d-entries", "d-history"]) byId(part).replaceChildren();
    byId("d-form").reset();
    byId("dispute").showModal();
    try {
      await this.load(id);
    } catch (error) {
      this.tell(id, error.message);
    }
  }

  tell(id, text) {
    if (this.wanted === id) byId("d-told").textContent = text;
  }

  async load(id) {
    const one = await this.call("GET", `/disputes/${id}`);
    if (this.wanted !== id) return;
    this.open = one;
    describe(byId("d-facts"), {
      State: words(one.state), By: one.client_did, About: `${one.subject} ${one.subject_id}`,
      Known: one.known ? "the node had it when the dispute was filed" : "the node did not have it",
      Claim: one.claim, Explanation: one.explanation, Compensation: one.compensation_atoms, Filed: moment(one.filed_at),
    });
    byId("d-entries").replaceChildren(...one.entries.map((entry) => element("p", `${moment(entry.at)} · ${entry.kind} by ${entry.author}: ${entry.content}`)));
    byId("d-state").replaceChildren(...WAYS[one.state].map((state) => element("option", words(state), { value: state })));
    byId("d-form").hidden = !WAYS[one.state].length;
    const did = encodeURIComponent(one.client_did);
    const receipt = await this.receipt(one, did);
    const history = await this.call("GET", `/clients/${did}/history?limit=10`);
    if (this.wanted !== id) return;
    describe(byId("d-receipt"), receipt);
    fill(byId("d-history"), ["When", "Accepted", "Rejected", "Why"], history.items.map((batch) =>
      [moment(batch.submitted_at), batch.accepted, batch.rejected, [...new Set(batch.rejections.map((each) => each.detail))].join(", ")]), "None.");
  }

  async receipt(one, did) {
    if (one.subject !== "receipt") return { About: `a ${one.subject}, not a receipt` };
    let cursor = "";
    for (let page = 0; page < PAGES; page += 1) {
      const found = await this.call("GET", `/receipts/${did}?limit=200${cursor}`);
      const receipt = found.items.find((each) => each.receipt_nonce === one.subject_id);
      if (receipt) return { ...receipt, submitted_at: moment(receipt.submitted_at) };
      if (!found.next) break;
      cursor = `&cursor=${found.next}`;
    }
    return { Receipt: "not among the client's newest accepted ones" };
  }

  async decide() {
    const { id } = this.open;
    const [state, why, atoms] = [byId("d-state").value, byId("d-why").value.trim(), byId("d-atoms").value.trim()];
    try {
      await this.call("POST", `/disputes/${id}/resolve`, { state, explanation: why || null, compensation_atoms: atoms || null });
      if (this.wanted === id) byId("d-form").reset();
      await this.load(id);
      this.tell(id, `It is ${words(state)} now.`);
      this.changed();
    } catch (error) {
      this.tell(id, error.message);
    }
  }
}
