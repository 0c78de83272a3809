"use strict";
// Everything that comes from a model or a person is set as text, never as markup.

const $ = (id) => document.getElementById(id);
const said = document.body.dataset;
const MOST_SHOWN = 10;
let last = null;
let kind = null;  // of KINDS below: what an answer is, and how it is shown and corrected
let target = "label";
let replies = false;  // whether it replies to conversations, piece by piece
let parts = [];  // of the correction: {start, end, label}, in code points as the API counts
let fields = [{ name: "text", kind: "text", values: [] }];

// The reasons that a reply gives stand on the page: they are asked for in its language.
function headersSent() {
  const headers = { "accept-language": document.documentElement.lang };
  const key = sessionStorage.getItem("sartor-key");
  if (key) headers.authorization = `Bearer ${key}`;
  return headers;
}

async function call(path, body) {
  const headers = headersSent();
  if (body) headers["content-type"] = "application/json";
  const reply = await fetch(path, {
    method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body),
  });
  const content = await reply.json();
  $("key-form").hidden = reply.status !== 401;
  if (!reply.ok) throw content.error;
  return content;
}

function show(id, text) {
  $(id).textContent = text;
  $(id).hidden = !text;
}

async function attempt(work) {
  show("problem", "");
  try {
    await work();
  } catch (error) {
    show("problem", error && error.what ? `${error.what} ${said.fix} ${error.fix}` : said.failed);
  }
}

async function learnModel() {
  const model = await call("/v1/model");
  $("name").textContent = model.name;
  document.title = model.name;
  show("warning", model.released ? "" : said.unreleased);
  // What a learner answers is another row to learn from, and corrects no chance.
  $("feedback").hidden = !model.feedback || model.fields.some((field) => field.kind === "answers");
  $("keep").checked = model.texts_kept;
  $("keep").disabled = model.texts_kept;
  target = model.target;
  replies = model.replies;
  kind = KINDS[target];
  for (const id of ["correct", "number", "written", "part-form", "add", "passage-form"]) $(id).hidden = !kind.uses.includes(id);
  $("number").required = kind.uses.includes("number");
  $("correct").multiple = kind.several;
  $("correct-label").htmlFor = kind.uses[0];
  drawBoxes(model.fields);
  outcomes = target === "outcome" ? model.labels : [];
  const labels = ["documents", "outcome"].includes(target) ? [] : model.labels;
  $("correct").replaceChildren(...labels.map((label) => new Option(label, label)));
}

// The first box is in the page; a model that reads several texts, or columns, gets one more for each.
function drawBoxes(given) {
  if (JSON.stringify(given) === JSON.stringify(fields)) return;
  fields = given;
  const reads = fields[0].kind === "text";
  if (reads && said[fields[0].name]) $("text-label").textContent = said[fields[0].name];
  for (const id of ["text", "text-label"]) $(id).hidden = !reads;
  // A note beside columns may be empty.
  $("text").required = fields.every((field) => field.kind === "text");
  $("others").replaceChildren(...fields.slice(reads ? 1 : 0).flatMap(drawBox));
}

// Kinds of fields that take more than a line.
const BOXES = ["text", "items", "answers"];

function drawBox(field) {
  const label = document.createElement("label");
  label.htmlFor = `text-${field.name}`;
  label.textContent = field.kind === "text" ? (said[field.name] || said.other) : field.name;
  if (BOXES.includes(field.kind)) {
    const box = document.createElement("textarea");
    box.id = label.htmlFor;
    box.rows = 5;
    box.required = field.kind === "text";
    if (said[field.kind] && field.kind !== "text") label.textContent = said[field.kind];
    return [label, box];
  }
  if (["item", "skill"].includes(field.kind)) label.textContent = said[field.kind];
  const box = document.createElement("input");
  box.id = label.htmlFor;
  box.type = { number: "number", date: "date" }[field.kind] || "text";
  if (field.kind === "number") box.step = "any";
  if (!field.values.length) return [label, box];
  const known = document.createElement("datalist");
  known.id = `known-${field.name}`;
  known.replaceChildren(...field.values.map((value) => new Option(value, value)));
  box.setAttribute("list", known.id);
  return [label, box, known];
}

function readBox(field, at) {
  const { value } = at || field.kind !== "text" ? $(`text-${field.name}`) : $("text");
  if (field.kind === "text") return value;
  if (field.kind === "items") return value.split("\n").map((id) => id.trim()).filter(Boolean);
  if (field.kind === "answers") return answersIn(value);
  if (value === "") return null;
  return field.kind === "number" ? Number(value) : value;
}

function readRow() {
  return Object.fromEntries(fields.map((field, at) => [field.name, readBox(field, at)]));
}

function drawRow([label, probability]) {
  const row = document.createElement("tr");
  const head = document.createElement("th");
  head.textContent = label;
  const meter = document.createElement("meter");
  meter.value = probability;
  const bar = document.createElement("td");
  bar.append(meter);
  const number = document.createElement("td");
  number.className = "number";
  number.textContent = `${(probability * 100).toFixed(1)} %`;
  row.append(head, bar, number);
  return row;
}

function drawRanked(output) {
  const ranked = Object.entries(output.probabilities).sort((a, b) => b[1] - a[1]);
  $("probabilities").replaceChildren(...ranked.slice(0, MOST_SHOWN).map(drawRow));
  return ranked;
}

// As many digits as the width of the interval lets one tell apart.
function shownNumber(value, output) {
  const width = output.high - output.low || 1;
  const digits = Math.min(Math.max(1 - Math.floor(Math.log10(width)), 0), 12);
  return value.toLocaleString(document.documentElement.lang, { maximumFractionDigits: digits });
}

function drawInterval(output) {
  $("number").value = output.value === null ? "" : output.value;
  if (output.value === null || output.high <= output.low) return;
  show("reason", said.between
    .replace("{low}", shownNumber(output.low, output))
    .replace("{high}", shownNumber(output.high, output))
    .replace("{share}", `${(output.coverage * 100).toFixed(0)} %`));
}

// The text with its labelled parts marked.
function drawMarked(text, entities) {
  const points = [...text];
  const nodes = [];
  let at = 0;
  for (const { start, end, label } of entities) {
    nodes.push(points.slice(at, start).join(""));
    const mark = document.createElement("mark");
    mark.textContent = points.slice(start, end).join("");
    if (label) {
      const name = document.createElement("small");
      name.textContent = label;
      mark.append(name);
    }
    nodes.push(mark);
    at = end;
  }
  nodes.push(points.slice(at).join(""));
  $("marked").replaceChildren(...nodes);
  $("marked").hidden = false;
}

// The parts of a correction, each with a button that takes it away.
function drawParts() {
  const points = [...last.row[fields[0].name]];
  $("parts").replaceChildren(...parts.map((part) => {
    const item = document.createElement("li");
    item.textContent = `${points.slice(part.start, part.end).join("")}: ${part.label} `;
    const gone = document.createElement("button");
    gone.type = "button";
    gone.textContent = said.remove;
    gone.addEventListener("click", () => {
      parts = parts.filter((other) => other !== part);
      drawParts();
    });
    item.append(gone);
    return item;
  }));
}

// What is selected in the box becomes a part; those that it overlaps go.
function addPart() {
  const box = $("text");
  const place = (units) => [...box.value.slice(0, units)].length;
  const [start, end] = [place(box.selectionStart), place(box.selectionEnd)];
  if (start === end) return;
  parts = parts.filter((part) => part.end <= start || part.start >= end);
  parts.push({ start, end, label: $("correct").value });
  parts.sort((a, b) => a.start - b.start);
  drawParts();
}

function drawEntities(output) {
  const entities = output.entities || [];
  drawMarked(last.row[fields[0].name], entities);
  $("probabilities").replaceChildren(
    ...entities.map((one) => drawRow([`${one.text} (${one.label})`, one.confidence])));
  parts = entities.map(({ start, end, label }) => ({ start, end, label }));
  drawParts();
}

const wordsOf = (found) => found.text || found.id;
// Its title, or how it begins.
const headOf = (found) => wordsOf(found).split("\n")[0].slice(0, 100);

function drawDocument(found) {
  const item = document.createElement("li");
  const words = document.createElement("p");
  words.textContent = wordsOf(found);
  const meter = document.createElement("meter");
  meter.value = found.score;
  const name = document.createElement("small");
  name.textContent = `${found.id} · ${(found.score * 100).toFixed(1)} %`;
  item.append(words, meter, name);
  return item;
}

function drawDocuments(output) {
  $("documents").replaceChildren(...output.documents.map(drawDocument));
  $("documents").hidden = false;
  // Documents may be many: those that an answer lists are offered with it.
  const offered = output.documents.map((each) => new Option(headOf(each), each.id));
  $("correct").replaceChildren(...offered);
}

const NAME = "context";  // of the input that answers are parts of

// The context with the answer marked; the next likely ones are offered as corrections.
function drawPassage(output) {
  const context = last.row[NAME];
  const found = output.answer ? [{ start: output.start, end: output.end, label: "" }] : [];
  drawMarked(context, found);
  const others = [output, ...output.alternatives];
  $("probabilities").replaceChildren(
    ...others.map((one) => drawRow([one.answer || said.unanswered, one.confidence])));
  $("none").checked = !output.answer;
}

// What is selected in the box of the context, else what stands marked there.
function passage() {
  if ($("none").checked) return { text: "" };
  const box = $(`text-${NAME}`);
  const place = (units) => [...box.value.slice(0, units)].length;
  const [start, end] = [place(box.selectionStart), place(box.selectionEnd)];
  if (start === end) return last.best;
  return { text: [...box.value].slice(start, end).join(""), start };
}

const chosen = () => [...$("correct").selectedOptions].map((option) => option.value);

// By the key of an answer:
//   uses     fields of a correction, the one to fill in first
//   several  whether more than one label may be chosen
//   words    what an answer says in a line; null where it says nothing
//   draw     shows the rest, and fills the correction in
//   best     what is confirmed by "right"
//   right    what a correction says
const KINDS = {
  label: {
    uses: ["correct"],
    several: false,
    words: (output) => output.skills ? wordsOfLearner(output) : output.label,
    draw: (output) => {
      if (output.skills) {
        drawLearner(output);
        return;
      }
      const ranked = drawRanked(output);
      $("correct").value = (ranked[1] || ranked[0])[0];
    },
    best: (output) => output.best,
    right: () => chosen()[0],
  },
  labels: {
    uses: ["correct"],
    several: true,
    words: (output) => output.labels && (output.labels.join(", ") || said.none),
    draw: (output) => {
      drawRanked(output);
      for (const option of $("correct").options) {
        option.selected = (output.labels || []).includes(option.value);
      }
    },
    best: (output) => output.labels || [],
    right: chosen,
  },
  value: {
    uses: ["number"],
    several: false,
    words: (output) => output.value === null ? null : shownNumber(output.value, output),
    draw: drawInterval,
    best: (output) => output.value,
    right: () => $("number").valueAsNumber,
  },
  entities: {
    uses: ["correct", "part-form", "add"],
    several: false,
    words: (output) => output.entities && (output.entities.length ? "" : said.nothing),
    draw: drawEntities,
    best: (output) => (output.entities || []).map(({ start, end, label }) => ({ start, end, label })),
    right: () => parts,
  },
  documents: {
    uses: ["correct"],
    several: true,
    words: (output) => output.answer && headOf(output.documents[0]),
    draw: drawDocuments,
    best: (output) => output.documents.slice(0, 1).map((each) => each.id),
    right: chosen,
  },
  outcome: {
    uses: ["correct"],
    several: false,
    words: wordsOfOutcome,
    draw: drawOutcome,
    best: (output) => output.outcome,
    right: () => chosen()[0],
  },
  answer: {
    uses: ["passage-form"],
    several: false,
    words: (output) => output.answer === "" ? said.unanswered : output.answer,
    draw: drawPassage,
    best: (output) => output.answer
      ? { text: output.answer, start: output.start } : { text: "" },
    right: passage,
  },
  text: {
    uses: ["written"],
    several: false,
    words: (output) => output.label,
    draw: (output) => {
      $("written").value = output.best;
      // What was written of a text is read beside it.
      show("source", replies ? "" : last.row[fields[0].name]);
    },
    best: (output) => output.best,
    right: () => $("written").value,
  },
};

function drawAnswer(output) {
  const words = kind.words(output);
  show("label", words === null ? said.unsure : words);
  show("reason", [output.reason, ...(output.notes || [])].filter(Boolean).join(" "));
  $("probabilities").replaceChildren();
  kind.draw(output);
  for (const id of ["right", "wrong"]) $(id).disabled = false;
  $("correction").hidden = true;
  show("thanks", "");
  $("answer").hidden = false;
}

// A reply as it is written: what has come so far stands on the page, the rest is on its way.
async function stream(text) {
  const headers = { ...headersSent(), "content-type": "application/json" };
  const body = JSON.stringify({ messages: messagesOf(text), stream: true });
  const reply = await fetch("/v1/chat/completions", { method: "POST", headers, body });
  $("key-form").hidden = reply.status !== 401;
  if (!reply.ok) throw (await reply.json()).error;
  const found = { id: "", text: "", finish: "length" };
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  $("answer").hidden = false;
  show("label", "…");
  show("reason", "");
  for (let kept = ""; ;) {
    const { done, value } = await reader.read();
    if (done) return [found.id, { label: found.text || null, best: found.text }];
    const events = (kept + value).split("\n\n");
    kept = events.pop();
    for (const event of events) {
      const data = event.replace(/^data: /, "");
      if (data === "[DONE]") continue;
      const part = JSON.parse(data);
      found.id = part.id.replace(/^chatcmpl-/, "");
      const [choice] = part.choices;
      found.text += choice.delta.content || "";
      found.finish = choice.finish_reason || found.finish;
      show("label", found.text || "…");
    }
  }
}

// A conversation may be pasted as a JSON list of messages; anything else is one message.
function messagesOf(text) {
  try {
    const found = JSON.parse(text);
    if (Array.isArray(found) && found.length && found.every((one) => one && one.role)) return found;
  } catch {
    // A text like any other.
  }
  return [{ role: "user", content: text }];
}

async function sendFeedback(right, comment) {
  const body = { request_id: last.id, row: 0, [target === "text" ? "label" : target]: right };
  if (comment) body.comment = comment;
  if ($("keep").checked) {
    if (fields.length > 1 || fields[0].kind !== "text") body.inputs = last.row;
    else body.text = last.row[fields[0].name];
  }
  await call("/v1/feedback", body);
  for (const id of ["right", "wrong"]) $(id).disabled = true;
  $("correction").hidden = true;
  $("comment").value = "";
  show("thanks", said.thanks);
}

async function predict(row) {
  const reply = await call("/v1/predict", { inputs: [row] });
  return [reply.request_id, reply.outputs[0]];
}

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const asked = readRow();
  const row = target === "outcome" ? withHistory(asked) : asked;
  attempt(async () => {
    const [id, output] = replies ? await stream(row.text) : await predict(row);
    last = { id, row, best: kind.best(output) };
    if (target === "outcome") drawTurns(asked.text, output);
    drawAnswer(output);
  });
});

$("right").addEventListener("click", () => attempt(() => sendFeedback(last.best, "")));
$("wrong").addEventListener("click", () => {
  // Places of parts are counted in the text that was asked, whatever was typed since.
  if (kind.uses.includes("part-form")) $("text").value = last.row[fields[0].name];
  if (kind.uses.includes("passage-form")) $(`text-${NAME}`).value = last.row[NAME];
  $("correction").hidden = false;
  $(kind.uses[0] === "passage-form" ? `text-${NAME}` : kind.uses[0]).focus();
});
$("add").addEventListener("click", addPart);
$("anew").addEventListener("click", startAnew);
$("feedback").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(() => sendFeedback(kind.right(), $("comment").value));
});
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("sartor-key", $("key").value.trim());
  $("key").value = "";
  attempt(learnModel);
});
attempt(learnModel);
