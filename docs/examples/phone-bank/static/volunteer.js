"use strict";

const lease = document.getElementById("lease");
if (lease) {
  let expires = Date.parse(lease.dataset.expires);
  const left = document.getElementById("left");
  const show = () => {
    const seconds = Math.max(0, Math.round((expires - Date.now()) / 1000));
    left.textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
    lease.classList.toggle("soon", seconds < 60);
    document.getElementById("over").hidden = seconds > 0;
  };
  document.getElementById("longer").addEventListener("click", async () => {
    const answer = await (await fetch("/renew", { method: "POST" })).json();
    if (answer.renewed) expires = Date.parse(answer.expires_at);
    else location.reload();
    show();
  });
  show();
  setInterval(show, 1000);
} else if (document.getElementById("waiting")) {
  const why = document.getElementById("why");
  const ask = async () => {
    let answer;
    try {
      answer = await (await fetch("/next", { method: "POST" })).json();
    } catch {
      answer = { ready: false, why: "The phone bank does not answer." };
    }
    if (answer.ready) return location.reload();
    if (answer.closed && answer.opens) {
      const at = new Date(answer.opens).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
      why.textContent = `Nobody may be called now: it is too early or too late where they live. The next numbers open at ${at}.`;
    } else {
      why.textContent = `All numbers are taken or resting. You get the next one. (${answer.why})`;
    }
    setTimeout(ask, 2000);
  };
  ask();
}
