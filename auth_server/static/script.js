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

// The prototype's method: a field called "submit" would hide the form's own.
const answer = document.querySelector("form[data-autosubmit]");
if (answer) HTMLFormElement.prototype.submit.call(answer);
