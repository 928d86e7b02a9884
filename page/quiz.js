// "Which one is real?": a real digit of MNIST's test set beside a generated one of the same label.

class Quiz {
  /** `real`: gray levels of `perLabel` digits of each label, one after another. */
  constructor(section, real, perLabel, generator) {
    Object.assign(this, { section, real, perLabel, generator, right: 0, asked: 0 });
    this.choices = [...section.querySelectorAll(".choice")];
    this.answer = section.querySelector("[role=status]");
    this.next = section.querySelector(".next");
    this.choices.forEach((choice, i) => choice.addEventListener("click", () => this.choose(i)));
    this.next.addEventListener("click", () => {
      this.ask();
      this.choices[0].focus();
    });
    this.ask();
  }

  ask() {
    const label = randomBelow(10);
    const index = label * this.perLabel + randomBelow(this.perLabel);
    const real = this.real.subarray(index * IMAGE_SIZE ** 2, (index + 1) * IMAGE_SIZE ** 2);
    const latent = latentRow(randomBelow(MOST_SEED), 0, this.generator.model.latent_size);
    const generated = this.generator.draw(latent, label).levels;
    this.realSide = randomBelow(2);
    this.choices.forEach((choice, i) => {
      const levels = i === this.realSide ? real : generated;
      paintLevels(choice.querySelector("canvas"), { levels, width: IMAGE_SIZE, height: IMAGE_SIZE });
      choice.removeAttribute("aria-disabled");
      choice.classList.remove("real", "generated");
      choice.querySelector(".verdict").textContent = "";
      choice.setAttribute("aria-label", `The ${i ? "right" : "left"} ${label} is real`); // what pressing it claims
    });
    this.next.hidden = true;
    this.answered = false;
  }

  choose(side) {
    if (this.answered) return;
    this.answered = true;
    this.asked++;
    const correct = side === this.realSide;
    if (correct) this.right++;
    this.choices.forEach((choice, i) => {
      const kind = i === this.realSide ? "real" : "generated";
      choice.classList.add(kind);
      choice.querySelector(".verdict").textContent = kind;
      choice.setAttribute("aria-label", `The ${i ? "right" : "left"} one is ${kind}`);
      choice.setAttribute("aria-disabled", "true");
    });
    const where = this.realSide ? "right" : "left";
    const score = `${this.right} of ${this.asked} right`;
    this.answer.textContent = `${correct ? "Yes" : "No"}, the ${where} one is real. ${score}.`;
    this.next.hidden = false;
  }
}

function randomBelow(limit) {
  return Math.floor(Math.random() * limit);
}
