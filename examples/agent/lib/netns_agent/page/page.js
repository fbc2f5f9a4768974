"use strict";

const every = Number(document.documentElement.dataset.every);
const live = document.getElementById("live");

async function refresh() {
  if (!document.hidden) {
    try {
      const answer = await fetch(location.href, { signal: AbortSignal.timeout(10000) });
      if (!answer.ok) throw new Error(answer.status);
      const next = new DOMParser().parseFromString(await answer.text(), "text/html");
      const opened = [...document.querySelectorAll("main details[open]")].map((d) => d.id);
      document.querySelector("main").replaceWith(next.querySelector("main"));
      for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
      live.textContent = "live";
      live.className = "live";
      const count = Number(document.documentElement.dataset.refreshed ?? 0);
      document.documentElement.dataset.refreshed = count + 1;
    } catch {
      live.textContent = "no answer";
      live.className = "stale";
    }
  }
  setTimeout(refresh, every);
}

async function check(event) {
  event.preventDefault();
  const result = document.getElementById("result");
  result.className = "";
  result.textContent = "…";
  try {
    const query = new URLSearchParams(new FormData(event.target));
    const answer = await (await fetch("/check?" + query)).json();
    result.className = answer.result === "open" ? "good" : "bad";
    result.textContent = answer.result
      ? answer.result + " (" + answer.ms.toFixed(1) + " ms)" + (answer.error ? ": " + answer.error : "")
      : answer.error;
  } catch {
    result.className = "bad";
    result.textContent = "the agent does not answer";
  }
}

document.getElementById("check").addEventListener("submit", check);
document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-netns]");
  if (!button) return;
  document.getElementById("netns").value = button.dataset.netns;
  document.getElementById("port").focus();
});
setTimeout(refresh, every);
