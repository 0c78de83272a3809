"use strict";
// What an answer says of a learner: a bar for each skill, what to take next, and why.

const percent = (share) => `${(share * 100).toFixed(0)} %`;
const filled = (pattern, values) =>
  pattern.replace(/\{(\w+)\}/g, (whole, name) => name in values ? String(values[name]) : whole);

// "fractions-1a 1" a line; what says neither is sent as it is, and the answer says what is wrong.
function answersIn(text) {
  const lines = text.split("\n").map((line) => line.trim()).filter(Boolean);
  return lines.map((line) => {
    const [, item, mark] = line.match(/^(.*?)[\s,;:]+(\S+)$/) || [null, line, ""];
    const correct = { 1: true, true: true, right: true, 0: false, false: false, wrong: false }[mark];
    return { item, correct: correct === undefined ? mark : correct };
  });
}

function wordsOfLearner(output) {
  if (output.label === null) return null;
  const pattern = output.label === "right" ? said.likely : said.unlikely;
  return filled(pattern, { item: output.item, chance: percent(output.probabilities.right) });
}

function drawSkill(skill) {
  const row = drawRow([skill.skill || said.all, skill.mastery]);
  const rests = document.createElement("td");
  rests.textContent = filled(said.rests, skill);
  const pace = document.createElement("td");
  const n = skill.pace;
  pace.textContent = skill.mastered ? said.mastered : n ? filled(said.pace, { n }) : said.unpaced;
  row.append(rests, pace);
  return row;
}

function drawLearner(output) {
  // Skills that were answered stand first.
  const skills = [...output.skills].sort((a, b) => b.answers - a.answers || a.mastery - b.mastery);
  $("skills").replaceChildren(...skills.map(drawSkill));
  const next = output.next;
  show("next", next ? filled(said.next, { item: next.item }) : "");
  show("next-text", next && next.text ? next.text : "");
  const skill = next && next.skill && output.skills.find((each) => each.skill === next.skill);
  const reasons = next
    ? [filled(said.why, { chance: percent(next.chance), aim: percent(next.aim) })] : [];
  if (skill) reasons.push(filled(said.open, { skill: skill.skill, mastery: percent(skill.mastery) }));
  show("why", reasons.join(" "));
  $("learner").hidden = false;
}
