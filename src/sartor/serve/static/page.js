"use strict";
// Everything that comes from a model or a person is set as text, never as markup.

const $ = (id) => document.getElementById(id);
const said = document.body.dataset;
const MOST_SHOWN = 10;
let last = null;
let kind = "label";
let several = false;
let inputs = ["text"];

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
  kind = model.target;
  several = kind !== "label";
  $("correct").multiple = several;
  drawBoxes(model.inputs);
  // Documents may be many: those that an answer lists are offered with it.
  const labels = kind === "documents" ? [] : model.labels;
  $("correct").replaceChildren(...labels.map((label) => new Option(label, label)));
}

// The first box is in the page; a model that reads several texts gets one more for each.
function drawBoxes(names) {
  if (String(names) === String(inputs)) return;
  inputs = names;
  $("others").replaceChildren(...names.slice(1).flatMap((name) => {
    const label = document.createElement("label");
    label.htmlFor = `text-${name}`;
    label.textContent = said.other;
    const box = document.createElement("textarea");
    box.id = `text-${name}`;
    box.rows = 5;
    box.required = true;
    return [label, box];
  }));
}

function readRow() {
  return Object.fromEntries(
    inputs.map((name, at) => [name, (at ? $(`text-${name}`) : $("text")).value]));
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

function wordsOf(found) {
  return found.text || found.id;
}

// Its title, or how it begins.
function headOf(found) {
  return wordsOf(found).split("\n")[0].slice(0, 100);
}

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

// What an answer says: a label, as many as the text has, or a document; null where it says nothing.
function answered(output) {
  if (kind === "documents") return output.answer && headOf(output.documents[0]);
  if (!several) return output.label;
  return output.labels && (output.labels.join(", ") || said.none);
}

function drawAnswer(output) {
  const words = answered(output);
  show("label", words === null ? said.unsure : words);
  show("reason", output.reason || "");
  const ranked = Object.entries(output.probabilities || {}).sort((a, b) => b[1] - a[1]);
  $("probabilities").replaceChildren(...ranked.slice(0, MOST_SHOWN).map(drawRow));
  $("documents").replaceChildren(...(output.documents || []).map(drawDocument));
  $("documents").hidden = kind !== "documents";
  if (kind === "documents") {
    const offered = output.documents.map((each) => new Option(headOf(each), each.id));
    $("correct").replaceChildren(...offered);
  } else if (several) {
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

// What is confirmed where a person says that the answer is right.
function bestOf(output) {
  if (kind === "documents") return [output.documents[0].id];
  return several ? output.labels || [] : output.best;
}

async function sendFeedback(right, comment) {
  const body = { request_id: last.id, row: 0 };
  body[kind] = right;
  if (comment) body.comment = comment;
  if ($("keep").checked) {
    if (inputs.length > 1) body.inputs = last.row;
    else body.text = last.row[inputs[0]];
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
    last = { id: reply.request_id, row, best: bestOf(output) };
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
