// What the page does: it keeps the state, and shows it after every change.

const SEEDS_ROLLED = 10_000; // seeds that are rolled are below it: short to read and to type
const MORPH_MS = 450;
const MORPH_MOST_DIGITS = 8; // more would not be drawn in time
const WALK_MS = 4000;

const element = (id) => document.getElementById(id);
const content = (id) => element(id).textContent;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

const model = JSON.parse(content("model"));
const directions = JSON.parse(content("directions"));
const generator = new Generator(model, floatsOfHalves(bytesOfBase64(content("weights"))));

let state = initialState();
let shown = []; // the latent and the label of each digit on the screen
let drawn = []; // what the generator made of them
let inspected = 0; // position of the digit whose feature maps are shown
let frame = 0;

// ---- showing ----

/** Show the state; digits that stay the same label change their handwriting step by step if `morph`. */
function show({ morph = false } = {}) {
  const latents = latentsOf(state, model, directions);
  const target = [...state.digits].map((digit, i) => ({ label: Number(digit), latent: latents[i] }));
  cancelAnimationFrame(frame);
  prepareDigits();
  showControls();
  remember();
  if (!morph || calm.matches || target.length > MORPH_MOST_DIGITS) return showDigits(target);
  const from = target.map((digit, i) => (shown[i]?.label === digit.label && !isShown(digit, i) ? shown[i] : digit));
  const began = performance.now();
  const step = (now) => {
    const t = Math.min(1, Math.max(0, now - began) / MORPH_MS);
    const eased = t * t * (3 - 2 * t);
    const mixed = (digit, i) => {
      if (from[i] === digit) return digit;
      return { ...digit, latent: between(from[i].latent, digit.latent, eased, model.selectors) };
    };
    showDigits(t < 1 ? target.map(mixed) : target);
    if (t < 1) frame = requestAnimationFrame(step);
  };
  frame = requestAnimationFrame(step);
}

function isShown({ label, latent }, position) {
  const there = shown[position];
  return there?.label === label && there.latent.every((value, k) => value === latent[k]);
}

/** Draw what has changed. */
function showDigits(target) {
  drawn = target.map((digit, i) => (isShown(digit, i) ? drawn[i] : generator.draw(digit.latent, digit.label)));
  shown = target;
  paintDigits();
  paintLevels(element("picture"), lineOfDigits(drawn.map((digit) => digit.levels)), 2);
  paintNetwork();
}

function prepareDigits() {
  const paper = element("paper");
  while (paper.children.length > state.digits.length) paper.lastChild.remove();
  while (paper.children.length < state.digits.length) {
    const button = document.createElement("button");
    button.className = "digit";
    button.append(document.createElement("canvas"));
    const position = paper.children.length;
    button.addEventListener("click", () => roll(position));
    for (const event of ["focus", "pointerenter"]) {
      button.addEventListener(event, () => {
        inspected = position;
        paintNetwork();
      });
    }
    paper.append(button);
  }
  [...paper.children].forEach((button, i) => {
    button.setAttribute("aria-label", `${state.digits[i]}, digit ${i + 1} of ${state.digits.length}: roll it again`);
    button.title = `seed ${seedOf(state, i)}; click to roll this ${state.digits[i]} again`;
  });
  paper.style.setProperty("--count", state.digits.length);
}

function paintDigits() {
  const asPixels = element("pixels").checked;
  element("paper").classList.toggle("pixels", asPixels);
  [...element("paper").children].forEach((button, i) => {
    const canvas = button.firstChild;
    if (asPixels) paintLevels(canvas, lineOfDigits([drawn[i].levels]));
    else paintInk(canvas, drawn[i]);
  });
}

function paintNetwork() {
  const position = Math.min(inspected, drawn.length - 1);
  const { maps, levels, label } = drawn[position];
  paintLatent(element("map-latent"), shown[position].latent);
  maps.slice(0, -1).forEach((map, i) => paintFeatureMap(element(`map-${i + 1}`), map, [4, 3, 3, 2][i]));
  paintDrawing(element("map-5"), maps.at(-1));
  paintLevels(element("map-6"), { levels, width: IMAGE_SIZE, height: IMAGE_SIZE });
  element("inspected").textContent = `digit ${position + 1} of your number, a ${label}`;
}

function showControls() {
  const fields = { number: state.digits, seed: seedList(state), to: `${state.to}` };
  for (const [id, value] of Object.entries(fields)) {
    if (document.activeElement !== element(id)) element(id).value = value; // not under the hands of who types
  }
  for (const quality of QUALITIES) showSlider(quality, state[quality], wordsFor(quality));
  showSlider("walk", state.walk, `${Math.round(100 * state.walk)} %`);
  element("reset").disabled = isPlain(state);
  element("command").textContent = command(state);
  const note = isPlain(state)
    ? "It draws this picture, pixel for pixel."
    : "It draws the number without sliders and walk, which only this page has: share its address instead.";
  element("command-note").textContent = note;
  const writing = Object.keys(state.rolled).length ? "several handwritings" : `handwriting ${state.seed}`;
  element("caption").textContent = `${state.digits} in ${writing}`;
  document.title = `${state.digits}, written by a neural network`;
}

function showSlider(id, value, words) {
  element(id).value = value;
  element(id).setAttribute("aria-valuetext", words);
  element(`${id}-words`).textContent = words;
}

function wordsFor(quality) {
  const words = { slant: ["left", "right"], boldness: ["thinner", "bolder"], width: ["narrower", "wider"] };
  const value = state[quality];
  const [less, more] = words[quality];
  return value ? `${Math.abs(value).toFixed(1)} ${value < 0 ? less : more}` : "as written";
}

/** Keep the state in the address. Browsers refuse more than some calls a second, as a slider would make. */
function remember() {
  clearTimeout(remember.timer);
  remember.timer = setTimeout(() => history.replaceState(null, "", addressOf(state)), 200);
}

function announce(text) {
  element("status").textContent = text;
}

// ---- changing ----

function change(values, options) {
  state = { ...state, ...values };
  show(options);
}

function roll(position) {
  change({ rolled: { ...state.rolled, [position]: randomBelow(SEEDS_ROLLED) } }, { morph: true });
  announce(`A new ${state.digits[position]}, from seed ${seedOf(state, position)}.`);
}

function typeNumber() {
  const typed = element("number").value;
  const digits = typed.replace(/\D/g, "").slice(0, MOST_DIGITS);
  if (digits !== typed) element("number").value = digits;
  announce(digits === typed ? "" : `Only the digits 0 to 9, up to ${MOST_DIGITS} of them.`);
  if (!digits) return;
  const rolled = Object.fromEntries(Object.entries(state.rolled).filter(([position]) => position < digits.length));
  change({ digits, rolled });
}

function typeSeed() {
  const typed = stateOf(`#${state.digits}/${element("seed").value.replace(/\s/g, "")}`);
  if (typed) change({ seed: typed.seed, rolled: typed.rolled }, { morph: true });
  announce(typed ? "" : `A handwriting is a number from 0 to ${MOST_SEED}, its seed; or one for each digit: 7,7,12,7.`);
}

function typeDestination() {
  const to = Number(element("to").value);
  const valid = /^\d+$/.test(element("to").value) && to <= MOST_SEED;
  if (valid) change({ to });
  announce(valid ? "" : `A handwriting is a number from 0 to ${MOST_SEED}, its seed.`);
}

function playWalk() {
  const [start, end] = state.walk < 0.5 ? [state.walk, 1] : [state.walk, 0];
  const began = performance.now();
  clearInterval(playWalk.timer);
  playWalk.timer = setInterval(() => {
    const t = Math.min(1, (performance.now() - began) / (WALK_MS * Math.abs(end - start)));
    change({ walk: Number((start + (end - start) * t).toFixed(2)) });
    if (t === 1) clearInterval(playWalk.timer);
  }, 30);
}

function open(address) {
  const named = stateOf(address);
  if (address.length > 1 && !named) announce("This address names no number, so 2026 is shown.");
  state = named ?? initialState();
  show();
}

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    announce(`${what} copied.`);
  } catch {
    announce(`The browser does not allow copying; here it is: ${text}`);
  }
}

// ---- controls ----

function on(id, event, handler) {
  element(id).addEventListener(event, handler);
}

on("number", "input", typeNumber);
on("number", "change", showControls);
on("seed", "change", typeSeed);
on("to", "change", typeDestination);
on("dice", "click", () => {
  change({ seed: randomBelow(SEEDS_ROLLED), rolled: {} }, { morph: true });
  announce(`Handwriting ${state.seed}.`);
});
on("dice-to", "click", () => change({ to: randomBelow(SEEDS_ROLLED) }));
for (const id of ["ink", "pixels"]) on(id, "change", paintDigits);
for (const id of [...QUALITIES, "walk"]) {
  on(id, "input", () => {
    clearInterval(playWalk.timer);
    change({ [id]: Number(element(id).value) });
  });
}
on("play", "click", playWalk);
on("reset", "click", () => change({ slant: 0, boldness: 0, width: 0, walk: 0 }, { morph: true }));
on("copy-command", "click", () => copy(command(state), "Command"));
on("copy-address", "click", () => copy(location.href.split("#")[0] + addressOf(state), "Address"));
on("save-png", "click", async () => save(await pngOf(drawn.map((digit) => digit.levels)), `${state.digits}.png`));
on("save-idx", "click", () => {
  save(idxImages(drawn.map((digit) => digit.levels)), "images-idx3-ubyte");
  save(idxLabels(drawn.map((digit) => digit.label)), "labels-idx1-ubyte");
});
addEventListener("hashchange", () => open(location.hash));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paintDigits);

open(location.hash);
performance.mark("first number");
const realDigits = element("real-digits");
const quiz = new Quiz(
  element("quiz"),
  bytesOfBase64(realDigits.textContent),
  Number(realDigits.dataset.perLabel),
  generator,
);
