"use strict";
// Comforts only: every page works without this file.

// Whoever comes back to a page that answered a form gets it by its address, not the question whether to send again.
history.replaceState(null, "", location.href);

// Passwords can be looked at; before sending they are hidden again, so that the browser does not remember them as text.
for (const button of document.querySelectorAll("[data-show]")) {
  const input = document.querySelector(button.dataset.show);
  const show = (on) => {
    input.type = on ? "text" : "password";
    button.setAttribute("aria-pressed", String(on));
  };
  button.addEventListener("click", () => show(input.type === "password"));
  input.form.addEventListener("submit", () => show(false));
  button.hidden = false;
}

for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) break;
  const status = button.nextElementSibling;
  button.addEventListener("click", async () => {
    const source = document.querySelector(button.dataset.copy);
    await navigator.clipboard.writeText((source.value ?? source.textContent).trim());
    status.textContent = button.dataset.copied;
    setTimeout(() => { status.textContent = ""; }, 4000);
  });
  button.hidden = false;
}

for (const button of document.querySelectorAll("[data-print]")) {
  button.addEventListener("click", () => window.print());
  button.hidden = false;
}

// Passkeys: the browser is asked when the button is pressed, and, on the login page, offers what it has in the e-mail field.
// What it answers is sent with the form, as if it had been typed. Cancelling leaves everything as it was.
const passkey = document.querySelector("[data-passkey]");
if (passkey && window.PublicKeyCredential && navigator.credentials) {
  const BINARY = ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"];
  const STALE_AFTER_MS = 4 * 60 * 1000; // the server takes an answer within five minutes
  const [button, status] = passkey.children;
  const creates = "creates" in passkey.dataset;
  let options = JSON.parse(passkey.dataset.passkey);
  let askedAt = Date.now();
  let controller = null;
  let running = Promise.resolve();
  let presses = 0;
  let isBusy = false;
  const field = Object.assign(document.createElement("input"), { type: "hidden", name: "credential" });

  const decoded = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));
  const encoded = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)))
    .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  const named = (list) => list.map((item) => ({ ...item, id: decoded(item.id) }));
  const isStale = () => Date.now() - askedAt > STALE_AFTER_MS;

  const request = async () => {
    if (isStale()) {
      options = await (await fetch(passkey.dataset.again)).json();
      askedAt = Date.now();
    }
    const publicKey = { ...options, challenge: decoded(options.challenge) };
    if (publicKey.user) publicKey.user = { ...publicKey.user, id: decoded(publicKey.user.id) };
    for (const name of ["allowCredentials", "excludeCredentials"]) {
      if (publicKey[name]) publicKey[name] = named(publicKey[name]);
    }
    return publicKey;
  };

  const send = (credential) => {
    const response = { transports: credential.response.getTransports?.() };
    for (const name of BINARY) {
      if (credential.response[name]) response[name] = encoded(credential.response[name]);
    }
    isBusy = true;
    field.value = JSON.stringify({ id: credential.id, rawId: encoded(credential.rawId), type: credential.type, response });
    const form = passkey.closest("form");
    form.append(field);
    HTMLFormElement.prototype.submit.call(form);
  };

  const ask = async (more) => {
    controller?.abort();
    await running; // some browsers refuse a second request while the first is being taken back
    controller = new AbortController();
    const wanted = { publicKey: await request(), signal: controller.signal, ...more };
    const asked = creates ? navigator.credentials.create(wanted) : navigator.credentials.get(wanted);
    running = asked.then(() => {}, () => {});
    const credential = await asked;
    if (credential) send(credential);
  };

  const offer = async () => {
    if (isBusy || !("autofill" in passkey.dataset)) return;
    if (!await PublicKeyCredential.isConditionalMediationAvailable?.()) return;
    await ask({ mediation: "conditional" }).catch(() => {}); // nobody asked for it, so nothing is said
  };

  button.addEventListener("click", async () => {
    const press = ++presses;
    isBusy = true;
    status.textContent = "";
    try {
      await ask({});
    } catch (problem) {
      if (press !== presses) return; // pressed again: that one goes on
      const texts = { NotAllowedError: passkey.dataset.cancelled, InvalidStateError: passkey.dataset.known };
      status.textContent = texts[problem.name] ?? passkey.dataset.failed;
      isBusy = false;
      offer();
    }
  });
  addEventListener("pageshow", (event) => {
    if (!event.persisted) return; // back again, by a browser that kept the page as it was
    field.remove();
    isBusy = false;
  });
  setInterval(() => { if (isStale() && !document.hidden) offer(); }, 30 * 1000);
  for (const text of document.querySelectorAll("[data-without-passkey]")) text.hidden = true;
  passkey.hidden = false;
  offer();
}

// The prototype's method: a field called "submit" would hide the form's own.
const answer = document.querySelector("form[data-autosubmit]");
if (answer) HTMLFormElement.prototype.submit.call(answer);

// The frames of a sign-out are loaded once the page is; an app that does not answer is not waited for.
const onward = document.querySelector("a[data-onward]");
if (onward) {
  const go = () => location.replace(onward.href);
  addEventListener("load", go);
  setTimeout(go, 3000);
}
