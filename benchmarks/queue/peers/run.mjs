// One role of one Node peer: node run.mjs <peer> setup|fill|ones|produce|work. Options in BENCH, as JSON.
// The last line of output is the result, as JSON.
import { now } from "./marks.mjs";

const [name, role] = process.argv.slice(2);
const bench = JSON.parse(process.env.BENCH ?? "{}");
const peer = await import(`./${name}.mjs`);
const seconds = (began) => Number(now() - began) / 1e9;
const say = (result) => console.log(JSON.stringify(result));

// Blocks in turn, so that what the machine does meanwhile meets both.
async function ones(line, { jobs, bare }) {
  const took = { queue: 0, bare: 0 };
  const block = 100;
  for (let at = 0; at < jobs; at += block) {
    let began = now();
    for (let number = 0; number < block; number++) await line.add(0);
    took.queue += seconds(began);
    if (!bare || !line.bare) continue;
    began = now();
    for (let number = 0; number < block; number++) await line.bare();
    took.bare += seconds(began);
  }
  return { queue_s: took.queue, bare_s: bare && line.bare ? took.bare : null };
}

async function fill(line, { jobs, batch }) {
  const began = now();
  for (let at = 0; at < jobs; at += batch) await line.addMany(Math.min(batch, jobs - at));
  return { s: seconds(began) };
}

async function produce(line, { jobs, gap_ms }) {
  const sent = [];
  for (let number = 1; number <= jobs; number++) {
    await line.add(number);
    sent.push(String(now()));
    await new Promise((resolve) => setTimeout(resolve, gap_ms));
  }
  return { sent };
}

if (role === "setup") {
  await peer.setup();
  say({});
} else if (role === "work") {
  const stop = await peer.work(bench);
  process.on("SIGTERM", async () => {
    await stop();
    process.exit(0);
  });
} else {
  const line = await peer.open();
  say(await { ones, fill, produce }[role](line, bench));
  await line.close();
}
