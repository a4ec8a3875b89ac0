// What a worker tells the benchmark: when its first job began, how many began, and when each numbered one did.
// One small write a job into a file that the benchmark reads; the same for every peer and both languages.
import fs from "node:fs";

const file = process.env.BENCH_MARKS ? fs.openSync(process.env.BENCH_MARKS, "r+") : null;
const head = Buffer.alloc(16);
const slot = Buffer.alloc(8);
let count = 0n;

export const now = () => process.hrtime.bigint(); // CLOCK_MONOTONIC, as Python's time.monotonic_ns

export function mark(number) {
  const began = now();
  if (count === 0n) head.writeBigUInt64LE(began, 0);
  count += 1n;
  head.writeBigUInt64LE(count, 8);
  fs.writeSync(file, head, 0, 16, 0);
  if (number > 0) {
    slot.writeBigUInt64LE(began);
    fs.writeSync(file, slot, 0, 8, 8 + 8 * number);
  }
}
