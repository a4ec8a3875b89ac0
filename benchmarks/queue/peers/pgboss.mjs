import pg from "pg";
import { PgBoss } from "pg-boss";
import { mark } from "./marks.mjs";

async function started() {
  // Address and database come from PGHOST and the like, as for every peer here.
  const boss = new PgBoss({ useListenNotify: true });
  boss.on("error", console.error);
  return await boss.start();
}

export async function setup() {
  const boss = await started();
  await boss.createQueue("bench", { notify: true });
  await boss.stop();
}

export async function open() {
  const boss = await started();
  const pool = new pg.Pool({ max: 10 });
  return {
    add: (number) => boss.send("bench", { number }),
    addMany: (many) => boss.insert("bench", Array.from({ length: many }, () => ({ data: { number: 0 } }))),
    bare: () => pool.query("INSERT INTO bench_bare (note) VALUES ($1)", ["x"]),
    close: async () => {
      await boss.stop();
      await pool.end();
    },
  };
}

export async function work({ concurrency }) {
  const boss = await started();
  // With a batch of one a worker waits for its next poll after every job; its documentation's way to be fast is a
  // batch, fetched again at once while it comes back full. The batch is run together, or in turn at concurrency 1.
  const batchSize = Math.max(concurrency, 10);
  await boss.work("bench", { batchSize, burstWhenBatchFull: true }, async (jobs) => {
    const run = async (job) => mark(job.data.number);
    if (concurrency > 1) await Promise.all(jobs.map(run));
    else for (const job of jobs) await run(job);
  });
  return () => boss.stop();
}
