"use strict";
// What an answer says of a learner: a bar for each skill, what to take next, and why.

const percent = (share) => `${(share * 100).toFixed(0)} %`;
const filled = (pattern, values) =>
  pattern.replace(/\{(\w+)\}/g, (whole, name) => name in values ? String(values[name]) : whole);

const MARKS = new Map([
  ...["1", "true", "right", "correct", "yes", "对", "正确", "✓"].map((mark) => [mark, true]),
  ...["0", "false", "wrong", "incorrect", "no", "错", "错误", "✗"].map((mark) => [mark, false]),
]);

// "fractions-1a 1" a line; what says neither is sent as it is, and the answer says what is wrong.
function answersIn(text) {
  const lines = text.split("\n").map((line) => line.trim()).filter(Boolean);
  return lines.map((line) => {
    const [, item, mark] = line.match(/^(.*?)[\s,;:，；：]+(\S+)$/) || [null, line, ""];
    const correct = MARKS.get(mark.toLowerCase());
    return { item, correct: correct === undefined ? mark : correct };
  });
}

// What was asked; else what to take next; else nothing, and the reason stands below.
function wordsOfLearner(output) {
  if (output.label === null) return "";
  if (!output.asked.length) return filled(said.next, { item: output.item });
  const pattern = output.label === "right" ? said.likely : said.unlikely;
  return filled(pattern, { item: output.item, chance: percent(output.probabilities.right) });
}

function drawSkill(skill) {
  const row = document.createElement("li");
  const name = document.createElement("span");
  name.textContent = skill.skill || said.all;
  const meter = document.createElement("meter");
  meter.value = skill.mastery;
  const number = document.createElement("span");
  number.textContent = percent(skill.mastery);
  const more = document.createElement("small");
  const n = skill.pace;
  const rests = skill.answers ? filled(said.rests, skill) : said.unasked;
  const pace = skill.mastered ? said.mastered : n ? filled(said.pace, { n }) : said.unpaced;
  more.textContent = `${rests} · ${pace}`;
  row.append(name, meter, number, more);
  return row;
}

function drawLearner(output) {
  // Skills that were answered stand first.
  const skills = [...output.skills].sort((a, b) => b.answers - a.answers || a.mastery - b.mastery);
  $("skills").replaceChildren(...skills.map(drawSkill));
  const next = output.next;
  show("next", next && output.asked.length ? filled(said.next, { item: next.item }) : "");
  show("next-text", next && next.text ? next.text : "");
  const skill = next && next.skill && output.skills.find((each) => each.skill === next.skill);
  const reasons = next
    ? [filled(said.why, { chance: percent(next.chance), aim: percent(next.aim) })] : [];
  if (skill) reasons.push(filled(said.open, { skill: skill.skill, mastery: percent(skill.mastery) }));
  show("why", reasons.join(" "));
  $("learner").hidden = false;
}
