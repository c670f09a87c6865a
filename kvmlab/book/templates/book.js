"use strict";
(function () {
  // Search in this page: the index stands beside it, and nothing is sent anywhere.
  const field = document.getElementById("search");
  const list = document.getElementById("search-results");
  const MOST = 20;
  const AROUND = 40;

  function found(words) {
    const hits = [];
    for (const entry of window.KVMLAB_INDEX) {
      const title = entry.title.toLowerCase();
      const text = entry.text.toLowerCase();
      let score = 0;
      for (const word of words) {
        const here = (title.includes(word) ? 10 : 0) + Math.min(5, text.split(word).length - 1);
        if (here === 0) {
          score = 0;
          break;
        }
        score += here;
      }
      if (score > 0) {
        hits.push([score, entry]);
      }
    }
    return hits.sort((a, b) => b[0] - a[0]).slice(0, MOST).map((hit) => hit[1]);
  }

  function excerpt(text, word) {
    const paragraph = document.createElement("p");
    const at = text.toLowerCase().indexOf(word);
    if (at < 0) {
      paragraph.textContent = text.slice(0, 2 * AROUND);
      return paragraph;
    }
    const mark = document.createElement("mark");
    mark.textContent = text.slice(at, at + word.length);
    const start = Math.max(0, at - AROUND);
    paragraph.append(
      (start > 0 ? "…" : "") + text.slice(start, at),
      mark,
      text.slice(at + word.length, at + word.length + AROUND) + "…"
    );
    return paragraph;
  }

  function show() {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    list.replaceChildren();
    list.hidden = words.length === 0;
    if (words.length === 0) {
      return;
    }
    for (const entry of found(words)) {
      const item = document.createElement("li");
      const link = document.createElement("a");
      link.href = entry.page + (entry.anchor ? "#" + entry.anchor : "");
      link.textContent = entry.title;
      item.append(link, excerpt(entry.text, words[0]));
      list.append(item);
    }
    list.dataset.count = String(list.children.length);
  }

  field.addEventListener("input", show);
  document.getElementById("search-form").addEventListener("submit", function (event) {
    event.preventDefault();
    const first = list.querySelector("a");
    if (first) {
      window.location.href = first.href;
    }
  });
})();
