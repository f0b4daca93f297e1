// Judges JSON lines with one detector of npm, for `sallyport eval --peer`.
//
//   node driver.js NAME < rows > answers
//
// Reads {"id", "text"} lines, writes {"version"} once and then {"id", "score"?, "flagged", "ms"} for
// each, in order. Every detector runs as its own documentation starts with, at its own defaults, and
// is asked for injection and jailbreak only: a guard against personal data would raise false alarms
// that are none.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const version = (name) => JSON.parse(readFileSync(join(here, "node_modules", name, "package.json"), "utf8")).version;

const peers = {
  // TF-IDF and logistic regression. checkAll has a third model, for harmful content: not our question.
  llm_guardrail: {
    package: "llm_guardrail",
    async load() {
      const { checkInjection, checkJailbreak } = await import("llm_guardrail");
      return async (text) => {
        const [a, b] = [await checkInjection(text), await checkJailbreak(text)];
        return { score: Math.max(a.confidence, b.confidence), flagged: a.detected || b.detected };
      };
    },
  },
  // Regular expressions with a confidence each. Without learning: a verdict must not depend on the rows before.
  aidefence: {
    package: "@claude-flow/aidefence",
    async load() {
      const { createAIDefence } = await import("@claude-flow/aidefence");
      const defence = createAIDefence();
      return async (text) => {
        const r = await defence.detect(text);
        return { score: Math.max(0, ...r.threats.map((t) => t.confidence)), flagged: !r.safe };
      };
    },
  },
  // Regular expressions with a severity each. A text that it would only clean, or that is too long
  // for it (10,000 characters), is flagged as it says itself: safe or not.
  vard: {
    package: "@andersmyrmel/vard",
    async load() {
      const { default: vard } = await import("@andersmyrmel/vard");
      return (text) => {
        const r = vard.safe(text);
        return { score: r.safe ? 0 : Math.max(...r.threats.map((t) => t.severity)), flagged: !r.safe };
      };
    },
  },
  // A list of regular expressions; its score is 1 for clean and 0.3 or 0.4 for a match.
  "llm-guard": {
    package: "llm-guard",
    async load() {
      const { LLMGuard } = createRequire(import.meta.url)("llm-guard");
      const guard = new LLMGuard({ pii: false, profanity: false, relevance: false, toxicity: false, jailbreak: true, promptInjection: true });
      return async (text) => {
        const r = await guard.validate(text);
        return { score: 1 - r.score, flagged: !r.isValid };
      };
    },
  },
};

const peer = peers[process.argv[2]];
if (!peer) {
  console.error(`want one of ${Object.keys(peers).join(", ")}`);
  process.exit(2);
}
const judge = await peer.load();
await judge("Which roses like half shade?"); // loads models: not part of the first row's time
const say = (o) => process.stdout.write(JSON.stringify(o) + "\n") || new Promise((go) => process.stdout.once("drain", go));
await say({ version: version(peer.package) });
for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  if (!line.trim()) continue;
  const { id, text } = JSON.parse(line);
  let answer;
  const begun = process.hrtime.bigint();
  try {
    answer = await judge(text);
    answer.ms = Number(process.hrtime.bigint() - begun) / 1e6;
  } catch {
    answer = { error: true };
  }
  await say({ id, ...answer });
}
