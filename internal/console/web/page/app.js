"use strict";

// The console's pages over the administrative interface. What anybody named becomes a text node: nothing
// here makes markup of a string, and the page's policy would not let it.
const $ = (id) => document.getElementById(id);
const views = ["signin", "link", "reset", "second", "enrol", "recovery", "home"];
let ticket = "";
let me = null;
let passkeysHere = false;

function show(view) {
  for (const v of views) $(v).hidden = v !== view;
  $("signout").hidden = view !== "home";
}

function say(text) {
  $("message").textContent = text || "";
  $("message").hidden = !text;
}

// call sends one request; a refusal is an error with the interface's own words.
async function call(method, path, body) {
  const options = { method, headers: {}, credentials: "same-origin" };
  if (method !== "GET") options.headers["Content-Type"] = "application/json";
  if (body !== undefined) options.body = JSON.stringify(body);
  const res = await fetch("/admin/v1" + path, options);
  const text = await res.text();
  const answer = text ? JSON.parse(text) : {};
  if (!res.ok) {
    const err = new Error(answer.detail || "The gateway answered " + res.status + ".");
    err.status = res.status;
    throw err;
  }
  return answer;
}

// on has a form do something; what goes wrong is said above it.
function on(id, f) {
  $(id).addEventListener("submit", async (e) => {
    e.preventDefault();
    say("");
    const fields = Object.fromEntries(new FormData(e.target));
    try {
      await f(fields, e.target);
    } catch (err) {
      say(err.message);
    }
  });
}

async function step(answer) {
  ticket = answer.ticket || "";
  for (const f of document.forms) f.querySelectorAll("input[type=password], input[name=code]").forEach((i) => { i.value = ""; });
  if (answer.next === "second") return show("second");
  if (answer.next === "enrol") {
    const e = await call("POST", "/signin/enrol", { ticket });
    $("seed").textContent = e.seed;
    return show("enrol");
  }
  history.replaceState(null, "", "/console/");
  if (answer.recovery && answer.recovery.length) return recovery(answer.recovery);
  return home();
}

function recovery(codes) {
  $("codes").replaceChildren(...codes.map((c) => {
    const li = document.createElement("li");
    li.append(code(c));
    return li;
  }));
  show("recovery");
}

function code(text) {
  const c = document.createElement("code");
  c.textContent = text;
  return c;
}

function button(text, f) {
  const b = document.createElement("button");
  b.type = "button";
  b.textContent = text;
  b.addEventListener("click", async () => {
    say("");
    try {
      await f();
    } catch (err) {
      say(err.message);
    }
  });
  return b;
}

function row(cells) {
  const tr = document.createElement("tr");
  for (const c of cells) {
    const td = document.createElement("td");
    td.append(...(Array.isArray(c) ? c : [String(c)]));
    tr.append(td);
  }
  return tr;
}

const failed = "The sign-in failed. Why is on the gateway's record.";
const day = (t) => (t ? new Date(t).toLocaleString() : "never");

async function home() {
  try {
    me = await call("GET", "/me");
  } catch (err) {
    if (err.status !== 401) say(err.message);
    $("who").textContent = "";
    if (location.hash === "#failed") say(failed);
    if (location.pathname === "/console/link") return show("link");
    if (location.pathname === "/console/reset") return show("reset");
    show("signin");
    return providers();
  }
  if (location.hash === "#failed") say(failed);
  $("who").textContent = (me.user.name || me.user.user_name) + ", " + me.user.tenant;
  const fresh = me.fresh && new Date(me.fresh) > new Date();
  $("fresh").textContent = fresh ? "Confirmed until " + day(me.fresh) + "." : "What is dangerous asks for a code first.";
  $("elsewhere").hidden = !me.elsewhere;
  $("elsewhere").replaceChildren(...(me.step_up ? [link("Confirm at your identity provider", me.step_up), " or, when it asks for one factor only, here. "] : []), button("Set up an authenticator", addSecond));
  show("home");
  await Promise.all([sessions(), keys(), factors()]);
}

// factors shows how the person proves who they are, and lets them change it.
async function factors() {
  const f = await call("GET", "/me/factors");
  $("factors").hidden = !f.local;
  $("confirmpasskey").hidden = !passkeysHere || !f.passkeys.length;
  $("newpasskey").hidden = !passkeysHere;
  $("used").hidden = !me.amr.includes("rec");
  $("authenticator").textContent = f.authenticator ? "An authenticator is set up." : "No authenticator is set up.";
  $("unset").hidden = !f.authenticator;
  $("left").textContent = f.recovery + " recovery codes are left.";
  $("passkeys").replaceChildren(...f.passkeys.map((k) => row([
    k.name, day(k.created), day(k.used), k.backed_up ? "backed up" : k.backup_eligible ? "may be backed up" : "in one device",
    [button("Remove", async () => { await call("DELETE", "/me/passkeys/" + encodeURIComponent(k.id)); await home(); })],
  ])));
}

// addSecond sets up a second factor of our own, for who signed in elsewhere.
async function addSecond() {
  $("seed").textContent = (await call("POST", "/me/second-factor")).seed;
  ticket = "";
  show("enrol");
}

function link(text, path) {
  const a = document.createElement("a");
  a.textContent = text;
  a.href = path;
  return a;
}

// providers offers the identity providers of the tenant that is named.
async function providers() {
  const of = $("signin").elements.tenant.value;
  const page = await call("GET", "/signin/providers?tenant=" + encodeURIComponent(of));
  $("providers").replaceChildren(...(page.items || []).map((p) => link("Sign in with " + p.title, p.start)));
}

async function sessions() {
  const page = await call("GET", "/me/sessions");
  $("sessions").replaceChildren(...page.items.map((s) => row([
    day(s.created), day(s.seen), s.addr, s.agent,
    s.this ? "this one" : [button("End it", async () => { await call("DELETE", "/me/sessions/" + encodeURIComponent(s.id)); await sessions(); })],
  ])));
}

const tenant = () => "/tenants/" + encodeURIComponent(me.user.tenant);

function reveal(secret) {
  $("secret").replaceChildren("The key, shown this once: ", code(secret));
  $("secret").hidden = false;
}

async function keys() {
  const page = await call("GET", tenant() + "/keys");
  $("keys").replaceChildren(...page.items.map((k) => row([
    k.id, k.name, k.status, day(k.last_used),
    k.status === "revoked" ? "" : [
      button("Rotate", async () => {
        reveal((await call("POST", tenant() + "/keys/" + encodeURIComponent(k.id) + "/rotate", {})).secret);
        await keys();
      }),
      button("Revoke", async () => {
        await call("POST", tenant() + "/keys/" + encodeURIComponent(k.id) + "/revoke");
        await keys();
      }),
    ],
  ])));
}

const list = (s) => s.split(",").map((x) => x.trim()).filter(Boolean);

on("signin", async (f) => step(await call("POST", "/signin", f)));
on("link", async (f) => step(await call("POST", "/signin/link", { link: location.hash.slice(1), password: f.password })));
on("second", async (f) => step(await call("POST", "/signin/second", { ticket, code: f.code.trim() })));
on("enrol", async (f) => step(await call("POST", ticket ? "/signin/confirm" : "/me/second-factor/confirm", { ticket, code: f.code.trim() })));
on("reset", async (f) => step(await call("POST", "/signin/reset", { link: location.hash.slice(1), password: f.password })));
on("newpasskey", async (f, form) => {
  const asked = await call("POST", "/me/passkeys/begin");
  const answer = await makePasskey(asked.options);
  await call("POST", "/me/passkeys", { ticket: asked.ticket, name: f.name.trim(), answer });
  form.reset();
  await home();
});
on("stepup", async (f, form) => {
  await call("POST", "/me/step-up", { ticket: "", code: f.code.trim() });
  form.reset();
  await home();
});
on("newkey", async (f, form) => {
  const made = await call("POST", tenant() + "/keys", {
    name: f.name, principal: me.user.id,
    scopes: { upstreams: list(f.upstreams), endpoints: list(f.endpoints), models: list(f.models) },
  });
  form.reset();
  reveal(made.secret);
  await keys();
});
// press has a button do something; what goes wrong is said above.
function press(id, f) {
  $(id).addEventListener("click", async () => {
    say("");
    try {
      await f();
    } catch (err) {
      say(err.message);
    }
  });
}

async function answerWith(asked) {
  return step(await call("POST", "/signin/passkey/answer", { ticket: asked.ticket, answer: await signWith(asked.options) }));
}

press("bypasskey", async () => answerWith(await call("POST", "/signin/passkey")));
press("secondpasskey", async () => answerWith(await call("POST", "/signin/second/passkey", { ticket })));
press("enrolpasskey", async () => {
  const asked = await call("POST", "/signin/enrol/passkey", { ticket });
  const answer = await makePasskey(asked.options);
  await step(await call("POST", "/signin/confirm/passkey", { ticket: asked.ticket, name: "first passkey", answer }));
});
press("confirmpasskey", async () => {
  const asked = await call("POST", "/me/step-up/passkey");
  await call("POST", "/me/step-up/passkey/answer", { ticket: asked.ticket, answer: await signWith(asked.options) });
  await home();
});
press("replace", async () => step(await call("POST", "/me/authenticator")));
press("unset", async () => { await call("DELETE", "/me/authenticator"); await home(); });
press("endothers", async () => { await call("DELETE", "/me/sessions"); await sessions(); });
press("renew", async () => recovery((await call("POST", "/me/recovery")).recovery));
$("signin").elements.tenant.addEventListener("change", () => providers().catch((err) => say(err.message)));
$("kept").addEventListener("click", () => { $("codes").replaceChildren(); home(); });
$("signout").addEventListener("click", async () => {
  try {
    await call("POST", "/me/sign-out");
  } catch (err) {
    say(err.message);
  }
  location.assign("/console/");
});
async function start() {
  try {
    passkeysHere = Boolean(window.PublicKeyCredential) && (await call("GET", "/signin/passkey")).enabled;
  } catch (err) {
    say(err.message);
  }
  for (const id of ["bypasskey", "secondpasskey", "enrolpasskey"]) $(id).hidden = !passkeysHere;
  return home();
}
start();
