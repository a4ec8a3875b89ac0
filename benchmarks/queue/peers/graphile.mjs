import { Logger, makeWorkerUtils, run } from "graphile-worker";
import pg from "pg";
import { mark } from "./marks.mjs";

// Errors only: by default it logs a line a job, which no other peer here does.
const logger = new Logger(() => (level, message) => level === "error" && console.error(message));

export async function setup() {
  const pool = new pg.Pool();
  const utils = await makeWorkerUtils({ pgPool: pool, logger });
  await utils.migrate();
  await utils.release();
  await pool.end();
}

export async function open() {
  const pool = new pg.Pool({ max: 10 });
  const utils = await makeWorkerUtils({ pgPool: pool, logger });
  return {
    add: (number) => utils.addJob("mark", { number }),
    addMany: (many) =>
      utils.addJobs(Array.from({ length: many }, () => ({ identifier: "mark", payload: { number: 0 } }))),
    bare: () => pool.query("INSERT INTO bench_bare (note) VALUES ($1)", ["x"]),
    close: async () => {
      await utils.release();
      await pool.end();
    },
  };
}

export async function work({ concurrency, variant }) {
  const maxPoolSize = Math.max(10, concurrency + 2);
  // The configuration behind the figures of its own performance page.
  const batched = { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 };
  const runner = await run({
    preset: { worker: { concurrentJobs: concurrency, maxPoolSize, logger, ...(variant === "batched" ? batched : {}) } },
    pgPool: new pg.Pool({ max: maxPoolSize }),
    taskList: { mark: async (payload) => mark(payload.number) },
    logger,
  });
  return () => runner.stop();
}
