"use strict";
// Everything that comes from a model or a person is set as text, never as markup.

const $ = (id) => document.getElementById(id);
const said = document.body.dataset;
const MOST_SHOWN = 10;
let last = null;
let several = false;
let writes = false;
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
  several = model.target === "labels";
  writes = model.target === "text";
  $("correct").multiple = several;
  $("correct").hidden = writes;
  $("written").hidden = !writes;
  drawBoxes(model.inputs);
  $("correct").replaceChildren(...model.labels.map((label) => new Option(label, label)));
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

// What an answer says: a label, or as many as the text has; null where it says nothing.
function answered(output) {
  if (!several) return output.label;
  return output.labels && (output.labels.join(", ") || said.none);
}

function drawAnswer(output) {
  const words = answered(output);
  show("label", words === null ? said.unsure : words);
  show("reason", output.reason || "");
  const ranked = Object.entries(output.probabilities || {}).sort((a, b) => b[1] - a[1]);
  $("probabilities").replaceChildren(...ranked.slice(0, MOST_SHOWN).map(drawRow));
  if (writes) {
    $("written").value = output.best;
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

// A reply as it is written: what has come so far stands on the page, the rest is on its way.
async function stream(text) {
  const headers = { "content-type": "application/json" };
  const key = sessionStorage.getItem("sartor-key");
  if (key) headers.authorization = `Bearer ${key}`;
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
    if (done) return found;
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
  const body = { request_id: last.id, row: 0 };
  body[several ? "labels" : "label"] = right;
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
    if (writes) {
      const found = await stream(row[inputs[0]]);
      const output = { label: found.text || null, best: found.text };
      last = { id: found.id, row, best: found.text };
      drawAnswer(output);
      return;
    }
    const reply = await call("/v1/predict", { inputs: [row] });
    const [output] = reply.outputs;
    last = { id: reply.request_id, row, best: several ? output.labels || [] : output.best };
    drawAnswer(output);
  });
});

$("right").addEventListener("click", () => attempt(() => sendFeedback(last.best, "")));
$("wrong").addEventListener("click", () => { $("correction").hidden = false; $(writes ? "written" : "correct").focus(); });
$("feedback").addEventListener("submit", (event) => {
  event.preventDefault();
  const chosen = [...$("correct").selectedOptions].map((option) => option.value);
  const right = writes ? $("written").value : several ? chosen : chosen[0];
  attempt(() => sendFeedback(right, $("comment").value));
});
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("sartor-key", $("key").value.trim());
  $("key").value = "";
  attempt(learnModel);
});
attempt(learnModel);
