"use strict";
// Everything that comes from a model or a person is set as text, never as markup.

const $ = (id) => document.getElementById(id);
const said = document.body.dataset;
const MOST_SHOWN = 10;
let last = null;
let several = false;
let fields = [{ name: "text", kind: "text", values: [] }];

async function call(path, body) {
  const headers = {};
  const key = sessionStorage.getItem("sartor-key");
  if (key) headers.authorization = `Bearer ${key}`;
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
  $("feedback").hidden = !model.feedback;
  $("keep").checked = model.texts_kept;
  $("keep").disabled = model.texts_kept;
  several = model.target === "labels";
  $("correct").multiple = several;
  drawBoxes(model.fields);
  $("correct").replaceChildren(...model.labels.map((label) => new Option(label, label)));
}

// The first box is in the page; a model that reads several texts, or columns, gets one more for each.
function drawBoxes(given) {
  if (JSON.stringify(given) === JSON.stringify(fields)) return;
  fields = given;
  const reads = fields[0].kind === "text";
  for (const id of ["text", "text-label"]) $(id).hidden = !reads;
  // A note beside columns may be empty.
  $("text").required = fields.every((field) => field.kind === "text");
  $("others").replaceChildren(...fields.slice(reads ? 1 : 0).flatMap(drawBox));
}

function drawBox(field) {
  const label = document.createElement("label");
  label.htmlFor = `text-${field.name}`;
  label.textContent = field.kind === "text" ? said.other : field.name;
  if (field.kind === "text") {
    const box = document.createElement("textarea");
    box.id = label.htmlFor;
    box.rows = 5;
    box.required = true;
    return [label, box];
  }
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

// What an answer says: a label, or as many as the text has; null where it says nothing.
function answered(output) {
  if (!several) return output.label;
  return output.labels && (output.labels.join(", ") || said.none);
}

function drawAnswer(output) {
  const words = answered(output);
  show("label", words === null ? said.unsure : words);
  show("reason", [output.reason, ...(output.notes || [])].filter(Boolean).join(" "));
  const ranked = Object.entries(output.probabilities).sort((a, b) => b[1] - a[1]);
  $("probabilities").replaceChildren(...ranked.slice(0, MOST_SHOWN).map(drawRow));
  if (several) {
    for (const option of $("correct").options) {
      option.selected = (output.labels || []).includes(option.value);
    }
  } else {
    $("correct").value = (ranked[1] || ranked[0])[0];
  }
  for (const id of ["right", "wrong"]) $(id).disabled = false;
  $("correction").hidden = true;
  show("thanks", "");
  $("answer").hidden = false;
}

async function sendFeedback(right, comment) {
  const body = { request_id: last.id, row: 0 };
  body[several ? "labels" : "label"] = right;
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

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const row = readRow();
  attempt(async () => {
    const reply = await call("/v1/predict", { inputs: [row] });
    const [output] = reply.outputs;
    last = { id: reply.request_id, row, best: several ? output.labels || [] : output.best };
    drawAnswer(output);
  });
});

$("right").addEventListener("click", () => attempt(() => sendFeedback(last.best, "")));
$("wrong").addEventListener("click", () => { $("correction").hidden = false; $("correct").focus(); });
$("feedback").addEventListener("submit", (event) => {
  event.preventDefault();
  const chosen = [...$("correct").selectedOptions].map((option) => option.value);
  attempt(() => sendFeedback(several ? chosen : chosen[0], $("comment").value));
});
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("sartor-key", $("key").value.trim());
  $("key").value = "";
  attempt(learnModel);
});
attempt(learnModel);
