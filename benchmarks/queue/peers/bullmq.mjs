import { Queue, Worker } from "bullmq";
import IORedis from "ioredis";
import { mark } from "./marks.mjs";

const connect = () => new IORedis({ path: process.env.BENCH_REDIS, maxRetriesPerRequest: null });

export async function setup() {}

export async function open() {
  const connection = connect();
  const queue = new Queue("bench", { connection });
  await queue.waitUntilReady();
  return {
    add: (number) => queue.add("mark", { number }),
    addMany: (many) => queue.addBulk(Array.from({ length: many }, () => ({ name: "mark", data: { number: 0 } }))),
    close: async () => {
      await queue.close();
      connection.disconnect();
    },
  };
}

export async function work({ concurrency }) {
  const worker = new Worker("bench", async (job) => mark(job.data.number), { connection: connect(), concurrency });
  worker.on("error", console.error);
  return () => worker.close();
}
