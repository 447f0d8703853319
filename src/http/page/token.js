// The token that the page shows to a daemon which asks for one. It is kept for this tab, until the tab is closed,
// and is sent in a header only: no cookie, which the browser would send by itself.

import { byId, setShown, setText } from "./dom.js";

const KEPT_AS = "allotd-token";

const dialog = byId("token-dialog");
const form = byId("token-form");
const field = byId("token-field");
const why = byId("token-why");

/** The answer to the question that is open, which all calls wait for. */
let asking = null;

const kept = () => sessionStorage.getItem(KEPT_AS);

export function shown() {
  const token = kept();
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/** Asks for a token, as the daemon has refused the one that was sent with these headers, or none. */
export function ask(sent, reason) {
  // Another call may have got a new one meanwhile.
  if (kept() && sent.Authorization !== shown().Authorization) return Promise.resolve();
  asking ??= new Promise((answered) => {
    sessionStorage.removeItem(KEPT_AS);
    const refused = sent.Authorization !== undefined;
    setText(why, refused ? reason : "");
    setShown(why, refused);
    field.value = "";
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      sessionStorage.setItem(KEPT_AS, field.value.trim());
      field.value = "";
      asking = null;
      dialog.close();
      answered();
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}

// Without a token there is nothing to show: the question stays.
dialog.addEventListener("close", () => {
  if (asking) dialog.showModal();
});
