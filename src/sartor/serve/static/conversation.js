"use strict";
// What the page shows of a product: the conversation so far, and how its last answer came about.
// Loaded before page.js, whose $, said, KINDS and drawMarked it shares.

const MOST_TURNS = 40;  // messages that go along with a new one
const MOST_OFFERED = 200;  // outcomes that a correction lists besides those of the answer
const HAND_OFF = "hand_off";
let turns = [];  // messages as the API reads them: {role, content}
let outcomes = [];

// The row with what was said before: one message stays the text that it is.
function withHistory(row) {
  const messages = [...turns.slice(-MOST_TURNS), { role: "user", content: row.text }];
  return { ...row, text: messages.length > 1 ? JSON.stringify(messages) : row.text };
}

function wordsOfOutcome(output) {
  return output.outcome === HAND_OFF ? said.handed : output.say;
}

function drawTurn({ role, content }) {
  const item = document.createElement("li");
  item.className = role;
  item.textContent = content;
  return item;
}

// The new question and its answer join the conversation; the box is free for the next.
function drawTurns(asked, output) {
  const reply = [wordsOfOutcome(output), output.reason].filter(Boolean).join(": ");
  turns.push({ role: "user", content: asked }, { role: "assistant", content: reply });
  $("turns").replaceChildren(...turns.map(drawTurn));
  for (const id of ["turns", "anew"]) $(id).hidden = false;
  $("text").value = "";
}

function startAnew() {
  turns = [];
  for (const id of ["turns", "anew", "answer"]) $(id).hidden = true;
  $("text").focus();
}

// What a part understood, in a line.
function wordsOfStep({ best, answer }) {
  if (answer.documents) return answer.documents[0].text || answer.documents[0].id;
  if (!answer.entities) return best;
  return answer.entities.map((one) => `${one.text} (${one.label})`).join(", ") || said.nothing;
}

function drawStep(step) {
  const name = document.createElement("dt");
  name.textContent = `${step.part} · ${(step.confidence * 100).toFixed(0)} %`;
  const words = document.createElement("dd");
  words.textContent = wordsOfStep(step);
  return [name, words];
}

// What a part wrote is the answer itself, and stands there as words.
const understood = (output) => output.path.filter((step) => !("tokens" in step.answer));

// Where a part quoted from a document: its words, and the place in them, in code points.
function placeQuoted({ path }) {
  const quoting = path.find(({ answer }) => answer.answer && answer.end > answer.start);
  if (!quoting) return null;
  const { answer: words, start: told } = quoting.answer;
  const found = path.flatMap(({ answer }) => answer.documents || [])
    .find(({ text }) => text && text.includes(words));
  if (!found) return null;
  // Of several documents that were read one below the other only the first begins where it is told.
  const size = [...words].length;
  const stands = [...found.text].slice(told, told + size).join("") === words;
  const start = stands ? told : [...found.text.slice(0, found.text.indexOf(words))].length;
  return { text: found.text, part: { start, end: start + size, label: "" } };
}

function drawOutcome(output) {
  const quoted = placeQuoted(output);
  if (quoted) drawMarked(quoted.text, [quoted.part]);
  else $("marked").hidden = true;
  $("understood").replaceChildren(...understood(output).flatMap(drawStep));
  $("understood").hidden = false;
  const documents = output.path.flatMap((step) => step.answer.documents || []);
  const offered = new Map(documents.map((each) => [each.id, headOf(each)]));
  const known = outcomes.length <= MOST_OFFERED ? outcomes : [output.best];
  for (const name of [...known, HAND_OFF]) if (!offered.has(name)) offered.set(name, name);
  offered.set(HAND_OFF, said.handed);
  $("correct").replaceChildren(...[...offered].map(([name, words]) => new Option(words, name)));
  $("correct").value = output.outcome === HAND_OFF ? output.best : HAND_OFF;
}
