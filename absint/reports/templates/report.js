"use strict";
(() => {
  const table = document.getElementById("table");
  addEventListener("beforeprint", () => document.querySelectorAll("details:not(.dump)").forEach((one) => { one.open = true; }));
  if (!table) return;
  const records = [...table.tBodies];
  const heads = [...table.tHead.rows[0].cells];
  const toned = heads[0].hasAttribute("aria-label") ? 1 : 0;
  const text = (record, column) => record.rows[0].cells[column + toned].textContent.trim();

  // Numbers by value, then words, then what is absent; ties stay as they stood.
  const key = (word) => {
    const number = Number(word.replace(/^-inf$/, "-Infinity").replace(/^inf$/, "Infinity"));
    if (word === "") return [2, 0];
    return Number.isNaN(number) ? [1, word] : [0, number];
  };
  const order = (one, two) => {
    if (one[0] !== two[0]) return one[0] - two[0];
    return one[0] === 1 ? one[1].localeCompare(two[1]) : (one[1] > two[1]) - (one[1] < two[1]);
  };
  heads.slice(toned).forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const keyed = records.map((record) => [key(text(record, column)), record]);
      keyed.sort((one, two) => {
        const absent = (one[0][0] === 2) - (two[0][0] === 2);
        return absent || (down ? order(two[0], one[0]) : order(one[0], two[0]));
      });
      table.append(...keyed.map((one) => one[1]));
    });
  });

  const find = document.getElementById("find");
  const choices = [...document.querySelectorAll("select[data-column]")];
  const count = document.getElementById("count");
  const filter = () => {
    const wanted = find.value.toLowerCase();
    let left = 0;
    records.forEach((record) => {
      const found = (!wanted || record.textContent.toLowerCase().includes(wanted))
        && choices.every((one) => !one.value || text(record, Number(one.dataset.column)) === one.value);
      record.hidden = !found;
      left += found;
    });
    count.textContent = `${left} of ${records.length} rows`;
  };
  find.addEventListener("input", filter);
  choices.forEach((one) => one.addEventListener("change", filter));
  const more = document.getElementById("more");
  if (more) more.addEventListener("change", () => table.classList.toggle("all", more.checked));
  document.querySelector(".controls").hidden = false;
  filter();
})();
